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
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/logtest"
	"hsi.home.arpa/server/contracttest"
)

// patience bounds every wait for something that must happen; a test that waits so long has failed.
const patience = 3 * time.Minute

// process is a running hsi command.
type process struct {
	tb      testing.TB
	cmd     *exec.Cmd
	exited  chan struct{}
	output  *logtest.Output
	BaseURL string
	DataDir string
	env     []string
	client  *http.Client
	// prepare changes how the process is started; nil changes nothing.
	prepare func(cmd *exec.Cmd)
}

// command prepares the hsi command with an environment of its own.
func command(tb testing.TB, env []string, args ...string) (*exec.Cmd, *logtest.Output) {
	tb.Helper()
	exe, err := os.Executable()
	require.NoError(tb, err)
	cmd := exec.Command(exe, args...)
	cmd.Env = append([]string{asCommand + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "EMBEDDED_DEPS_DIR=" + depsDir(tb)}, env...)
	cmd.Dir = tb.TempDir()
	output := &logtest.Output{}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, output
}

func depsDir(tb testing.TB) string {
	tb.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(tb, err)
	return filepath.Join(root, ".deps")
}

// runCommand runs a command to its end and returns its output and exit code.
func runCommand(tb testing.TB, env []string, args ...string) (string, int) {
	tb.Helper()
	cmd, output := command(tb, env, args...)
	require.NoError(tb, cmd.Start())
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // the exit code says it
	return output.String(), cmd.ProcessState.ExitCode()
}

// serve starts `hsi serve` on a free port and a data folder of its own and waits until it answers.
// Settings in env win over these.
func serve(tb testing.TB, env ...string) *process {
	tb.Helper()
	p := newProcess(tb, env...)
	p.start()
	return p
}

// newProcess is serve without the start.
func newProcess(tb testing.TB, env ...string) *process {
	tb.Helper()
	p := &process{tb: tb, DataDir: filepath.Join(reachableDir(tb), "data")}
	p.env = append([]string{"DATA_DIR=" + p.DataDir, "API_PORT=" + strconv.Itoa(freePort(tb))}, env...)
	tb.Cleanup(p.kill)
	return p
}

// start starts the process (again) with its settings and waits until it answers.
func (p *process) start() {
	p.tb.Helper()
	p.cmd, p.output = command(p.tb, p.env, "serve")
	if p.prepare != nil {
		p.prepare(p.cmd)
	}
	require.NoError(p.tb, p.cmd.Start())
	p.exited = make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	p.BaseURL = "http://127.0.0.1:" + lastValue(p.env, "API_PORT")
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

// getJSON asks for a path, wants the status and decodes the body.
func (p *process) getJSON(path string, want int, into any) {
	p.tb.Helper()
	status, body := p.get(path)
	require.Equal(p.tb, want, status, "%s: %s", path, body)
	require.NoError(p.tb, json.Unmarshal(body, into))
}

// eventually polls a condition of the outside world, where there is no signal to wait on, and fails with the server's output.
func (p *process) eventually(what string, condition func() bool) time.Duration {
	p.tb.Helper()
	begun := time.Now()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-p.exited:
			require.Fail(p.tb, "the process ended while waiting: "+what, p.log())
		case <-ticker.C:
		}
		if time.Since(begun) > patience {
			require.Fail(p.tb, "waited in vain: "+what, p.log())
		}
	}
	return time.Since(begun)
}

// stop asks the process to end and wants that it does so cleanly and in time.
func (p *process) stop() time.Duration {
	p.tb.Helper()
	begun := time.Now()
	require.NoError(p.tb, p.cmd.Process.Signal(syscall.SIGTERM))
	p.waitExit()
	require.Zero(p.tb, p.cmd.ProcessState.ExitCode(), p.log())
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

func (p *process) waitExit() {
	p.tb.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		require.Fail(p.tb, "the process does not end", p.log())
	}
}

// kill ends the process without any chance to clean up; killing one that has ended or was never started does nothing.
func (p *process) kill() {
	if p.exited == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// reachableDir is a folder that the unprivileged user of the databases can enter, so that the data stays in it.
func reachableDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "hsi-test-") //nolint:usetesting // that of t.TempDir is closed to other users
	require.NoError(tb, err)
	require.NoError(tb, os.Chmod(dir, 0o755))
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func freePort(tb testing.TB) int {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
