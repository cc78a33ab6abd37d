package detect

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"hsi.home.arpa/pipeline/batch"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/store"
)

const (
	// maxAttempts is how often an image is tried when it may be the image's fault.
	maxAttempts = 5
	// maxDetections bounds what is kept of one image; the most confident stay.
	maxDetections = 100
	// handBackTimeout bounds giving an image back after the worker was told to stop.
	handBackTimeout = 3 * time.Second
	// callSlack is what a call gets above the detector's own limit, so that the detector ends it and knows why.
	callSlack = 5 * time.Second
	// storeLimit bounds all that the worker asks of database and disk for one image.
	storeLimit = 30 * time.Second
	// folderRetry is the time until an image is looked for again whose camera folder is away.
	folderRetry = 30 * time.Second
	// firstRetry and longestRetry bound the time until an image is tried again; it doubles with each attempt.
	firstRetry, longestRetry = 2 * time.Second, 5 * time.Minute
)

// ledger is what the worker needs of the store.
type ledger interface {
	ClaimImage(ctx context.Context, id int64, token string, lease time.Duration) (store.Image, error)
	CommitDetections(ctx context.Context, claim store.ImageClaim, result store.DetectionResult,
		join func(open store.Batch) store.JoinDecision) (store.Committed, error)
	ReleaseImage(ctx context.Context, claim store.ImageClaim, retryAt *time.Time, cause string, refundAttempt bool) error
	LoseImage(ctx context.Context, claim store.ImageClaim, reason string) error
	DeadLetterImage(ctx context.Context, claim store.ImageClaim, cause string) error
}

// settings gives the live configuration.
type settings interface {
	Latest() store.SystemConfig
}

// thumbnails keeps thumbnail files.
type thumbnails interface {
	// Write returns the path to store in the row once the file is safely on the disk. A file that no row names afterwards is
	// cleaned up by whoever keeps them.
	Write(ctx context.Context, name string, jpeg []byte) (path string, err error)
}

// heartbeat shows that a function is alive; see pipeline.Heartbeat.
type heartbeat interface {
	Beat()
	Say(message string)
	Step(limit time.Duration) (done func())
}

// Options of a Worker. All but Limits, Memory, Owner and Now are required.
type Options struct {
	Ledger     ledger
	Detector   Detector
	Settings   settings
	Thumbnails thumbnails
	Observer   observer
	Activity   *Activity
	// CameraRoot is the folder of the camera folders. While it is missing no image in it is given up.
	CameraRoot string
	// DetectLimit is how long one call of the detector may take, its own time-outs included.
	DetectLimit time.Duration
	// BatchClosed is called after a batch was closed, to wake who waits for it. It must not block.
	BatchClosed func()
	Limits      picture.Limits
	// Memory is shared by all workers, so that few large images are decoded at once. Nil has no bound.
	Memory *picture.Memory
	Log    *slog.Logger
	// Owner begins the token of each claim and the name of the consumer, so that a process can tell its own from others'. Defaults to nothing.
	Owner string
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Worker detects one image at a time. Several workers may run side by side, each with its own consumer.
type Worker struct {
	options  Options
	consumer *queue.Consumer
	log      *slog.Logger
	now      func() time.Time

	away  map[string]bool  // cameras whose folder was away when last looked
	claim store.ImageClaim // the image in work; kept when it is asked for again, so that the claim goes on
}

// Lease is how long a worker may hold an image before another may take it over.
func Lease(detectLimit time.Duration) time.Duration { return detectLimit + callSlack + storeLimit }

// NewWorker makes a worker that takes images from q under a name of its own. It does not start.
func NewWorker(q *queue.Queue, options Options) *Worker {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Worker{
		options:  options,
		consumer: q.NewConsumer(options.Owner+options.Detector.Name()+"-"+rand.Text(), Lease(options.DetectLimit)),
		log:      options.Log,
		now:      options.Now,
		away:     make(map[string]bool),
	}
}

// Run detects images until ctx ends. Redis, the database or the detector being away is waited for.
func (w *Worker) Run(ctx context.Context, alive heartbeat) error {
	return w.consumer.Run(ctx, alive, func(ctx context.Context, id int64) error {
		defer alive.Step(Lease(w.options.DetectLimit))()
		err := w.handle(ctx, id)
		if _, later := errors.AsType[*queue.Later](err); err == nil || later || ctx.Err() != nil || errors.Is(err, store.ErrUnavailable) {
			return err
		}
		// Asking again at once would fail again and hold up all others. The claim ends by itself, and the attempt counts.
		w.log.ErrorContext(ctx, "image left for later", "image_id", id, "error", err)
		return nil
	})
}

// handle claims an image and brings it as far as it gets. See queue.Handler for the errors.
func (w *Worker) handle(ctx context.Context, id int64) error {
	if w.claim.ImageID != id {
		w.claim = store.ImageClaim{ImageID: id, Token: w.options.Owner + rand.Text()}
	}
	img, err := w.options.Ledger.ClaimImage(ctx, id, w.claim.Token, Lease(w.options.DetectLimit))
	switch {
	case errors.Is(err, store.ErrClaimLost), errors.Is(err, store.ErrNotFound):
		return nil // somebody else has it, or it is finished
	case err != nil:
		return err
	}
	failure := w.process(ctx, w.claim, img)
	if failure == nil || errors.Is(failure, store.ErrClaimLost) {
		return nil
	}
	return w.settle(ctx, w.claim, img, failure)
}

// process reads, detects and commits one image.
func (w *Worker) process(ctx context.Context, claim store.ImageClaim, row store.Image) error {
	if row.Attempts > maxAttempts {
		// It was claimed again and again and never handed back: each time something died over it.
		return &Unusable{Err: fmt.Errorf("not finished after %d attempts", row.Attempts-1)}
	}
	data, err := readImage(row, w.options.CameraRoot, w.options.Limits)
	if err != nil {
		return err
	}
	w.noteBack(ctx, row.CameraID)
	takenAt := picture.TakenAt(row.ModTime, row.SeenAt)
	img, err := NewImage(row.CameraID, filepath.Base(row.FilePath), takenAt, data, w.options.Limits, w.options.Memory)
	if err != nil {
		return &Unusable{Err: err}
	}
	defer img.Close()
	found, took, err := w.detect(ctx, img)
	if err != nil {
		return err
	}
	kept := selectDetections(found, w.options.Settings.Latest().DetectionConfidenceThreshold)
	detections, err := w.withThumbnails(ctx, row.ID, img, kept)
	if err != nil {
		return err
	}
	err = w.commit(ctx, claim, store.DetectionResult{
		Detector: w.options.Detector.Name(), ImageAt: takenAt, FileType: img.Info.Format.MediaType(), Detections: detections,
	})
	if err != nil {
		return err
	}
	// Counted once it is stored: an image that is tried again counts once.
	w.options.Activity.add()
	w.options.Observer.Observe(latency.Detect, took)
	return nil
}

// detect calls the detector and measures how long it took. Its own limit ends the call; the one here is for a detector that does not keep it.
func (w *Worker) detect(ctx context.Context, img *Image) (found []Detection, took time.Duration, err error) {
	callCtx, cancel := context.WithTimeout(ctx, w.options.DetectLimit+callSlack)
	defer cancel()
	startedAt := time.Now()
	found, err = w.options.Detector.Detect(callCtx, img)
	return found, time.Since(startedAt), err
}

// commit stores the result.
func (w *Worker) commit(ctx context.Context, claim store.ImageClaim, result store.DetectionResult) error {
	join := func(open store.Batch) store.JoinDecision {
		return batch.Decide(result.ImageAt, w.now(), batch.ConfigOf(w.options.Settings.Latest()))(open)
	}
	committed, err := w.options.Ledger.CommitDetections(ctx, claim, result, join)
	if errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrConflict) {
		return &Unusable{Err: err}
	}
	if err != nil {
		return err
	}
	img := committed.Image
	w.observe(latency.WatchToDetect, &img.SeenAt, img.DetectStartedAt)
	if committed.Batch != nil {
		w.observe(latency.DetectToBatch, img.DetectStartedAt, img.BatchedAt)
	}
	if committed.Closed != nil {
		batch.Observe(w.options.Observer, *committed.Closed)
		w.options.BatchClosed()
	}
	return nil
}

// settle decides what becomes of an image that could not be detected.
func (w *Worker) settle(ctx context.Context, claim store.ImageClaim, img store.Image, failure error) error {
	stopping := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout) // the row is given back also while stopping
	defer cancel()
	var (
		unusable    *Unusable
		unavailable *Unavailable
		lost        *lostError
		folderAway  *folderAwayError
	)
	var err error
	switch {
	case stopping:
		err = w.options.Ledger.ReleaseImage(ctx, claim, nil, "", true)
	case errors.As(failure, &lost):
		w.log.InfoContext(ctx, "image filtered", "camera_id", img.CameraID, "image_id", img.ID, "path", img.FilePath, "reason", lost.reason)
		err = w.options.Ledger.LoseImage(ctx, claim, lost.reason)
	case errors.As(failure, &unusable):
		w.log.WarnContext(ctx, "image given up", "camera_id", img.CameraID, "image_id", img.ID, "path", img.FilePath, "error", failure)
		err = w.options.Ledger.DeadLetterImage(ctx, claim, unusable.Err.Error())
	case errors.As(failure, &folderAway):
		w.noteAway(ctx, img.CameraID, folderAway)
		retryAt := w.now().Add(folderRetry)
		err = w.options.Ledger.ReleaseImage(ctx, claim, &retryAt, failure.Error(), true)
	case errors.Is(failure, store.ErrUnavailable):
		return failure // nothing can be given back now; the claim ends by itself
	case errors.As(failure, &unavailable):
		retryAt := w.now().Add(firstRetry)
		if err = w.options.Ledger.ReleaseImage(ctx, claim, &retryAt, failure.Error(), true); err == nil {
			return &queue.Later{Message: unavailable.waiting(w.options.Detector.Name()), Err: unavailable.Err}
		}
	case img.Attempts >= maxAttempts:
		w.log.WarnContext(ctx, "image given up", "camera_id", img.CameraID, "image_id", img.ID, "path", img.FilePath,
			"attempts", img.Attempts, "error", failure)
		err = w.options.Ledger.DeadLetterImage(ctx, claim, fmt.Sprintf("failed %d times: %v", img.Attempts, failure))
	default:
		retryAt := w.now().Add(retryDelay(img.Attempts))
		w.log.InfoContext(ctx, "image will be tried again", "camera_id", img.CameraID, "image_id", img.ID,
			"attempts", img.Attempts, "retry_at", retryAt, "error", failure)
		err = w.options.Ledger.ReleaseImage(ctx, claim, &retryAt, failure.Error(), false)
	}
	if errors.Is(err, store.ErrClaimLost) {
		return nil
	}
	return err
}

// noteAway logs once that the folder of a camera is away.
func (w *Worker) noteAway(ctx context.Context, cameraID string, folderAway *folderAwayError) {
	if !w.away[cameraID] {
		w.away[cameraID] = true
		w.log.WarnContext(ctx, "images wait for their camera folder", "camera_id", cameraID, "error", folderAway.err)
	}
}

// noteBack logs once that the folder of a camera is back.
func (w *Worker) noteBack(ctx context.Context, cameraID string) {
	if w.away[cameraID] {
		delete(w.away, cameraID)
		w.log.InfoContext(ctx, "camera folder is back", "camera_id", cameraID)
	}
}

// retryDelay is the time until the next attempt after a number of attempts, at least one.
func retryDelay(attempts int) time.Duration {
	if attempts > 8 {
		return longestRetry
	}
	return min(longestRetry, firstRetry<<(max(attempts, 1)-1))
}

// selectDetections keeps what reaches the threshold, the most confident first.
func selectDetections(found []Detection, threshold float64) []Detection {
	kept := slices.DeleteFunc(slices.Clone(found), func(d Detection) bool { return d.Confidence < threshold })
	slices.SortStableFunc(kept, func(a, b Detection) int { return cmp.Compare(b.Confidence, a.Confidence) })
	return kept[:min(len(kept), maxDetections)]
}

// observe measures the time from one moment of a row to another. When one is missing there is no sample.
func (w *Worker) observe(stage latency.Stage, from, to *time.Time) {
	if from != nil && to != nil {
		w.options.Observer.Observe(stage, to.Sub(*from))
	}
}
