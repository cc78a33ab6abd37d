package batch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/batch"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// config is a live configuration that a test can change.
type config struct {
	value atomic.Pointer[store.SystemConfig]
}

func newConfig(window, idle time.Duration) *config {
	c := &config{}
	c.set(window, idle)
	return c
}

func (c *config) set(window, idle time.Duration) {
	c.value.Store(&store.SystemConfig{BatchWindow: window, BatchIdleTimeout: idle})
}

func (c *config) Latest() store.SystemConfig { return *c.value.Load() }

// samples records what is observed.
type samples struct {
	mu  sync.Mutex
	all map[latency.Stage][]time.Duration
}

func (s *samples) Observe(stage latency.Stage, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[latency.Stage][]time.Duration{}
	}
	s.all[stage] = append(s.all[stage], d)
}

type alive struct {
	mu      sync.Mutex
	message string
}

func (*alive) Step(time.Duration) func() { return func() {} }
func (a *alive) Say(message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.message = message
}

func (a *alive) now() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.message
}

// start runs a closer until the test ends and returns a channel that gets a value for each batch it
// closed.
func start(t *testing.T, options batch.Options) (closed chan struct{}, a *alive) {
	t.Helper()
	closed = make(chan struct{}, 1000)
	options.Closed = func() { closed <- struct{}{} }
	options.Log = slog.New(slog.DiscardHandler)
	a = &alive{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- batch.NewCloser(options).Run(ctx, a) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return closed, a
}

// addImage records an image and commits one detection for it.
func addImage(t *testing.T, db *store.DB, camera string, n int, imageTime time.Time, c batch.Config) store.Committed {
	t.Helper()
	ctx := t.Context()
	key := store.ImageKey{CameraID: camera, FilePath: fmt.Sprintf("/cameras/%s/%d.jpg", camera, n), SizeBytes: 1, ModTime: imageTime}
	recorded, err := db.RecordImage(ctx, store.NewImage{ImageKey: key, State: store.ImageSeen, SHA256: strings.Repeat("0", 64)})
	require.NoError(t, err)
	claim := store.ImageClaim{ImageID: recorded.ID, Token: fmt.Sprint("token-", recorded.ID)}
	_, err = db.ClaimImage(ctx, claim.ImageID, claim.Token, time.Minute)
	require.NoError(t, err)
	committed, err := db.CommitDetection(ctx, claim, store.DetectionResult{
		Detector: "motion", ImageAt: imageTime, Detections: []store.NewDetection{{ObjectType: "motion", Confidence: 0.9}},
	}, batch.Decide(c))
	require.NoError(t, err)
	return committed
}

func TestCloser_ClosesAnIdleBatch(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	require.NoError(t, db.EnsureCamera(t.Context(), store.Camera{ID: "front", Name: "front", FolderPath: "/cameras/front"}))
	settings, observed := newConfig(time.Hour, time.Hour), &samples{}
	committed := addImage(t, db, "front", 1, time.Now(), batch.ConfigOf(settings.Latest()))
	closed, _ := start(t, batch.Options{Ledger: db, Settings: settings, Observer: observed})

	stillOpen, err := db.Batch(t.Context(), committed.Batch.ID)
	require.NoError(t, err)
	require.Equal(t, store.BatchOpen, stillOpen.State)

	settings.set(time.Hour, time.Millisecond) // a changed configuration reaches open batches
	await.Value(t, closed, "it is not closed")
	over, err := db.Batch(t.Context(), committed.Batch.ID)
	require.NoError(t, err)
	require.Equal(t, store.BatchClosed, over.State)
	require.Equal(t, []time.Duration{over.ClosedAt.Sub(over.CreatedAt)}, observed.all[latency.Batch])
}

// A batch that was opened while there were none is found without being told of.
func TestCloser_FindsABatchAfterThereWereNone(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	require.NoError(t, db.EnsureCamera(t.Context(), store.Camera{ID: "front", Name: "front", FolderPath: "/cameras/front"}))
	settings, looked := newConfig(time.Hour, time.Millisecond), make(chan struct{}, 1000)
	closed, _ := start(t, batch.Options{Ledger: tellingLedger{db, looked}, Settings: settings, Observer: &samples{}})
	<-looked
	addImage(t, db, "front", 1, time.Now(), batch.ConfigOf(newConfig(time.Hour, time.Hour).Latest()))
	await.Value(t, closed, "it is not closed")
}

// tellingLedger tells when open batches were looked for.
type tellingLedger struct {
	*store.DB
	looked chan<- struct{}
}

func (l tellingLedger) OpenBatches(ctx context.Context) ([]store.Batch, error) {
	open, err := l.DB.OpenBatches(ctx)
	l.looked <- struct{}{}
	return open, err
}

// TestCloser_AddersAndCloserMeet lets several workers add images to one camera while a closer
// closes batches as fast as it can.
func TestCloser_AddersAndCloserMeet(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	require.NoError(t, db.EnsureCamera(t.Context(), store.Camera{ID: "front", Name: "front", FolderPath: "/cameras/front"}))
	settings := newConfig(time.Hour, 3*time.Millisecond)
	for range 2 {
		start(t, batch.Options{Ledger: hurried{db}, Settings: settings, Observer: &samples{}})
	}
	const workers, images = 2, 60
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for n := range images {
				addImage(t, db, "front", w*images+n, time.Now(), batch.ConfigOf(settings.Latest()))
			}
		})
	}
	group.Wait()
	await.True(t, func() bool {
		open, err := db.OpenBatches(t.Context())
		return err == nil && len(open) == 0
	})
	require.Equal(t, int64(workers*images), storetest.QueryOne[int64](t, db, `SELECT sum(image_count) FROM batches`))
	require.Equal(t, int64(workers*images), storetest.QueryOne[int64](t, db, `SELECT count(*) FROM images WHERE state = 'batched'`))
	require.Equal(t, int64(workers*images), storetest.QueryOne[int64](t, db, `SELECT count(*) FROM detections JOIN batches ON batches.id = batch_id`))
	require.Greater(t, storetest.QueryOne[int64](t, db, `SELECT count(*) FROM batches`), int64(1))
}

// hurried closes each batch at once, again and again, to meet the adders as often as possible.
type hurried struct{ *store.DB }

func (h hurried) OpenBatches(ctx context.Context) ([]store.Batch, error) {
	for range 50 {
		open, err := h.DB.OpenBatches(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range open {
			if _, _, err := h.CloseBatch(ctx, b.ID, func(store.Batch) bool { return true }); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// broken is a ledger that fails until it is mended.
type broken struct {
	mu  sync.Mutex
	err error
}

func (b *broken) OpenBatches(context.Context) ([]store.Batch, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return nil, b.err
}

func (*broken) CloseBatch(context.Context, int64, func(store.Batch) bool) (store.Batch, bool, error) {
	return store.Batch{}, false, errors.New("not reached")
}

func TestCloser_WaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	b := &broken{err: fmt.Errorf("refused: %w", store.ErrUnavailable)}
	_, a := start(t, batch.Options{Ledger: b, Settings: newConfig(1, 1), Observer: &samples{}})
	await.True(t, func() bool { return a.now() == "waiting for the database" })
	b.mu.Lock()
	b.err = nil
	b.mu.Unlock()
	await.True(t, func() bool { return a.now() == "" })
}
