//go:build e2e

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/internal/logtest"
	"hsi.home.arpa/server/contracttest"
)

// process is the server as a process, with a data folder and a port of its own.
type process struct {
	*e2e.Server

	tb      testing.TB
	output  *logtest.Output
	BaseURL string
	DataDir string
	client  *http.Client
}

// serve starts the server and waits until it answers. Settings in env win over those that it has
// anyway.
func serve(tb testing.TB, env ...string) *process {
	tb.Helper()
	p := newProcess(tb, env...)
	p.start()
	return p
}

// newProcess is serve without the start.
func newProcess(tb testing.TB, env ...string) *process {
	tb.Helper()
	p := &process{
		tb: tb, DataDir: filepath.Join(reachableDir(tb), "data"),
		output: &logtest.Output{},
	}
	p.Server = hsi(tb,
		append([]string{"DATA_DIR=" + p.DataDir, "API_PORT=" + strconv.Itoa(freePort(tb))},
			env...)...)
	p.Output = p.output
	tb.Cleanup(func() { p.Kill() })
	return p
}

// start starts the process (again) with its settings and waits until it answers.
func (p *process) start() {
	p.tb.Helper()
	require.NoError(p.tb, p.Start(p.tb.Context()))
	p.BaseURL = "http://127.0.0.1:" + lastValue(p.Env, "API_PORT")
	p.client = contracttest.Client(p.tb, p.BaseURL)
	p.eventually("the server answers", func() bool {
		status, _ := p.get("/health")
		return status == http.StatusOK
	})
}

func lastValue(env []string, name string) (value string) {
	for _, entry := range env {
		if rest, ok := strings.CutPrefix(entry, name+"="); ok {
			value = rest
		}
	}
	return value
}

// run runs another command with the settings of the server, and wants that it succeeds.
func (p *process) run(args ...string) (printed string) {
	p.tb.Helper()
	printed, code := execute(p.tb, p.Server, args...)
	require.Zero(p.tb, code, printed)
	return printed
}

// get asks for a path and returns status and body; status 0 means no answer.
func (p *process) get(path string) (int, []byte) {
	return p.request(http.MethodGet, path, nil, nil)
}

func (p *process) request(method, path string, header http.Header, body []byte) (int, []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.BaseURL+path, bytes.NewReader(body))
	require.NoError(p.tb, err)
	maps.Copy(req.Header, header)
	resp, err := p.client.Do(req)
	if err != nil {
		if !isBrokenConnection(err) { // then the answer breaks the contract
			p.tb.Errorf("%s %s: %v", method, path, err)
		}
		return 0, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, answer
}

func isBrokenConnection(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
}

// getJSON asks for a path and decodes the body of its answer, which must be 200.
func (p *process) getJSON(path string, into any) {
	p.tb.Helper()
	status, body := p.get(path)
	require.Equal(p.tb, http.StatusOK, status, "%s: %s", path, body)
	require.NoError(p.tb, json.Unmarshal(body, into))
}

// patch changes settings and returns when the request was sent and when it was answered.
func (p *process) patch(body string) (sent, answered time.Time) {
	p.tb.Helper()
	sent = time.Now()
	status, answer := p.request(http.MethodPatch, "/api/system/config", asJSON, []byte(body))
	require.Equal(p.tb, 200, status, "%s", answer)
	return sent, time.Now()
}

var asJSON = http.Header{"Content-Type": {"application/json"}}

// eventually polls a condition of the outside world, where there is no signal to wait on, and
// fails with the server's output. It returns how long that took, to be printed.
func (p *process) eventually(what string, condition func() bool) time.Duration {
	p.tb.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	fulfilled := e2e.Until(ctx, 50*time.Millisecond, func() bool {
		if condition() {
			return true
		}
		require.True(p.tb, p.Running(), "the process ended while waiting: %s\n%s", what, p.log())
		return false
	})
	if !fulfilled {
		require.Fail(p.tb, "waited in vain: "+what, p.log())
	}
	return time.Since(begun)
}

// stop asks the process to end and wants that it does so cleanly. It returns how long that took.
func (p *process) stop() time.Duration {
	p.tb.Helper()
	begun := time.Now()
	require.NoError(p.tb, p.Stop(patience), p.log())
	return time.Since(begun)
}

// log is the end of what the process printed, without the request lines.
func (p *process) log() string {
	var lines []string
	for line := range strings.Lines(p.output.String()) {
		if !strings.Contains(line, `"msg":"request"`) || !strings.Contains(line, `"level":"INFO"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-60):], "")
}

// outlook is what people and machines are told about the system at one moment.
type outlook struct {
	alive     int    // status code of /health
	overall   string // /api/system/health
	services  map[string]outlookService
	readiness string // /api/system/health/ready
	workers   map[string]string
}

type outlookService struct {
	Status, Message string
	Details         map[string]string
}

// look asks all probes. Each answer is checked against the contract by the client.
func (p *process) look() (seen outlook) {
	p.tb.Helper()
	seen.alive, _ = p.get("/health")
	code, body := p.get("/api/system/health")
	var health struct {
		Status   string
		Services map[string]outlookService
	}
	require.NoError(p.tb, json.Unmarshal(body, &health), "%s", body)
	require.Equal(p.tb, health.Status == "healthy", code == 200, "%s", body)
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
	code, body = p.get("/api/system/health/ready")
	require.NoError(p.tb, json.Unmarshal(body, &ready), "%s", body)
	require.Equal(p.tb, ready.Ready, code == 200, "%s", body)
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
func (p *process) isWell() bool {
	seen := p.look()
	return seen.alive == 200 && seen.overall == "healthy" && seen.readiness == "ready"
}

func (p *process) isReady() bool {
	status, _ := p.get("/ready")
	return status == http.StatusOK
}

// stayReady asks both probes some times: what happens now changes neither.
func (p *process) stayReady(times int) {
	p.tb.Helper()
	for range times {
		status, body := p.get("/api/system/health/ready")
		require.Equal(p.tb, 200, status, "readiness: %s", body)
		status, _ = p.get("/health")
		require.Equal(p.tb, 200, status, "liveness")
	}
}
