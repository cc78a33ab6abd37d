//go:build e2e

package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/logtest"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/redis"
)

// Each secret of the drive; characters that URLs write in another way are in some of them.
const (
	databaseSecret = "canary-Database-7f3a+/="
	redisSecret    = "canary-Redis-91bc%25"
	detectorSecret = "canary-Detector-5d20"
	detectorLogin  = "canary-Login-c1f8"
	modelSecret    = "canary-Model-e6a4"
	apiSecret      = "canary-Api-0b97-correct-horse"
	mistypedSecret = "canary-Api-0b97-correct-hearse"
	headerSecret   = "canary-Header-44d1"
)

// leaks are the spellings in which a secret could come out.
func leaks(secret string) []string {
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.RawURLEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("%x", secret),
	}
}

// requireNoSecret searches everything that came out of the server for every secret.
func requireNoSecret(tb testing.TB, where, text string) {
	tb.Helper()
	for _, secret := range []string{databaseSecret, redisSecret, detectorSecret, detectorLogin, modelSecret, apiSecret, mistypedSecret, headerSecret} {
		for _, spelling := range leaks(secret) {
			if at := strings.Index(text, spelling); at >= 0 {
				require.Fail(tb, "a secret in "+where, "%s: …%s…", secret, text[max(0, at-200):min(len(text), at+200)])
			}
		}
	}
}

// wire collects every byte that a client gets to see.
type wire struct {
	base http.RoundTripper
	seen *logtest.Output
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := w.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for name, values := range response.Header {
		_, _ = fmt.Fprintf(w.seen, "%s: %s\n", name, values)
	}
	response.Body = &teeBody{ReadCloser: response.Body, to: w.seen}
	return response, nil
}

type teeBody struct {
	io.ReadCloser
	to io.Writer
}

func (t *teeBody) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	_, _ = t.to.Write(p[:n])
	return n, err
}

// A program that repeats in its refusal all that it was sent: the worst neighbour for a secret.
func echoService(tb testing.TB, status *atomic.Int64) *httptest.Server {
	tb.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(status.Load()))
		user, password, _ := r.BasicAuth()
		_, _ = fmt.Fprintf(w, "you sent %s as %s:%s with %v", r.Header.Get("X-Api-Key"), user, password, r.Header)
	}))
	tb.Cleanup(server.Close)
	return server
}

// secretWorld is a server with a secret in every setting that can hold one, on databases that ask
// for theirs.
type secretWorld struct {
	*process
	postgres *embeddedtest.PostgresServer
	redis    *embeddedtest.RedisServer
	admin    string
	seen     *logtest.Output
	printed  strings.Builder
}

func newSecretWorld(t *testing.T) *secretWorld {
	t.Helper()
	w := &secretWorld{postgres: embeddedtest.NewPostgres(t), redis: embeddedtest.NewRedis(t), seen: &logtest.Output{}}
	w.admin = w.postgres.URL()
	db := sqlx.MustConnect("postgres", w.admin)
	for _, statement := range []string{
		"CREATE ROLE guard LOGIN PASSWORD '" + databaseSecret + "'", "CREATE DATABASE house OWNER guard",
		`DO $$ BEGIN EXECUTE format('COPY (VALUES (''local all guard scram-sha-256''), (''local all all trust'')) TO %L', current_setting('hba_file')); END $$`,
		"SELECT pg_reload_conf()",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	host, _, _ := strings.Cut(strings.SplitAfter(w.admin, "host=")[1], "&")
	w.process = newProcess(t,
		"LOG_LEVEL=DEBUG", "LOG_DB_MIN_LEVEL=DEBUG",
		"DATABASE_URL=postgres://guard:"+url.QueryEscape(databaseSecret)+"@/house?host="+host+"&sslmode=disable",
		"REDIS_URL=unix://:"+url.QueryEscape(redisSecret)+"@"+strings.TrimPrefix(w.redis.URL(), "unix://"),
		"API_KEY_ENABLED=true", "API_KEYS="+apiSecret, "RTDETR_API_KEY="+detectorSecret, "NEMOTRON_API_KEY="+modelSecret,
		"AI_CONNECT_TIMEOUT=1", "AI_HEALTH_TIMEOUT=1", "RTDETR_READ_TIMEOUT=2", "NEMOTRON_READ_TIMEOUT=2",
		"BATCH_WINDOW_SECONDS=3", "BATCH_IDLE_TIMEOUT_SECONDS=1", hasteEnv(20))
	w.protectRedis()
	return w
}

// begin starts the server with more settings and watches what its clients see.
func (w *secretWorld) begin(env ...string) {
	w.tb.Helper()
	w.Env = append(w.Env, env...)
	w.start()
	w.client.Transport = &wire{base: w.client.Transport, seen: w.seen}
}

// run keeps what a command of the same settings prints.
func (w *secretWorld) run(env []string, args ...string) {
	w.tb.Helper()
	output, _ := runCommand(w.tb, append(slices.Clone(w.Env), env...), args...)
	require.NotEmpty(w.tb, output)
	w.printed.WriteString(output)
}

// protectRedis lets Redis ask for its password, until it is started again.
func (w *secretWorld) protectRedis() {
	w.tb.Helper()
	client, err := redis.Open(redis.Config{URL: w.redis.URL()})
	require.NoError(w.tb, err)
	defer client.Close()
	conn, err := client.Conn(w.tb.Context())
	require.NoError(w.tb, err)
	set := conn.B().ConfigSet().ParameterValue().ParameterValue("requirepass", redisSecret).Build()
	require.NoError(w.tb, conn.Do(w.tb.Context(), set).Error())
}

// askEverything sends what a client may send, right and wrong, with secrets where they belong and
// where they do not.
func (w *secretWorld) askEverything() {
	w.tb.Helper()
	paths := []string{
		"/", "/health", "/ready", "/api/system/health", "/api/system/health/ready", "/api/system/gpu", "/api/system/gpu/history", "/api/system/stats",
		"/api/system/config", "/api/system/telemetry", "/api/system/pipeline-latency", "/api/system/severity", "/api/system/storage",
		"/api/system/dead-letters", "/docs", "/openapi.json", "/openapi.yaml", "/nowhere",
	}
	for _, path := range paths {
		w.get(path)
		w.get(path + "?api_key=" + url.QueryEscape(apiSecret))
	}
	for _, header := range []http.Header{
		nil,
		{"X-Api-Key": {mistypedSecret}},
		{"X-Api-Key": {apiSecret, apiSecret}},
		{"Authorization": {"Bearer " + headerSecret}},
		{"Cookie": {"session=" + headerSecret}},
		{"X-Api-Key": {apiSecret}},
	} {
		for _, body := range []string{`{"retention_days":30}`, `{"retention_days":0}`, `{"api_key":"` + headerSecret + `"}`, "{"} {
			sent := header.Clone()
			if sent == nil {
				sent = http.Header{}
			}
			sent.Set("Content-Type", "application/json")
			w.request(http.MethodPatch, "/api/system/config", sent, []byte(body))
			w.request(http.MethodPost, "/api/system/dead-letters/requeue", sent, []byte(`{"all":true}`))
		}
		w.request(http.MethodPost, "/api/system/cleanup", header, nil)
	}
	status, body := w.request(http.MethodPatch, "/api/system/config", http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {apiSecret}}, []byte(`{"retention_days":14}`))
	w.tb.Logf("PATCH with the key: %d %.100s", status, body)
}

// tables is everything that the database keeps in words about what happened.
func (w *secretWorld) tables() string {
	w.tb.Helper()
	db := sqlx.MustConnect("postgres", strings.Replace(w.admin, "/postgres?", "/house?", 1))
	defer db.Close()
	var text strings.Builder
	for _, table := range []string{"logs", "audit_logs", "images", "batches", "events", "detections", "system_config", "jobs", "cameras"} {
		var rows []string
		require.NoError(w.tb, db.Select(&rows, "SELECT t::text FROM "+table+" AS t"), table)
		if table == "logs" || table == "audit_logs" {
			require.NotEmpty(w.tb, rows, table)
		}
		text.WriteString(strings.Join(rows, "\n"))
	}
	return text.String()
}

// Secrets come out nowhere: not in the log at its most talkative, not in an answer, not in a table,
// not in a command's output; not when settings are wrong, passwords are refused, services are gone,
// or a service repeats the key that it was sent.
func TestSecurity_SecretsComeOutNowhere(t *testing.T) {
	t.Parallel()
	w := newSecretWorld(t)
	var status atomic.Int64
	status.Store(http.StatusOK)
	echo := echoService(t, &status)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	login := func(address string) string {
		return strings.Replace(address, "http://", "http://camera:"+detectorLogin+"@", 1)
	}

	// Settings that cannot work.
	for _, wrong := range [][]string{ // all problems are told at once
		{
			"DATABASE_URL=postgres://u:" + databaseSecret + "%zz@h/x", "REDIS_URL=" + redisSecret, "RTDETR_URL=ftp://u:" + detectorLogin + "@h",
			"NEMOTRON_URL=http://u:" + detectorLogin + "@", "API_KEYS=" + apiSecret + ",x",
		},
		{"DATABASE_URL=mysql://u:" + databaseSecret + "@h/x", "REDIS_URL=redis://:" + redisSecret + "@h:port", "API_KEYS=[\"" + apiSecret + "\""},
		{"DATABASE_URL=postgres://u:" + databaseSecret + "@/x?host=/nowhere&sslmode=" + databaseSecret, "API_KEYS=sha256:" + apiSecret},
	} {
		w.run(wrong, "serve")
		w.run(wrong, "config")
	}
	w.run(nil, "config")
	w.run([]string{"RTDETR_URL=" + login(echo.URL), "NEMOTRON_URL=" + login(closed.URL)}, "config")
	requireNoSecret(t, "what the commands print", w.printed.String())

	// Services that repeat what they are sent, refusing it in different ways, and one that is not
	// there; databases that go and come.
	w.begin("RTDETR_URL="+login(echo.URL), "NEMOTRON_URL="+login(closed.URL), "FOSCAM_BASE_PATH="+t.TempDir())
	w.eventually("ready", w.isReady)
	folder := filepath.Join(lastValue(w.Env, "FOSCAM_BASE_PATH"), "garden")
	require.NoError(t, os.Mkdir(folder, 0o755))
	for i, code := range []int64{http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized, http.StatusInternalServerError, http.StatusUnprocessableEntity} {
		status.Store(code)
		picture := aitest.Picture(uint64(i), aitest.Detection{Class: "person", Confidence: 0.9, Box: aitest.Box{X: 10, Y: 10, Width: 50, Height: 90}})
		require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.jpg", i)), picture, 0o644))
		w.eventually("the refusal is noticed", func() bool {
			return strings.Contains(w.output.String(), fmt.Sprintf("HTTP %d", code)) || strings.Contains(w.output.String(), fmt.Sprintf("status %d", code)) || code == http.StatusOK
		})
	}
	w.askEverything()
	w.postgres.Stop(t)
	w.redis.Stop(t)
	w.eventually("both are missed", func() bool { return w.look().overall == "unhealthy" })
	w.askEverything()
	w.run(nil, "events")
	w.run(nil, "dead-letters", "list")
	w.run(nil, "check")
	w.postgres.Start(t)
	w.redis.Start(t) // without its password: it was never written to a file
	w.protectRedis()
	w.eventually("ready again", w.isReady)
	w.askEverything()
	w.run(nil, "dead-letters", "list")
	w.run(nil, "events")
	w.stop()

	// Passwords that the databases refuse.
	w.begin("DATABASE_URL="+strings.Replace(lastValue(w.Env, "DATABASE_URL"), "guard:", "guard:"+headerSecret, 1),
		"REDIS_URL="+strings.Replace(lastValue(w.Env, "REDIS_URL"), "unix://:", "unix://:"+headerSecret, 1))
	w.eventually("both refuse", func() bool {
		services := w.look().services
		return services["database"].Status == "unhealthy" && services["redis"].Status == "unhealthy"
	})
	w.askEverything()
	w.stop()

	require.Contains(t, w.output.String(), `"level":"DEBUG"`)
	requireNoSecret(t, "the log", w.output.String())
	requireNoSecret(t, "what was printed", w.printed.String())
	requireNoSecret(t, "what clients saw", w.seen.String())
	requireNoSecret(t, "the tables", w.tables())
	require.NoError(t, filepath.WalkDir(w.DataDir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		requireNoSecret(t, path, string(content))
		return err
	}))
}
