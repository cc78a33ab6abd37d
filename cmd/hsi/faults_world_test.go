package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
)

// faultWorld is a world whose databases are its own, so that they can be killed and frozen.
type faultWorld struct {
	*world

	postgres *embeddedtest.PostgresServer
	redis    *embeddedtest.RedisServer
}

// prepareFaultWorld makes a world without the start of its server. Settings in env win.
func prepareFaultWorld(t *testing.T, env ...string) *faultWorld {
	t.Helper()
	w := &faultWorld{postgres: embeddedtest.NewPostgres(t), redis: embeddedtest.NewRedis(t)}
	w.world = prepareWorld(t, w.postgres.URL(), w.redis.URL(), env...)
	return w
}

// within runs a part of the test under a name of its own, on the same world and after the parts before it.
func (w *world) within(name string, part func()) {
	w.tb.Helper()
	whole, ok := w.tb.(*testing.T)
	require.True(w.tb, ok, "only a test has parts")
	defer func() { w.tb = whole }()
	whole.Run(name, func(t *testing.T) {
		w.tb = t
		part()
	})
}

// never is a time that was not measured because the fault does not show, or nobody waited for it.
const never = time.Duration(-1)

// measured prints the line that docs/RELIABILITY.md takes its figures from.
func measured(tb testing.TB, fault, promise string, detected, recovered time.Duration) {
	tb.Helper()
	tb.Logf("fault=%s promise=%q detected=%s recovered=%s", fault, promise, inSeconds(detected), inSeconds(recovered))
}

func inSeconds(d time.Duration) string {
	if d == never {
		return "-"
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}

// outlook is what people and machines are told about the system at one moment.
type outlook struct {
	alive     int    // status code of /health
	overall   string // /api/system/health
	services  map[string]outlookService
	ready     int    // status code of /api/system/health/ready
	readiness string // and its word
	workers   map[string]string
}

type outlookService struct {
	Status, Message string
	Details         map[string]string
}

// look asks all probes. Each answer is checked against the contract by the client.
func (w *world) look() (seen outlook) {
	w.tb.Helper()
	seen.alive, _ = w.get("/health")
	code, body := w.get("/api/system/health")
	var health struct {
		Status   string
		Services map[string]outlookService
	}
	require.NoError(w.tb, json.Unmarshal(body, &health), "%s", body)
	require.Equal(w.tb, health.Status == "healthy", code == 200, "%s", body)
	seen.overall, seen.services = health.Status, health.Services
	var ready struct {
		Status  string
		Ready   bool
		Workers []struct {
			Name    string
			Running bool
			Message *string
		}
	}
	seen.ready, body = w.get("/api/system/health/ready")
	require.NoError(w.tb, json.Unmarshal(body, &ready), "%s", body)
	require.Equal(w.tb, ready.Ready, seen.ready == 200, "%s", body)
	seen.readiness, seen.workers = ready.Status, map[string]string{}
	for _, worker := range ready.Workers {
		message := ""
		if worker.Message != nil {
			message = *worker.Message
		}
		if !worker.Running {
			message = "not running: " + message
		}
		seen.workers[worker.Name] = message
	}
	return seen
}

// isWell tells whether nothing shows any more.
func (w *world) isWell() bool {
	seen := w.look()
	return seen.alive == 200 && seen.overall == "healthy" && seen.readiness == "ready"
}

// redisCommand sends Redis a command without arguments, such as FLUSHALL.
func redisCommand(tb testing.TB, server *embeddedtest.RedisServer, words string) string {
	tb.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(tb.Context(), "unix", strings.TrimPrefix(server.URL(), "unix://"))
	require.NoError(tb, err)
	defer conn.Close()
	require.NoError(tb, conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write([]byte(words + "\r\n"))
	require.NoError(tb, err)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(tb, err)
	return strings.TrimSpace(answer)
}

// requireNoFindings lets the command look whether rows, files, counters and the ledger agree.
func (w *world) requireNoFindings() {
	w.tb.Helper()
	printed, code := runCommand(w.tb, w.env, "check")
	require.Zero(w.tb, code, printed)
}
