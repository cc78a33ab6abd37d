//go:build e2e

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/program"
	"hsi.home.arpa/store/storetest"
)

// quick makes a batch close as soon as the contract allows.
var quick = []string{"BATCH_WINDOW_SECONDS=3", "BATCH_IDLE_TIMEOUT_SECONDS=1", "LOG_LEVEL=DEBUG"}

// execURL and queryInt look at a database beside the running server.
func execURL(tb testing.TB, url, statement string) {
	tb.Helper()
	db := sqlx.MustOpen("postgres", url)
	defer db.Close()
	_, err := db.ExecContext(tb.Context(), statement)
	require.NoError(tb, err)
}

func queryInt(tb testing.TB, url, query string) (value int64) {
	tb.Helper()
	db := sqlx.MustOpen("postgres", url)
	defer db.Close()
	require.NoError(tb, db.GetContext(tb.Context(), &value, query))
	return value
}

// The first thing a newcomer does: no setting at all, a picture dropped into a camera folder
// becomes an event, everything answers, Ctrl-C leaves nothing behind, and the next start has the
// data.
func TestServe_WithoutSettings(t *testing.T) {
	t.Parallel()
	p := serve(t, quick...)
	took := p.eventually("ready", p.isReady)
	t.Logf("ready %v after the first answer", took)
	printed, code := runCommand(t, []string{"DATA_DIR=" + p.DataDir, "API_PORT=0"}, "serve")
	requireOneLine(t, printed, code, "DATA_DIR is in use")

	demo := hsi(t, p.Env...)
	demo.Args = []string{"demo"}
	require.NoError(t, demo.Start(t.Context()))
	t.Cleanup(func() { demo.Kill() })
	var stats struct {
		TotalCameras    int64 `json:"total_cameras"`
		TotalEvents     int64 `json:"total_events"`
		TotalDetections int64 `json:"total_detections"`
	}
	took = p.eventually("an event", func() bool {
		p.getJSON("/api/system/stats", &stats)
		return stats.TotalEvents > 0
	})
	t.Logf("first event %v after the first picture", took)
	require.EqualValues(t, 1, stats.TotalCameras)
	require.Positive(t, stats.TotalDetections)
	require.NoError(t, demo.Stop(patience))

	printed = p.run("events")
	require.Contains(t, printed, "demo")
	require.Regexp(t, `\d\d:\d\d:\d\d [A-Z+-]`, printed, "with the zone of its time")
	require.Equal(t, "no dead letters\n", p.run("dead-letters", "list"))
	p.run("check")
	p.run("probe", "--ready")

	for _, path := range []string{
		"/health", "/ready", "/api/system/health", "/api/system/health/ready", "/api/system/gpu", "/api/system/gpu/history",
		"/api/system/stats", "/api/system/config", "/api/system/telemetry", "/api/system/pipeline-latency", "/api/system/severity",
		"/api/system/storage", "/docs", "/openapi.yaml", "/openapi.json",
		"/api/cameras/demo/snapshot", "/api/events/1/image", "/api/events/1/image?width=640", "/api/detections/1/image", "/api/media/detections/1",
	} {
		status, body := p.get(path)
		require.Equal(t, 200, status, "%s: %s", path, body)
	}
	status, body := p.request(http.MethodPost, "/api/system/cleanup?dry_run=true", nil, nil)
	require.Equal(t, 200, status, "%s", body)
	status, body = p.request(http.MethodPost, "/api/system/cleanup", nil, nil)
	require.Equal(t, 200, status, "%s", body)

	t.Logf("stopped in %v", p.stop())
	require.Regexp(t, `(?s)"msg":"stopping".*"msg":"stopped"[^\n]*\n$`, p.log(), "its last word is about itself")
	requireNothingLeft(t, p)

	p.start()
	p.eventually("ready again", p.isReady)
	var again struct {
		TotalEvents int64 `json:"total_events"`
	}
	p.getJSON("/api/system/stats", &again)
	require.GreaterOrEqual(t, again.TotalEvents, stats.TotalEvents)
	p.stop()
}

// requireNothingLeft fails when a process of this data folder is still there.
func requireNothingLeft(t *testing.T, p *process) {
	t.Helper()
	require.Empty(t, processesNaming(p.DataDir), "processes left behind")
}

// processesNaming lists the command lines of processes that name a path.
func processesNaming(path string) (found []string) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		raw, err := os.ReadFile(file)
		if line := string(bytes.ReplaceAll(raw, []byte{0}, []byte{' '})); err == nil && strings.Contains(line, path) {
			found = append(found, line)
		}
	}
	return found
}

// kill -9 leaves no database behind, and the next start on the same data works.
func TestServe_KilledLeavesNothingAndStartsAgain(t *testing.T) {
	t.Parallel()
	p := serve(t, quick...)
	p.eventually("ready", p.isReady)
	require.NotEmpty(t, processesNaming(p.DataDir), "the embedded databases name the data folder")
	status, body := p.request(http.MethodPatch, "/api/system/config", asJSON, []byte(`{"retention_days":7}`))
	require.Equal(t, 200, status, "%s", body)
	p.Kill()
	p.start() // at once, while the databases of the last run may still be ending
	p.eventually("ready after kill -9", p.isReady)
	var cfg struct {
		RetentionDays int `json:"retention_days"`
	}
	p.getJSON("/api/system/config", &cfg)
	require.Equal(t, 7, cfg.RetentionDays)
	p.Kill()
	require.Eventually(t, func() bool { return len(processesNaming(p.DataDir)) == 0 }, patience, 20*time.Millisecond, "processes left behind")
}

// A start that cannot work says so in one line and touches nothing.
func TestServe_RefusesWithOneClearLine(t *testing.T) {
	t.Parallel()
	t.Run("a taken port", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		port := listener.Addr().(*net.TCPAddr).Port
		output, code := runCommand(t, []string{"DATA_DIR=" + reachableDir(t), "API_PORT=" + strconv.Itoa(port)}, "serve")
		requireOneLine(t, output, code, "address already in use")
	})
	t.Run("a foreign database", func(t *testing.T) {
		t.Parallel()
		url := storetest.NewEmptyURL(t)
		execURL(t, url, "CREATE TABLE cameras (id int)")
		output, code := runCommand(t, []string{"DATA_DIR=" + reachableDir(t), "API_PORT=0", "DATABASE_URL=" + url, "REDIS_URL=" + embeddedtest.NewRedis(t).URL()}, "serve")
		require.Equal(t, exitUsage, code, output)
		require.Contains(t, lastLine(output), "did not make")
	})
	t.Run("settings", func(t *testing.T) {
		t.Parallel()
		output, code := runCommand(t, []string{"RETENTION_DAYS=0", "API_KEY_ENABLED=true"}, "serve")
		require.Equal(t, exitUsage, code, output)
		require.Contains(t, output, "RETENTION_DAYS")
		require.Contains(t, output, "API_KEYS")
	})
}

func requireOneLine(t *testing.T, output string, code int, contains string) {
	t.Helper()
	require.Equal(t, exitUsage, code, output)
	require.Contains(t, output, contains)
	require.Equal(t, 1, strings.Count(strings.TrimSpace(output), "\n")+1, output)
}

// A start without PostgreSQL and Redis serves at once, says what is missing, and heals when they
// come.
func TestServe_StartsWithoutItsDatabases(t *testing.T) {
	t.Parallel()
	postgres, redis := embeddedtest.NewPostgres(t), embeddedtest.NewRedis(t)
	postgres.Stop(t)
	redis.Stop(t)
	p := serve(t, append(quick, "DATABASE_URL="+postgres.URL(), "REDIS_URL="+redis.URL())...)
	p.eventually("both are known to be missing", func() bool {
		seen := p.look()
		return seen.overall == "unhealthy" && seen.services["database"].Status == "unhealthy" && seen.services["redis"].Status == "unhealthy"
	})
	for path, want := range map[string]int{
		"/health": 200, "/ready": 503, "/api/system/gpu": 200, "/api/system/severity": 200, "/api/system/config": 503, "/api/system/stats": 503,
		"/api/system/telemetry": 503, "/api/system/pipeline-latency": 503, "/api/system/gpu/history": 503, "/api/system/storage": 503,
	} {
		status, body := p.get(path)
		require.Equal(t, want, status, "%s: %s", path, body)
	}
	redis.Start(t)
	p.eventually("redis is seen", func() bool { return p.look().services["redis"].Status == "healthy" })
	postgres.Start(t)
	p.eventually("ready", p.isReady)
	p.stop()
}

// Racing writers lose nothing: the value is one that was sent, and version and audit rows agree
// with the number of real changes.
func TestServe_RacingPatchesLoseNothing(t *testing.T) {
	t.Parallel()
	url := storetest.NewEmptyURL(t)
	p := serve(t, "DATABASE_URL="+url, "REDIS_URL="+embeddedtest.NewRedis(t).URL())
	p.eventually("ready", p.isReady)
	const writers, each = 8, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				body := fmt.Sprintf(`{"batch_window_seconds":%d}`, 100+w*each+i)
				status, answer := p.request(http.MethodPatch, "/api/system/config", asJSON, []byte(body))
				if status != 200 || !strings.Contains(string(answer), fmt.Sprintf(`"batch_window_seconds":%d`, 100+w*each+i)) {
					t.Errorf("PATCH %s: %d %s", body, status, answer)
				}
			}
		})
	}
	wg.Wait()
	var cfg struct {
		Window int64 `json:"batch_window_seconds"`
	}
	p.getJSON("/api/system/config", &cfg)
	version := queryInt(t, url, "SELECT version FROM system_config")
	require.EqualValues(t, writers*each, version, "each PATCH had a value of its own")
	require.Equal(t, version, queryInt(t, url, "SELECT count(*) FROM audit_logs WHERE action = 'settings_changed'"))
	require.Equal(t, cfg.Window, queryInt(t, url, "SELECT batch_window_seconds FROM system_config"))
	// The audit trail is one chain: what one change left, the next one found.
	require.Zero(t, queryInt(t, url, `
		SELECT count(*) FROM (
			SELECT (details->'changes'->'batch_window_seconds'->>'old')::int AS old,
			       lag((details->'changes'->'batch_window_seconds'->>'new')::int, 1, 90) OVER (ORDER BY id) AS previous
			FROM audit_logs) AS chain
		WHERE old <> previous`))
	p.stop()
}

// An ordinary user has neither root's rights nor a home folder that can be written.
func TestServe_AsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Log("running as an ordinary user already: the other tests show it")
		return
	}
	dir := reachableDir(t)
	p := newProcess(t)
	own := filepath.Join(dir, "hsi")
	raw, err := os.ReadFile(p.Program)
	require.NoError(t, err)
	program.Write(t, own, raw, 0o755)
	require.NoError(t, os.Chown(dir, 65534, 65534))
	p.Program, p.Args = "setpriv", []string{"--reuid=65534", "--regid=65534", "--clear-groups", own, "serve"}
	p.DataDir, p.Dir = filepath.Join(dir, "data"), dir
	p.Env = append(p.Env, "DATA_DIR="+p.DataDir, "HOME=/nowhere")
	p.start()
	p.eventually("ready", p.isReady)
	p.stop()
	requireNothingLeft(t, p)
}
