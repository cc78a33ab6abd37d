package analyze_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/internal/logtest"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/analyze"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/pipeline/redis"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

type samples struct {
	mu  sync.Mutex
	all map[latency.Stage][]time.Duration
}

func (s *samples) Observe(stage latency.Stage, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[stage] = append(s.all[stage], d)
}

func (s *samples) count(stage latency.Stage) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all[stage])
}

type alive struct {
	mu      sync.Mutex
	message string
}

func (*alive) Beat()                     {}
func (*alive) Step(time.Duration) func() { return func() {} }
func (a *alive) Say(message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.message = message
}

func (a *alive) says() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.message
}

// faultyLedger is the real store, whose first commits do not reach the database.
type faultyLedger struct {
	*store.DB
	refuse int64 // used by one worker
}

func (l *faultyLedger) CommitEvent(ctx context.Context, claim store.BatchClaim, event store.NewEvent) (store.Event, error) {
	if l.refuse > 0 {
		l.refuse--
		return store.Event{}, fmt.Errorf("cut: %w", store.ErrUnavailable)
	}
	return l.DB.CommitEvent(ctx, claim, event)
}

// fixture is an analysis worker with its queue on a real PostgreSQL and Redis.
type fixture struct {
	t       *testing.T
	db      *store.DB
	samples *samples
	alive   *alive
	log     *logtest.Output
	images  int
	limit   time.Duration // of one call of the analyzer
	refuse  int64         // commits that do not reach the database
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, db: storetest.New(t), samples: &samples{all: map[latency.Stage][]time.Duration{}}, alive: &alive{}, log: &logtest.Output{}, limit: 5 * time.Second}
	require.NoError(t, f.db.EnsureCamera(t.Context(), store.Camera{ID: "front", Name: "Front Door", FolderPath: "/cameras/front"}))
	return f
}

// run starts the worker with an analyzer.
func (f *fixture) run(analyzer analyze.Analyzer) (stop func()) {
	f.t.Helper()
	server := embeddedtest.NewRedis(f.t)
	client, err := redis.Open(redis.Config{URL: server.URL()})
	require.NoError(f.t, err)
	log := slog.New(slog.NewTextHandler(f.log, nil))
	q := queue.New(client.Conn, queue.Analyze, log)
	dispatcher := queue.NewDispatcher(q, analyze.NewSource(f.db))
	worker := analyze.NewWorker(q, analyze.Options{
		Ledger: &faultyLedger{DB: f.db, refuse: f.refuse}, Analyzer: analyzer, Observer: f.samples, Severity: store.DefaultSeverityThresholds(), AnalyzeLimit: f.limit, Log: log,
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	var group sync.WaitGroup
	group.Go(func() { _ = dispatcher.Run(ctx, &alive{}) })
	group.Go(func() { _ = worker.Run(ctx, f.alive) })
	stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
		client.Close()
	})
	f.t.Cleanup(stop)
	return stop
}

func (f *fixture) nemotron(url string) *analyze.Nemotron {
	f.t.Helper()
	n, err := analyze.NewNemotron(analyze.NemotronOptions{
		URL: url, APIKey: "secret", ConnectTimeout: time.Minute, ReadTimeout: time.Minute, Severity: store.DefaultSeverityThresholds(), Location: time.UTC,
	})
	require.NoError(f.t, err)
	f.t.Cleanup(n.CloseIdle)
	return n
}

// closedBatch makes a batch of one image with one detection and closes it.
func (f *fixture) closedBatch() store.Batch {
	f.t.Helper()
	ctx := f.t.Context()
	f.images++
	key := store.ImageKey{CameraID: "front", FilePath: fmt.Sprintf("/cameras/front/%d.jpg", f.images), SizeBytes: 1, ModTime: time.Now()}
	recorded, err := f.db.RecordImage(ctx, store.NewImage{ImageKey: key, State: store.ImageSeen, SHA256: strings.Repeat("0", 64)})
	require.NoError(f.t, err)
	claim := store.ImageClaim{ImageID: recorded.ID, Token: "x"}
	_, err = f.db.ClaimImage(ctx, claim.ImageID, claim.Token, time.Minute)
	require.NoError(f.t, err)
	imageAt := time.Date(2026, 11, 23, 12, 0, f.images, 0, time.UTC)
	committed, err := f.db.CommitDetection(ctx, claim, store.DetectionResult{
		Detector: "rtdetr", ImageAt: imageAt, Detections: []store.NewDetection{{ObjectType: "person", Confidence: 0.875}},
	}, func(store.Batch, time.Time) store.JoinDecision { return store.CloseAndStart })
	require.NoError(f.t, err)
	closed, _, err := f.db.CloseBatch(ctx, committed.Batch.ID, func(store.Batch) bool { return true })
	require.NoError(f.t, err)
	return closed
}

func (f *fixture) events() []store.Event {
	f.t.Helper()
	events, err := f.db.ListEvents(f.t.Context(), 0, 100)
	require.NoError(f.t, err)
	return events
}

func (f *fixture) waitEvents(n int) []store.Event {
	f.t.Helper()
	await.True(f.t, func() bool { return len(f.events()) == n })
	return f.events()
}

func (f *fixture) batch(id int64) store.Batch {
	f.t.Helper()
	b, err := f.db.Batch(f.t.Context(), id)
	require.NoError(f.t, err)
	return b
}

func TestWorker_StoresWhatTheModelSays(t *testing.T) {
	t.Parallel()
	f, model := setup(t), aitest.NewNemotron(t)
	model.RequireKey("secret", true)
	b := f.closedBatch()
	f.run(f.nemotron(model.URL()))
	event := f.waitEvents(1)[0]
	call := model.Calls()[0]
	require.True(t, call.HasSchema)
	require.Positive(t, call.MaxTokens)
	require.Equal(t, "secret", call.APIKey)
	require.Contains(t, call.Prompt, `Camera: "Front Door"`)
	require.Contains(t, call.Prompt, "1. 12:00:01 person (confidence 0.88)")
	require.Contains(t, call.Prompt, "60 to 84 high")
	require.Equal(t, call.Verdict.RiskScore, *event.RiskScore)
	require.Equal(t, call.Verdict.Summary, *event.Summary)
	require.Equal(t, call.Verdict.Reasoning, *event.Reasoning)
	require.Equal(t, string(store.DefaultSeverityThresholds().Level(call.Verdict.RiskScore)), *event.RiskLevel)
	require.Equal(t, "nemotron", *event.Analyzer)
	require.Equal(t, store.BatchAnalyzed, f.batch(b.ID).State)
	require.Equal(t, 1, event.Detections)
	for _, stage := range []latency.Stage{latency.Analyze, latency.BatchToAnalyze, latency.TotalPipeline} {
		await.True(t, func() bool { return f.samples.count(stage) == 1 }, "%s", stage)
	}
	line := f.log.String()
	require.Contains(t, line, fmt.Sprintf("msg=event camera_id=front event_id=%d risk_score=%d risk_level=%s", event.ID, *event.RiskScore, *event.RiskLevel))
}

// TestWorker_AModelThatMisbehaves makes the model misbehave at first; the honest answers come later
// and count.
func TestWorker_AModelThatMisbehaves(t *testing.T) {
	t.Parallel()
	f, model := setup(t), aitest.NewNemotron(t)
	model.Script(aitest.Status(503), aitest.Score("150"), aitest.NoVerdict())
	batches := []store.Batch{f.closedBatch(), f.closedBatch(), f.closedBatch()}
	f.run(f.nemotron(model.URL()))
	f.waitEvents(len(batches))
	honest := map[string]aitest.Verdict{}
	for _, call := range model.Calls() {
		honest[call.Verdict.Summary] = call.Verdict
	}
	for _, event := range f.events() {
		require.Equal(t, honest[*event.Summary].RiskScore, *event.RiskScore, "the score of an honest answer")
	}
	require.Equal(t, len(batches), f.samples.count(latency.Analyze), "answers that are none are not measured")
	for _, b := range batches {
		require.LessOrEqual(t, f.batch(b.ID).Attempts, 3)
	}
}

func TestWorker_UnderstandsHowModelsTalk(t *testing.T) {
	t.Parallel()
	f, model := setup(t), aitest.NewNemotron(t)
	model.Script(aitest.TalksAround(), aitest.CodeFence(), aitest.TwoObjects(), aitest.WrongLevel())
	for range 4 {
		f.closedBatch()
	}
	f.run(f.nemotron(model.URL()))
	events := f.waitEvents(4)
	require.Len(t, model.Calls(), 4)
	for i, event := range events {
		want := model.Calls()[i].Verdict
		require.Equal(t, want.RiskScore, *event.RiskScore)
		require.Equal(t, string(store.DefaultSeverityThresholds().Level(want.RiskScore)), *event.RiskLevel, "the level follows the score")
	}
}

func TestWorker_WaitsForAModelThatIsAway(t *testing.T) {
	t.Parallel()
	f, model := setup(t), aitest.NewNemotron(t)
	model.Stop()
	batches := []store.Batch{f.closedBatch(), f.closedBatch(), f.closedBatch()}
	f.run(f.nemotron(model.URL()))
	await.True(t, func() bool { return f.alive.says() == "waiting for the analyzer nemotron" })
	require.Empty(t, f.events())
	model.Start()
	f.waitEvents(3)
	for _, b := range batches {
		require.Equal(t, 1, f.batch(b.ID).Attempts, "an outage costs no attempt")
	}
}

func TestWorker_WaitsForAModelThatIsTooSlow(t *testing.T) {
	t.Parallel()
	for _, slow := range []aitest.Behaviour{aitest.Drip(time.Second), aitest.Hang()} {
		t.Run(slow.Name, func(t *testing.T) {
			t.Parallel()
			f, model := setup(t), aitest.NewNemotron(t)
			model.SetBehaviour(slow)
			for range 6 {
				f.closedBatch()
			}
			analyzer, err := analyze.NewNemotron(analyze.NemotronOptions{
				URL: model.URL(), ConnectTimeout: 500 * time.Millisecond, ReadTimeout: 500 * time.Millisecond, Severity: store.DefaultSeverityThresholds(),
			})
			require.NoError(t, err)
			t.Cleanup(analyzer.CloseIdle)
			f.limit = analyzer.Limit()
			f.run(analyzer)
			await.True(t, func() bool { return f.alive.says() == "waiting for the analyzer nemotron" })
			require.LessOrEqual(t, storetest.QueryOne[int](t, f.db, `SELECT sum(attempts) FROM batches`), 4,
				"three time-outs cost an attempt, then it is the service")
			require.Empty(t, f.events())
			model.SetBehaviour(aitest.Behaviour{})
			f.waitEvents(6)
		})
	}
}

// scripted is an analyzer that does what a test says.
type scripted struct {
	analyze func(ctx context.Context) (analyze.Verdict, error)
}

func (scripted) Name() string { return "scripted" }
func (s scripted) Analyze(ctx context.Context, _ analyze.Scene) (analyze.Verdict, error) {
	return s.analyze(ctx)
}

func TestWorker_GivesABatchUpAfterItsAttempts(t *testing.T) {
	t.Parallel()
	f := setup(t)
	b := f.closedBatch()
	storetest.Exec(t, f.db, `UPDATE batches SET attempts = 4`)
	f.run(scripted{func(context.Context) (analyze.Verdict, error) {
		return analyze.Verdict{}, &analyze.BadReply{Err: errors.New("gibberish")}
	}})
	await.True(t, func() bool { return f.batch(b.ID).State == store.BatchDeadLettered })
	require.Equal(t, "failed 5 times: bad reply of the analyzer: gibberish", *f.batch(b.ID).Reason)
	require.Equal(t, "dead_lettered", storetest.QueryOne[string](t, f.db, `SELECT state FROM images`))
	require.Empty(t, f.events())
}

// What PostgreSQL says names tables and quotes rows: it goes to the log, and the cause, which
// everybody may read, is in our own words.
func TestWorker_TheCauseHasNoWordsOfTheDatabase(t *testing.T) {
	t.Parallel()
	for statement, cause := range map[string]string{
		`ALTER TABLE events ADD CONSTRAINT inner_words CHECK (risk_score < 0)`: "store the event: the database refused it: invalid value",
		`CREATE FUNCTION inner_words() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''inner_words''; END';
		 CREATE TRIGGER inner_words BEFORE INSERT ON events EXECUTE FUNCTION inner_words()`: "failed 5 times: store the event: the database refused it",
	} {
		f := setup(t)
		b := f.closedBatch()
		storetest.Exec(t, f.db, `UPDATE batches SET attempts = 4`)
		storetest.Exec(t, f.db, statement)
		stop := f.run(scripted{func(context.Context) (analyze.Verdict, error) {
			return analyze.Verdict{RiskScore: 50, Summary: "x"}, nil
		}})
		await.True(t, func() bool { return f.batch(b.ID).State == store.BatchDeadLettered })
		stop()
		require.Equal(t, cause, *f.batch(b.ID).Reason)
		require.Contains(t, f.log.String(), "inner_words")
		require.Empty(t, storetest.Query[string](t, f.db, `SELECT reason FROM images WHERE reason LIKE '%inner_words%' OR last_error LIKE '%inner_words%'`))
	}
}

func TestWorker_GivesUpWhatSomethingDiesOver(t *testing.T) {
	t.Parallel()
	f := setup(t)
	b := f.closedBatch()
	storetest.Exec(t, f.db, `UPDATE batches SET attempts = 5`)
	f.run(scripted{func(context.Context) (analyze.Verdict, error) { panic("not to be reached") }})
	await.True(t, func() bool { return f.batch(b.ID).State == store.BatchDeadLettered })
	require.Equal(t, "not finished after 5 attempts", *f.batch(b.ID).Reason)
}

func TestWorker_AScoreOutOfRangeIsNoEvent(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.closedBatch()
	calls := make(chan struct{}, 100)
	f.run(scripted{func(context.Context) (analyze.Verdict, error) {
		calls <- struct{}{}
		return analyze.Verdict{RiskScore: 101, Summary: "x"}, nil
	}})
	<-calls
	<-calls // it was tried again
	require.Empty(t, f.events())
}

func TestWorker_MeasuresWhatIsStored(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.closedBatch()
	f.refuse = 2
	f.run(analyze.NewRules(time.UTC))
	f.waitEvents(1)
	await.True(t, func() bool { return f.samples.count(latency.TotalPipeline) == 1 })
	require.Equal(t, 1, f.samples.count(latency.Analyze))
}

func TestWorker_HandsABatchBackWhenStopped(t *testing.T) {
	t.Parallel()
	f := setup(t)
	b := f.closedBatch()
	working := make(chan struct{})
	stop := f.run(scripted{func(ctx context.Context) (analyze.Verdict, error) {
		close(working)
		<-ctx.Done()
		return analyze.Verdict{}, ctx.Err()
	}})
	<-working
	stop()
	require.Equal(t, store.BatchClosed, f.batch(b.ID).State)
	require.Zero(t, f.batch(b.ID).Attempts)
	f.run(analyze.NewRules(time.UTC))
	f.waitEvents(1)
}

func TestWorker_ABatchWhoseDetectionsAreGone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	b := f.closedBatch()
	storetest.Exec(t, f.db, `DELETE FROM detections`)
	f.run(analyze.NewRules(time.UTC))
	await.True(t, func() bool { return f.batch(b.ID).State == store.BatchDeadLettered })
	require.Empty(t, f.events())
}
