package detect

import (
	"context"
	"time"

	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/store"
)

// requeueAfter is after how long an image that was handed over, and that nobody claimed, is handed
// over again even if the queue still seems to have it. The dispatcher finds lost ones much earlier
// by looking into the queue.
const requeueAfter = time.Hour

// observer takes latency samples.
type observer interface {
	Observe(stage latency.Stage, d time.Duration)
}

// waitingLedger is what Source needs of the store.
type waitingLedger interface {
	WaitingImages(ctx context.Context, limit int, requeueAfter time.Duration) ([]store.WaitingImage, error)
	MarkImagesQueued(ctx context.Context, ids []int64, requeueAfter time.Duration) ([]store.QueuedImage, error)
	ResetQueuedImages(ctx context.Context) (int64, error)
	QueueDepths(ctx context.Context) (store.QueueDepths, error)
}

// Source lets the dispatcher of the detect queue see which images wait.
type Source struct {
	ledger   waitingLedger
	observer observer
}

// NewSource makes a source.
func NewSource(ledger waitingLedger, observer observer) *Source {
	return &Source{ledger: ledger, observer: observer}
}

// Waiting lists up to limit images that wait, cameras taking turns.
func (s *Source) Waiting(ctx context.Context, limit int) ([]int64, error) {
	images, err := s.ledger.WaitingImages(ctx, limit, requeueAfter)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(images))
	for i, img := range images {
		ids[i] = img.ID
	}
	return ids, nil
}

// MarkQueued marks those of the images that still wait as handed over.
func (s *Source) MarkQueued(ctx context.Context, ids []int64) ([]int64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	images, err := s.ledger.MarkImagesQueued(ctx, ids, requeueAfter)
	if err != nil {
		return nil, err
	}
	marked := make([]int64, len(images))
	for i, img := range images {
		marked[i] = img.ID
		if img.First {
			s.observer.Observe(latency.Watch, img.QueuedAt.Sub(img.SeenAt))
		}
	}
	return marked, nil
}

// ResetQueued makes all that was handed over and not claimed since wait again.
func (s *Source) ResetQueued(ctx context.Context) (int64, error) {
	return s.ledger.ResetQueuedImages(ctx)
}

// Backlog tells how many images are not yet detected.
func (s *Source) Backlog(ctx context.Context) (queue.Backlog, error) {
	depths, err := s.ledger.QueueDepths(ctx)
	return queue.Backlog{Count: depths.Detection, Oldest: depths.OldestDetection, ReadAt: depths.ReadAt}, err
}
