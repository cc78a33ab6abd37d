//go:build e2e

package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/store/storetest"
)

// While a cleanup works through many rows, readers are answered as ever, a second cleanup is
// refused, and the dry run before it has told exactly what goes.
func TestServe_AnswersDuringACleanup(t *testing.T) {
	t.Parallel()
	url := storetest.NewEmptyURL(t)
	p := serve(t, append(quick, "DATABASE_URL="+url, "REDIS_URL="+embeddedtest.NewRedis(t).URL())...)
	p.eventually("ready", p.isReady)
	execURL(t, url, `
		INSERT INTO cameras (id, name, folder_path) VALUES ('old', 'old', '/old');
		INSERT INTO detections (camera_id, file_path, detected_at)
			SELECT 'old', '/old/' || n || '.jpg', now() - interval '90 days' - n * interval '1 second' FROM generate_series(1, 60000) AS n;
		INSERT INTO gpu_stats (recorded_at, gpu_utilization)
			SELECT now() - interval '90 days' - n * interval '5 seconds', 1 FROM generate_series(1, 60000) AS n;
		INSERT INTO gpu_stats (recorded_at, gpu_utilization) SELECT now() - n * interval '5 seconds', 2 FROM generate_series(1, 500) AS n;
		INSERT INTO logs (level, component, message, timestamp)
			SELECT 'INFO', 'x', 'y', now() - interval '90 days' - n * interval '1 second' FROM generate_series(1, 60000) AS n;`)

	type report struct {
		Detections int64 `json:"detections_deleted"`
		GPUStats   int64 `json:"gpu_stats_deleted"`
		Logs       int64 `json:"logs_deleted"`
		DryRun     bool  `json:"dry_run"`
	}
	cleanup := func(query string) (r report) {
		status, body := p.request(http.MethodPost, "/api/system/cleanup"+query, nil, nil)
		require.Equal(t, 200, status, "%s", body)
		require.NoError(t, json.Unmarshal(body, &r))
		return r
	}
	preview := cleanup("?dry_run=true")
	require.Equal(t, report{Detections: 60000, GPUStats: 60000, Logs: 60000, DryRun: true}, preview)

	// One cleanup does the work; another that comes meanwhile is refused.
	reports := make(chan report, 1)
	begun := time.Now()
	go func() {
		var r report
		status, body := p.request(http.MethodPost, "/api/system/cleanup", nil, nil)
		if status != 200 || json.Unmarshal(body, &r) != nil {
			t.Errorf("cleanup: %d %s", status, body)
		}
		reports <- r
	}()
	p.eventually("the cleanup works", func() bool {
		return queryInt(t, url, "SELECT (SELECT count(*) FROM detections) + (SELECT count(*) FROM gpu_stats) + (SELECT count(*) FROM logs WHERE component = 'x')") < 180_500
	})
	status, body := p.request(http.MethodPost, "/api/system/cleanup", nil, nil)
	require.Equal(t, http.StatusConflict, status, "%s", body)
	var took []time.Duration
	for rounds := 0; ; rounds++ {
		for _, path := range []string{"/api/system/stats", "/api/system/gpu/history?limit=300", "/api/system/storage", "/health"} {
			asked := time.Now()
			status, body := p.get(path)
			took = append(took, time.Since(asked))
			require.Equal(t, 200, status, "%s: %s", path, body)
		}
		select {
		case r := <-reports:
			slices.Sort(took)
			t.Logf("cleanup of 180,000 rows in %v; %d reads meanwhile, p50 %v, p99 %v, slowest %v",
				time.Since(begun).Round(time.Millisecond), len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
			require.Equal(t, report{Detections: 60000, GPUStats: 60000, Logs: 60000}, r)
			require.Positive(t, rounds, "nobody was answered before the cleanup had ended")
			require.EqualValues(t, 500, queryInt(t, url, "SELECT count(*) FROM gpu_stats"))
			p.stop()
			return
		default:
		}
	}
}
