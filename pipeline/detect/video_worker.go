package detect

import (
	"context"
	"errors"
	"sync"
	"time"

	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/store"
)

const (
	// maxVideosHeld bounds how many videos the video worker knows of. Those that it has no room for
	// are offered again.
	maxVideosHeld = 64
	// videoRetry is the time until a video is handed out again that was passed on and not begun.
	videoRetry = 10 * time.Second
	// videoBeat is how often the video worker shows that it is alive while there are no videos; a
	// third of what a heartbeat is good for.
	videoBeat = 10 * time.Second
	// videoPause is waited before a video is tried again when the database is away, and after one
	// for which a service is.
	videoPause = time.Second
)

// VideoWorker works on videos, one at a time, for workers that pass them on. A video takes as long
// as thirty images and the ffmpeg between them; beside the images it holds up no camera but its own
// videos.
type VideoWorker struct {
	worker *Worker // has no consumer: videos come from other workers
	ids    chan int64

	mu   sync.Mutex
	held map[int64]struct{} // guarded by mu; waiting in ids, or in work
}

// NewVideoWorker makes a video worker. It does not start.
func NewVideoWorker(options Options) *VideoWorker {
	options.PassVideosTo = nil
	return &VideoWorker{worker: newWorker(options), ids: make(chan int64, maxVideosHeld), held: make(map[int64]struct{})}
}

// offer takes a video that nobody holds a claim of; false when there is no room. One that is held
// already is not taken again.
func (v *VideoWorker) offer(id int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, held := v.held[id]; held {
		return true
	}
	select {
	case v.ids <- id:
		v.held[id] = struct{}{}
		return true
	default:
		return false
	}
}

func (v *VideoWorker) forget(id int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.held, id)
}

// Run works on videos until ctx ends. Those that wait then are handed out by their rows again.
func (v *VideoWorker) Run(ctx context.Context, alive heartbeat) error {
	ticker := time.NewTicker(videoBeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			alive.Beat()
		case id := <-v.ids:
			v.work(ctx, alive, id)
		}
	}
}

// work brings one video as far as it gets. Its row says what is left to do, so that whatever
// happens here loses nothing.
func (v *VideoWorker) work(ctx context.Context, alive heartbeat, id int64) {
	defer v.forget(id) // also when a panic goes through
	for ctx.Err() == nil {
		err := v.worker.handle(ctx, alive, []int64{id})
		later, isLater := errors.AsType[*queue.Later](err)
		switch {
		case err == nil:
			alive.Say("")
			return
		case isLater: // given back
			alive.Say(later.Message)
			v.pause(ctx, alive)
			return
		case errors.Is(err, store.ErrUnavailable): // the claim goes on, and with it what was found so far
			alive.Say("waiting for the database")
			v.pause(ctx, alive)
		default:
			v.worker.log.ErrorContext(ctx, "video left for later", "image_id", id, "error", err)
			return
		}
	}
}

func (v *VideoWorker) pause(ctx context.Context, alive heartbeat) {
	defer alive.Step(2 * videoPause)()
	timer := time.NewTimer(videoPause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// passOn gives a claimed video back, which costs it no attempt, and offers it to the video worker.
// Should that not come to it, the row is handed out again.
func (w *Worker) passOn(ctx context.Context, row store.Image) error {
	retryAt := w.now().Add(videoRetry)
	err := w.options.Ledger.ReleaseImage(ctx, store.ImageClaim{ImageID: row.ID, Token: w.token}, &retryAt, "", true)
	if errors.Is(err, store.ErrClaimLost) {
		return nil
	}
	if err != nil {
		return err
	}
	w.options.PassVideosTo.offer(row.ID)
	return nil
}
