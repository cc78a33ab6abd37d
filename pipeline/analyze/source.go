package analyze

import (
	"context"
	"time"

	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/store"
)

// requeueAfter is after how long a batch that was handed over, and that nobody claimed, is handed
// over again even if the queue still seems to have it.
const requeueAfter = time.Hour

// waitingLedger is what Source needs of the store.
type waitingLedger interface {
	WaitingBatches(ctx context.Context, limit int, requeueAfter time.Duration) ([]store.WaitingBatch, error)
	MarkBatchesQueued(ctx context.Context, ids []int64, requeueAfter time.Duration) ([]int64, error)
	ResetQueuedBatches(ctx context.Context) (int64, error)
	QueueDepths(ctx context.Context) (store.QueueDepths, error)
}

// Source lets the dispatcher of the analyze queue see which batches wait.
type Source struct{ ledger waitingLedger }

// NewSource makes a source.
func NewSource(ledger waitingLedger) *Source { return &Source{ledger: ledger} }

// Waiting lists up to limit batches that wait, the oldest first.
func (s *Source) Waiting(ctx context.Context, limit int) ([]int64, error) {
	batches, err := s.ledger.WaitingBatches(ctx, limit, requeueAfter)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(batches))
	for i, b := range batches {
		ids[i] = b.ID
	}
	return ids, nil
}

// MarkQueued marks those of the batches that still wait as handed over.
func (s *Source) MarkQueued(ctx context.Context, ids []int64) ([]int64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return s.ledger.MarkBatchesQueued(ctx, ids, requeueAfter)
}

// ResetQueued makes all that was handed over and not claimed since wait again.
func (s *Source) ResetQueued(ctx context.Context) (int64, error) {
	return s.ledger.ResetQueuedBatches(ctx)
}

// Backlog tells how many batches are not yet analyzed.
func (s *Source) Backlog(ctx context.Context) (queue.Backlog, error) {
	depths, err := s.ledger.QueueDepths(ctx)
	return queue.Backlog{Count: depths.Analysis, Oldest: depths.OldestAnalysis, ReadAt: depths.ReadAt}, err
}
