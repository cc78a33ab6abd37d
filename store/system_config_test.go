package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func environment() store.SystemConfig {
	return store.SystemConfig{
		RetentionDays: 30, BatchWindow: 90 * time.Second, BatchIdleTimeout: 30 * time.Second, DetectionConfidenceThreshold: 0.5,
	}
}

func TestSystemConfig_FollowsTheEnvironmentUntilChanged(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	configs := store.NewSystemConfigs(db, environment())
	require.Equal(t, environment(), configs.Latest(), "before the first read")
	cfg, err := configs.Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, environment(), cfg)

	cfg, err = configs.Update(t.Context(), store.SystemConfigUpdate{RetentionDays: new(14)}, store.Actor{Name: "anonymous"})
	require.NoError(t, err)
	want := environment()
	want.RetentionDays, want.Version = 14, 1
	require.Equal(t, want, cfg)
	require.Equal(t, want, configs.Latest(), "a worker reads its own write")

	// The next start has another environment: only the changed value stays.
	other := environment()
	other.RetentionDays, other.BatchWindow = 7, 45*time.Second
	cfg, err = store.NewSystemConfigs(db, other).Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, 14, cfg.RetentionDays)
	require.Equal(t, 45*time.Second, cfg.BatchWindow)
}

func TestSystemConfig_Audit(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	configs := store.NewSystemConfigs(db, environment())
	actor := store.Actor{Name: "api_key:01234567", IPAddress: "192.0.2.7", UserAgent: "browser\x00\xff", RequestID: "r-1"}
	_, err := configs.Update(t.Context(), store.SystemConfigUpdate{
		RetentionDays: new(14), BatchWindow: new(time.Minute), BatchIdleTimeout: new(30 * time.Second), DetectionConfidenceThreshold: new(0.6),
	}, actor)
	require.NoError(t, err)
	entries, err := db.AuditEntries(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "settings_changed", entries[0].Action)
	require.Equal(t, "settings", entries[0].ResourceType)
	require.Nil(t, entries[0].ResourceID)
	require.Equal(t, "api_key:01234567", entries[0].Actor)
	require.Equal(t, "192.0.2.7", *entries[0].IPAddress)
	require.Equal(t, "success", entries[0].Status)
	require.JSONEq(t, `{"request_id": "r-1", "changes": {
		"retention_days": {"old": 30, "new": 14}, "batch_window_seconds": {"old": 90, "new": 60},
		"detection_confidence_threshold": {"old": 0.5, "new": 0.6}}}`, string(entries[0].Details))

	// Nothing changes: no version, no entry, in three ways.
	for _, update := range []store.SystemConfigUpdate{
		{}, {RetentionDays: new(14)}, {BatchIdleTimeout: new(30 * time.Second), DetectionConfidenceThreshold: new(0.6)},
	} {
		cfg, err := configs.Update(t.Context(), update, actor)
		require.NoError(t, err)
		require.Equal(t, int64(1), cfg.Version)
	}
	entries, err = db.AuditEntries(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, entries, 1)

	// The value that was set to what it was is pinned all the same.
	other := environment()
	other.BatchIdleTimeout = 5 * time.Second
	cfg, err := store.NewSystemConfigs(db, other).Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, cfg.BatchIdleTimeout)
}

func TestSystemConfig_Bounds(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	configs := store.NewSystemConfigs(db, environment())
	for name, update := range map[string]store.SystemConfigUpdate{
		"days 0":       {RetentionDays: new(0)},
		"days 366":     {RetentionDays: new(366)},
		"window 0":     {BatchWindow: new(time.Duration(0))},
		"window 1.5 s": {BatchWindow: new(1500 * time.Millisecond)},
		"window huge":  {BatchWindow: new((math.MaxInt32 + 1) * time.Second)},
		"idle -1":      {BatchIdleTimeout: new(-time.Second)},
		"NaN":          {DetectionConfidenceThreshold: new(math.NaN())},
		"above 1":      {DetectionConfidenceThreshold: new(1.0000001)},
		"one good":     {DetectionConfidenceThreshold: new(0.4), RetentionDays: new(1000)},
	} {
		_, err := configs.Update(t.Context(), update, store.Actor{Name: "anonymous"})
		require.ErrorIs(t, err, store.ErrInvalid, name)
	}
	cfg, err := configs.Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, environment(), cfg)
	cfg, err = configs.Update(t.Context(), store.SystemConfigUpdate{
		RetentionDays: new(365), BatchWindow: new(math.MaxInt32 * time.Second), DetectionConfidenceThreshold: new(1.0),
	}, store.Actor{Name: "anonymous"})
	require.NoError(t, err)
	require.Equal(t, math.MaxInt32*time.Second, cfg.BatchWindow)
}

// Two hundred racing changes: none is lost, and value, version and audit trail tell one story.
func TestSystemConfig_RacingUpdates(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewURL(t)
	processes := []*store.SystemConfigs{
		store.NewSystemConfigs(storetest.Open(t, databaseURL), environment()),
		store.NewSystemConfigs(storetest.Open(t, databaseURL), environment()),
	}
	var seen sync.Map
	var group errgroup.Group
	group.SetLimit(20)
	for i := range 200 {
		group.Go(func() error {
			cfg, err := processes[i%2].Update(t.Context(), store.SystemConfigUpdate{BatchWindow: new(time.Duration(1000+i) * time.Second)},
				store.Actor{Name: "anonymous"})
			if err != nil {
				return err
			}
			if _, twice := seen.LoadOrStore(cfg.Version, cfg.BatchWindow); twice {
				t.Errorf("version %d was given out twice", cfg.Version)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	db := storetest.Open(t, databaseURL)
	entries, err := db.AuditEntries(t.Context(), 1000)
	require.NoError(t, err)
	require.Len(t, entries, 200)
	last := 90.0
	for i, entry := range slices.Backward(entries) { // oldest first: each begins where the one before ended
		var details struct {
			Changes map[string]struct{ Old, New float64 } `json:"changes"`
		}
		require.NoError(t, json.Unmarshal(entry.Details, &details))
		change := details.Changes["batch_window_seconds"]
		require.InDelta(t, last, change.Old, 0)
		window, ok := seen.Load(int64(len(entries) - i))
		require.True(t, ok)
		require.InDelta(t, window.(time.Duration).Seconds(), change.New, 0)
		last = change.New
	}
	for _, configs := range append(processes, store.NewSystemConfigs(db, environment())) {
		cfg, err := configs.Get(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(200), cfg.Version)
		require.InDelta(t, last, cfg.BatchWindow.Seconds(), 0)
		require.Equal(t, cfg, configs.Latest())
	}
}

// TestSystemConfig_OtherProcessesAreTold: a notification takes milliseconds. Without it they would
// know at the next slow read, which does not come here.
func TestSystemConfig_OtherProcessesAreTold(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewURL(t)
	changing := store.NewSystemConfigs(storetest.Open(t, databaseURL), environment())
	watchingDB := storetest.Open(t, databaseURL)
	watching := store.NewSystemConfigs(watchingDB, environment())
	watching.RereadEvery(24 * time.Hour)
	runInBackground(t, watching.Run)
	for round := range 5 {
		if round == 3 { // the listener's connection is cut as well
			storetest.Exec(t, watchingDB, `
				SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`)
		}
		_, err := changing.Update(t.Context(), store.SystemConfigUpdate{RetentionDays: new(100 + round)}, store.Actor{Name: "anonymous"})
		require.NoError(t, err)
		await.True(t, func() bool { return watching.Latest().RetentionDays == 100+round })
	}
}

func TestSystemConfig_WatcherStopsWhateverTheServerDoes(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"running", "frozen", "gone", "silent"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			server := embeddedtest.NewPostgres(t)
			between := startRelay(t, server.URL(), nil)
			// Making a connection may take longer than this test waits, so it is not what ends Run.
			const databaseURL = "postgres://hsi@127.0.0.1:%d/postgres?connect_timeout=600"
			configs := store.NewSystemConfigs(storetest.Open(t, fmt.Sprintf(databaseURL, between.port)), environment())
			between.mute.Store(state == "silent")
			ctx, cancel := context.WithCancel(t.Context())
			stopped := make(chan error, 1)
			go func() { stopped <- configs.Run(ctx) }()
			switch state {
			case "frozen":
				server.Pause(t)
			case "gone":
				server.Kill(t)
			case "silent": // the listener waits for the answer to its login
				await.Value(t, between.muted, "the listener connects")
			}
			cancel()
			require.NoError(t, await.Value(t, stopped, "Run did not return"))
		})
	}
}

func TestSystemConfig_DatabaseDown(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewPostgres(t)
	configs := store.NewSystemConfigs(storetest.Open(t, server.URL()), environment())
	_, err := configs.Update(t.Context(), store.SystemConfigUpdate{RetentionDays: new(99)}, store.Actor{Name: "anonymous"})
	require.NoError(t, err)
	server.Stop(t)
	_, err = configs.Get(t.Context())
	require.ErrorIs(t, err, store.ErrUnavailable)
	_, err = configs.Update(t.Context(), store.SystemConfigUpdate{RetentionDays: new(98)}, store.Actor{Name: "anonymous"})
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.Equal(t, 99, configs.Latest().RetentionDays, "workers keep what they know")
}
