package detect

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/pipeline/batch"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/store"
)

// roundTime is after how long no further image is begun before what is there is stored and the
// claims of the rest are extended.
const roundTime = 2 * time.Second

// look is what came of looking at one image.
type look struct {
	result store.DetectionResult
	calls  []time.Duration // that the detector took, one for each picture
	isRead bool            // the file could be read, so its folder is there
	err    error
}

// handleOne claims one image and brings it as far as it gets.
func (w *Worker) handleOne(ctx context.Context, alive heartbeat, id int64) error {
	done := alive.Step(Lease(w.options.DetectLimit))
	defer done()
	row, err := w.options.Ledger.ClaimImage(ctx, id, w.token, Lease(w.options.DetectLimit))
	if err == nil && isVideo(row) && w.options.PassVideosTo != nil {
		return w.passOn(ctx, row)
	}
	if err == nil && isVideo(row) {
		// It takes longer than an image may. A claim that goes on counts no attempt.
		defer alive.Step(w.videoLease())()
		done()
		row, err = w.options.Ledger.ClaimImage(ctx, id, w.token, w.videoLease())
	}
	switch {
	case errors.Is(err, store.ErrClaimLost), errors.Is(err, store.ErrNotFound):
		return nil // somebody else has it, or it is finished
	case err != nil:
		return err
	}
	_, err = w.finish(ctx, []store.Image{row})
	return err
}

// handleTogether works on the images that were never tried before in rounds, and then on the others
// one by one: an image over which something dies must not take the attempts of others with it. When
// a service is away all of them are given back.
func (w *Worker) handleTogether(ctx context.Context, alive heartbeat, ids []int64) error {
	var later *queue.Later
	alone := slices.Clone(ids)
	for rest := ids; len(rest) > 0; {
		claimed, left, err := w.round(ctx, alive, rest)
		alone = slices.DeleteFunc(alone, func(id int64) bool { return slices.Contains(claimed, id) })
		rest = left
		if err != nil && !errors.As(err, &later) {
			return err
		}
	}
	for _, id := range alone {
		if err := w.handleOne(ctx, alive, id); err != nil && !errors.As(err, &later) {
			return err
		}
	}
	if later != nil {
		return later
	}
	return nil
}

// round claims images together, or extends their claims, and works on as many as there is time for.
// It returns those claimed and those of them that are left.
func (w *Worker) round(ctx context.Context, alive heartbeat, ids []int64) (claimed, left []int64, err error) {
	defer alive.Step(Lease(w.options.DetectLimit))()
	rows, err := w.options.Ledger.ClaimImages(ctx, ids, w.token, Lease(w.options.DetectLimit))
	if err != nil {
		return nil, nil, err
	}
	rows = slices.DeleteFunc(rows, isVideo) // each takes its time, and has its turn alone
	for _, row := range rows {
		claimed = append(claimed, row.ID)
	}
	left, err = w.finish(ctx, rows)
	return claimed, left, err
}

// finish looks at claimed images, stores what was found, and settles what went wrong. It returns
// those for which there was no time. See queue.Handler for the errors.
func (w *Worker) finish(ctx context.Context, rows []store.Image) (left []int64, err error) {
	w.lookAtAll(ctx, rows)
	if ctx.Err() != nil {
		return nil, w.handBack(ctx)
	}
	var detected []store.Detected
	for _, row := range rows {
		l, looked := w.seen[row.ID]
		switch {
		case !looked:
			left = append(left, row.ID)
		case l.err == nil:
			detected = append(detected, store.Detected{ImageID: row.ID, DetectionResult: l.result})
		}
		if l.isRead {
			w.noteBack(ctx, row.CameraID)
		}
	}
	if err := w.commit(ctx, detected); err != nil {
		return nil, err
	}
	var later *queue.Later
	for _, row := range rows {
		l, failed := w.seen[row.ID]
		if !failed {
			continue // stored, or left
		}
		if err := w.settle(ctx, store.ImageClaim{ImageID: row.ID, Token: w.token}, row, l.err); err != nil && !errors.As(err, &later) {
			return nil, err
		}
		delete(w.seen, row.ID)
	}
	if later != nil {
		return left, later
	}
	return left, nil
}

// lookAtAll looks at images: those of one camera in order, several cameras at the same time.
func (w *Worker) lookAtAll(ctx context.Context, rows []store.Image) {
	startedAt := time.Now()
	cameras := make(map[string][]store.Image)
	for _, row := range rows {
		if _, looked := w.seen[row.ID]; !looked {
			cameras[row.CameraID] = append(cameras[row.CameraID], row)
		}
	}
	var (
		group   errgroup.Group
		mu      sync.Mutex
		crashed any // guarded by mu
	)
	group.SetLimit(max(1, w.options.Cameras))
	for _, rows := range cameras {
		group.Go(func() error {
			defer func() {
				if value := recover(); value != nil {
					mu.Lock()
					defer mu.Unlock()
					crashed = fmt.Sprintf("%v\n%s", value, debug.Stack())
				}
			}()
			for i, row := range rows {
				if ctx.Err() != nil || i > 0 && time.Since(startedAt) > w.roundTime {
					break
				}
				l := w.look(ctx, row)
				mu.Lock()
				w.seen[row.ID] = l
				mu.Unlock()
			}
			return nil
		})
	}
	_ = group.Wait() // they return none
	if crashed != nil {
		panic(crashed) // to the supervisor, which a goroutine of ours would not reach
	}
}

// look reads one image or video, shows it to the detector and draws its thumbnails.
func (w *Worker) look(ctx context.Context, row store.Image) (l look) {
	if row.Attempts > maxAttempts {
		// It was claimed again and again and never handed back: each time something died over it.
		l.err = &Unusable{Err: fmt.Errorf("not finished after %d attempts", row.Attempts-1)}
		return l
	}
	if isVideo(row) {
		return w.lookAtVideo(ctx, row)
	}
	data, err := readImage(row, w.options.CameraRoot, w.options.Limits)
	if err != nil {
		l.err = err
		return l
	}
	l.isRead = true
	takenAt := picture.TakenAt(row.ModTime, row.SeenAt)
	img, err := NewImage(row.CameraID, filepath.Base(row.FilePath), takenAt, data, w.options.Limits, w.options.Memory)
	if err != nil {
		l.err = &Unusable{Err: err}
		return l
	}
	defer img.Close()
	found, took, err := w.detect(ctx, img)
	if err != nil {
		l.err = err
		return l
	}
	l.calls = []time.Duration{took}
	l.result = store.DetectionResult{Detector: w.options.Detector.Name(), ImageAt: takenAt, FileType: img.Info.Format.MediaType()}
	kept := selectDetections(found, w.options.Settings.Latest().DetectionConfidenceThreshold)
	l.result.Detections, l.err = w.withThumbnails(ctx, row.ID, 0, img, kept)
	return l
}

// detect calls the detector and measures how long it took. Its own limit ends the call; the one
// here is for a detector that does not keep it.
func (w *Worker) detect(ctx context.Context, img *Image) (found []Detection, took time.Duration, err error) {
	callCtx, cancel := context.WithTimeout(ctx, w.options.DetectLimit+callSlack)
	defer cancel()
	startedAt := time.Now()
	found, err = w.options.Detector.Detect(callCtx, img)
	return found, time.Since(startedAt), err
}

// commit stores results. What the database refuses is noted as the failure of its image; the only
// error is a database that is away.
func (w *Worker) commit(ctx context.Context, detected []store.Detected) error {
	if len(detected) == 0 {
		return nil
	}
	committed, err := w.options.Ledger.CommitDetections(ctx, w.token, detected, batch.Decide(batch.ConfigOf(w.options.Settings.Latest())))
	switch {
	case err == nil:
		w.announce(committed)
		for _, one := range detected {
			delete(w.seen, one.ImageID) // also those whose claims were lost
		}
		return nil
	case errors.Is(err, store.ErrUnavailable), ctx.Err() != nil:
		return err
	case len(detected) > 1: // one that is refused does not spoil the others
		for _, one := range detected {
			if err := w.commit(ctx, []store.Detected{one}); err != nil {
				return err
			}
		}
		return nil
	}
	w.log.WarnContext(ctx, "result was not stored", "image_id", detected[0].ImageID, "error", err)
	failure := fmt.Errorf("store the result: %w", store.Outward(err))
	if errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrConflict) {
		failure = &Unusable{Err: failure}
	}
	w.seen[detected[0].ImageID] = look{err: failure}
	return nil
}

// announce measures images once they are stored: one that is tried again counts once.
func (w *Worker) announce(committed []store.Committed) {
	closed := false
	for _, c := range committed {
		for _, took := range w.seen[c.Image.ID].calls {
			w.options.Activity.add()
			w.options.Observer.Observe(latency.Detect, took)
		}
		w.observe(latency.WatchToDetect, &c.Image.SeenAt, c.Image.DetectStartedAt)
		if c.Batch != nil {
			w.observe(latency.DetectToBatch, c.Image.DetectStartedAt, c.Image.BatchedAt)
		}
		if c.Closed != nil {
			batch.Observe(w.options.Observer, *c.Closed)
			closed = true
		}
	}
	if closed {
		w.options.BatchClosed()
	}
}

// handBack gives images back because the worker was told to stop.
func (w *Worker) handBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout)
	defer cancel()
	clear(w.seen)
	return w.options.Ledger.GiveBackImages(ctx, w.work, w.token) // those that are stored have no claim any more
}
