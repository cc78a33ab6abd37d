package analyze

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/store"
)

const (
	// maxAttempts is how often a batch is tried when it may be the batch's fault.
	maxAttempts = 5
	// handBackTimeout bounds giving a batch back after the worker was told to stop.
	handBackTimeout = 3 * time.Second
	// callSlack is what a call gets above the analyzer's own limit, so that the analyzer ends it
	// and knows why.
	callSlack = 5 * time.Second
	// storeLimit bounds all that the worker asks of the database for one batch.
	storeLimit = 30 * time.Second
	// firstRetry and longestRetry bound the time until a batch is tried again; it doubles with each
	// attempt.
	firstRetry, longestRetry = 2 * time.Second, 5 * time.Minute
)

// ledger is what the worker needs of the store.
type ledger interface {
	ClaimBatch(ctx context.Context, id int64, token string, lease time.Duration) (store.BatchWork, error)
	CommitEvent(ctx context.Context, claim store.BatchClaim, event store.NewEvent) (store.Event, error)
	ReleaseBatch(ctx context.Context, claim store.BatchClaim, retryAt *time.Time, cause string, refundAttempt bool) error
	DeadLetterBatch(ctx context.Context, claim store.BatchClaim, cause string) error
}

// observer takes latency samples.
type observer interface {
	Observe(stage latency.Stage, d time.Duration)
}

// heartbeat shows that a function is alive; see pipeline.Heartbeat.
type heartbeat interface {
	Beat()
	Say(message string)
	Step(limit time.Duration) (done func())
}

// Options of a Worker. Ledger to Log are required.
type Options struct {
	Ledger   ledger
	Analyzer Analyzer
	Observer observer
	// Severity turns a score into a level.
	Severity store.SeverityThresholds
	// AnalyzeLimit is how long one call of the analyzer may take, its own time-outs included.
	AnalyzeLimit time.Duration
	Log          *slog.Logger
	// Owner begins the token of each claim and the name of the consumer, so that a process can tell
	// its own from others'. Defaults to nothing.
	Owner string
	// Pauses are waited while a service is away; see queue.ConsumerOptions.
	Pauses queue.Pauses
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Worker analyzes one batch at a time. Several workers may run side by side.
type Worker struct {
	options  Options
	consumer *queue.Consumer
	log      *slog.Logger
	now      func() time.Time

	claim store.BatchClaim // the batch in work; kept when it is asked for again, so that the claim goes on
}

// NewWorker makes a worker that takes batches from q under a name of its own. It does not start.
func NewWorker(q *queue.Queue, options Options) *Worker {
	if options.Now == nil {
		options.Now = time.Now
	}
	w := &Worker{options: options, log: options.Log, now: options.Now}
	w.consumer = q.NewConsumer(queue.ConsumerOptions{
		Name: options.Owner + options.Analyzer.Name() + "-" + rand.Text(), Lease: w.lease(), Pauses: options.Pauses,
	})
	return w
}

// lease is how long a batch may be held before another worker may take it over.
func (w *Worker) lease() time.Duration { return w.options.AnalyzeLimit + callSlack + storeLimit }

// Run analyzes batches until ctx ends. Redis, the database or the analyzer being away is waited
// for.
func (w *Worker) Run(ctx context.Context, alive heartbeat) error {
	return w.consumer.Run(ctx, alive, func(ctx context.Context, ids []int64) error {
		id := ids[0] // one at a time
		defer alive.Step(w.lease())()
		err := w.handle(ctx, id)
		if _, later := errors.AsType[*queue.Later](err); err == nil || later || ctx.Err() != nil || errors.Is(err, store.ErrUnavailable) {
			return err
		}
		// Asking again at once would fail again and hold up all others. The claim ends by itself,
		// and the attempt counts.
		w.log.ErrorContext(ctx, "batch left for later", "batch_id", id, "error", err)
		return nil
	})
}

// handle claims a batch and brings it as far as it gets. See queue.Handler for the errors.
func (w *Worker) handle(ctx context.Context, id int64) error {
	if w.claim.BatchID != id {
		w.claim = store.BatchClaim{BatchID: id, Token: w.options.Owner + rand.Text()}
	}
	work, err := w.options.Ledger.ClaimBatch(ctx, id, w.claim.Token, w.lease())
	switch {
	case errors.Is(err, store.ErrClaimLost), errors.Is(err, store.ErrNotFound):
		return nil // somebody else has it, or it is finished
	case err != nil:
		return err
	}
	failure := w.process(ctx, w.claim, work)
	if failure == nil || errors.Is(failure, store.ErrClaimLost) {
		return nil
	}
	return w.settle(ctx, w.claim, work.Batch, failure)
}

// unusableError says that a batch can never become an event.
type unusableError struct{ err error }

func (e *unusableError) Error() string { return e.err.Error() }

// process analyzes a batch and stores its event.
func (w *Worker) process(ctx context.Context, claim store.BatchClaim, work store.BatchWork) error {
	switch {
	case work.Batch.Attempts > maxAttempts:
		// It was claimed again and again and never handed back: each time something died over it.
		return &unusableError{err: fmt.Errorf("not finished after %d attempts", work.Batch.Attempts-1)}
	case len(work.Detections) == 0:
		return &unusableError{err: errors.New("the batch has no detections any more")}
	}
	scene := sceneOf(work)
	verdict, took, err := w.analyze(ctx, scene)
	if err != nil {
		return err
	}
	event, err := w.options.Ledger.CommitEvent(ctx, claim, store.NewEvent{
		StartedAt: scene.StartedAt,
		EndedAt:   scene.EndedAt,
		RiskScore: verdict.RiskScore,
		RiskLevel: string(w.options.Severity.Level(verdict.RiskScore)),
		Summary:   storableText(verdict.Summary),
		Reasoning: storableText(verdict.Reasoning),
		Analyzer:  w.options.Analyzer.Name(),
	})
	if err != nil {
		return w.notStored(ctx, claim, err)
	}
	w.options.Observer.Observe(latency.Analyze, took)
	w.announce(ctx, work.Batch, event)
	return nil
}

// notStored turns the error of a commit into one that may become the cause of a dead letter.
func (w *Worker) notStored(ctx context.Context, claim store.BatchClaim, err error) error {
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClaimLost) || ctx.Err() != nil {
		return err
	}
	w.log.WarnContext(ctx, "event was not stored", "batch_id", claim.BatchID, "error", err)
	failure := fmt.Errorf("store the event: %w", store.Outward(err))
	if errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrConflict) {
		return &unusableError{err: failure}
	}
	return failure
}

// analyze calls the analyzer. Its own limit ends the call; the one here is for an analyzer that
// does not keep it.
func (w *Worker) analyze(ctx context.Context, scene Scene) (verdict Verdict, took time.Duration, err error) {
	callCtx, cancel := context.WithTimeout(ctx, w.options.AnalyzeLimit+callSlack)
	defer cancel()
	startedAt := time.Now()
	verdict, err = w.options.Analyzer.Analyze(callCtx, scene)
	took = time.Since(startedAt)
	if err != nil {
		return Verdict{}, took, err
	}
	if verdict.RiskScore < store.MinRiskScore || verdict.RiskScore > store.MaxRiskScore {
		return Verdict{}, took, &BadReply{Err: fmt.Errorf("risk score %d is out of range", verdict.RiskScore)}
	}
	return verdict, took, nil
}

// announce measures a stored event and writes its log line.
func (w *Worker) announce(ctx context.Context, b store.Batch, event store.Event) {
	if b.ClosedAt != nil {
		w.options.Observer.Observe(latency.BatchToAnalyze, event.CreatedAt.Sub(*b.ClosedAt))
	}
	w.options.Observer.Observe(latency.TotalPipeline, event.CreatedAt.Sub(b.FirstSeenAt))
	w.log.InfoContext(ctx, "event", "camera_id", event.CameraID, "event_id", event.ID, "risk_score", *event.RiskScore,
		"risk_level", *event.RiskLevel, "summary", *event.Summary)
}

// settle decides what becomes of a batch that could not be analyzed. An event is never one of the
// outcomes.
func (w *Worker) settle(ctx context.Context, claim store.BatchClaim, b store.Batch, failure error) error {
	stopping := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout) // the row is given back also while stopping
	defer cancel()
	var (
		unusable    *unusableError
		unavailable *Unavailable
	)
	var err error
	switch {
	case stopping:
		err = w.options.Ledger.ReleaseBatch(ctx, claim, nil, "", true)
	case errors.As(failure, &unusable):
		w.log.WarnContext(ctx, "batch given up", "camera_id", b.CameraID, "batch_id", b.ID, "error", failure)
		err = w.options.Ledger.DeadLetterBatch(ctx, claim, failure.Error())
	case errors.Is(failure, store.ErrUnavailable):
		return failure // nothing can be given back now; the claim goes on when the database is back, or ends by itself
	case errors.As(failure, &unavailable):
		retryAt := w.now().Add(firstRetry)
		if err = w.options.Ledger.ReleaseBatch(ctx, claim, &retryAt, failure.Error(), true); err == nil {
			return &queue.Later{Message: "waiting for the analyzer " + w.options.Analyzer.Name(), Err: unavailable.Err, Until: unavailable.retryAt}
		}
	case b.Attempts >= maxAttempts:
		w.log.WarnContext(ctx, "batch given up", "camera_id", b.CameraID, "batch_id", b.ID, "attempts", b.Attempts, "error", failure)
		err = w.options.Ledger.DeadLetterBatch(ctx, claim, fmt.Sprintf("failed %d times: %v", b.Attempts, failure))
	default:
		retryAt := w.now().Add(retryDelay(b.Attempts))
		w.log.InfoContext(ctx, "batch will be tried again", "camera_id", b.CameraID, "batch_id", b.ID,
			"attempts", b.Attempts, "retry_at", retryAt, "error", failure)
		err = w.options.Ledger.ReleaseBatch(ctx, claim, &retryAt, failure.Error(), false)
	}
	if errors.Is(err, store.ErrClaimLost) {
		return nil
	}
	return err
}

// retryDelay is the time until the next attempt after a number of attempts, at least one.
func retryDelay(attempts int) time.Duration {
	if attempts > 8 {
		return longestRetry
	}
	return min(longestRetry, firstRetry<<(max(attempts, 1)-1))
}

// storableText makes text that PostgreSQL takes and people can read: valid UTF-8 without NUL, and
// not endless.
func storableText(text string) string {
	const longest = 8000
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}
