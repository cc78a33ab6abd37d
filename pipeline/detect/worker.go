package detect

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

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
	// callSlack is what a call gets above the detector's own limit, so that the detector ends it
	// and knows why.
	callSlack = 5 * time.Second
	// storeLimit bounds all that the worker asks of database and disk for one image.
	storeLimit = 30 * time.Second
	// folderRetry is the time until an image is looked for again whose camera folder is away.
	folderRetry = 30 * time.Second
	// firstRetry and longestRetry bound the time until an image is tried again; it doubles with
	// each attempt.
	firstRetry, longestRetry = 2 * time.Second, 5 * time.Minute
)

// ledger is what the worker needs of the store.
type ledger interface {
	ClaimImage(ctx context.Context, id int64, token string, lease time.Duration) (store.Image, error)
	ClaimImages(ctx context.Context, ids []int64, token string, lease time.Duration) ([]store.Image, error)
	CommitDetections(ctx context.Context, token string, detected []store.Detected, join store.Join) ([]store.Committed, error)
	GiveBackImages(ctx context.Context, ids []int64, token string) error
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
	// Write returns the path to store in the row once the file is safely on the disk. A file that
	// no row names afterwards is cleaned up by whoever keeps them.
	Write(ctx context.Context, name string, jpeg []byte) (path string, err error)
}

// heartbeat shows that a function is alive; see pipeline.Heartbeat.
type heartbeat interface {
	Beat()
	Say(message string)
	Step(limit time.Duration) (done func())
}

// Options of a Worker. Ledger to Log are required, but for Limits, Memory and Videos.
type Options struct {
	Ledger     ledger
	Detector   Detector
	Settings   settings
	Thumbnails thumbnails
	Observer   observer
	Activity   *Activity
	// CameraRoot is the folder of the camera folders. While it is missing no image in it is given
	// up.
	CameraRoot string
	// DetectLimit is how long one call of the detector may take, its own time-outs included.
	DetectLimit time.Duration
	// BatchClosed is called after a batch was closed, to wake who waits for it. It must not block.
	BatchClosed func()
	Limits      picture.Limits
	// Memory is shared by all workers, so that few large images are decoded at once. Nil has no
	// bound.
	Memory *picture.Memory
	// Videos takes pictures out of videos. Nil: videos are given up.
	Videos videos
	// PassVideosTo works on the videos instead of this worker. Nil: the worker does, and all that
	// it has to do waits meanwhile.
	PassVideosTo *VideoWorker
	Log          *slog.Logger
	// Owner begins the token of each claim and the name of the consumer, so that a process can tell
	// its own from others'. Defaults to nothing.
	Owner string
	// AtOnce is how many images are claimed and stored together; those of one camera are detected
	// in order. Defaults to 1.
	AtOnce int
	// Cameras is how many cameras' images are detected at the same time. Defaults to 1.
	Cameras int
	// Pauses are waited while a service is away; see queue.ConsumerOptions.
	Pauses queue.Pauses
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Worker detects images, one at a time or a few together. Several workers may run side by side,
// each with its own consumer.
type Worker struct {
	options  Options
	consumer *queue.Consumer
	log      *slog.Logger
	now      func() time.Time
	// roundTime is the constant but in tests.
	roundTime time.Duration

	away  map[string]bool // cameras whose folder was away when last looked
	work  []int64         // the images in work, as the consumer asked for them
	token string          // of their claims; kept when they are asked for again, so that the claims go on
	seen  map[int64]look  // what the detector made of those that are not stored yet; kept for the same reason
}

// Lease is how long a worker may hold an image before another may take it over.
func Lease(detectLimit time.Duration) time.Duration { return detectLimit + callSlack + storeLimit }

// NewWorker makes a worker that takes images from q under a name of its own. It does not start.
func NewWorker(q *queue.Queue, options Options) *Worker {
	w := newWorker(options)
	w.consumer = q.NewConsumer(queue.ConsumerOptions{
		Name: options.Owner + options.Detector.Name() + "-" + rand.Text(), Lease: Lease(options.DetectLimit), AtOnce: options.AtOnce, Pauses: options.Pauses,
	})
	return w
}

// newWorker makes a worker that takes nothing by itself.
func newWorker(options Options) *Worker {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Worker{
		options: options, log: options.Log, now: options.Now, roundTime: roundTime,
		away: make(map[string]bool), seen: make(map[int64]look),
	}
}

// Run detects images until ctx ends. Redis, the database or the detector being away is waited for.
func (w *Worker) Run(ctx context.Context, alive heartbeat) error {
	return w.consumer.Run(ctx, alive, func(ctx context.Context, ids []int64) error {
		err := w.handle(ctx, alive, ids)
		if _, later := errors.AsType[*queue.Later](err); err == nil || later || ctx.Err() != nil || errors.Is(err, store.ErrUnavailable) {
			return err
		}
		// Asking again at once would fail again and hold up all others. The claims end by
		// themselves, and the attempts count.
		w.log.ErrorContext(ctx, "images left for later", "image_ids", ids, "error", err)
		return nil
	})
}

// handle claims images and brings them as far as they get. See queue.Handler for the errors.
func (w *Worker) handle(ctx context.Context, alive heartbeat, ids []int64) error {
	if !slices.Equal(w.work, ids) {
		w.work, w.token = slices.Clone(ids), w.options.Owner+rand.Text()
		clear(w.seen)
	}
	if len(ids) == 1 {
		return w.handleOne(ctx, alive, ids[0])
	}
	return w.handleTogether(ctx, alive, ids)
}

// settle decides what becomes of an image that could not be detected.
func (w *Worker) settle(ctx context.Context, claim store.ImageClaim, img store.Image, failure error) error {
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
			return &queue.Later{Message: unavailable.waiting(w.options.Detector.Name()), Err: unavailable.Err, Until: unavailable.retryAt}
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

// observe measures the time from one moment of a row to another. When one is missing there is no
// sample.
func (w *Worker) observe(stage latency.Stage, from, to *time.Time) {
	if from != nil && to != nil {
		w.options.Observer.Observe(stage, to.Sub(*from))
	}
}
