package packaging

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/logtest"
)

// container is a started image. Its processes run in namespaces of their own where this test may make them (as root), else directly
// on the machine with paths and addresses moved.
type container struct {
	tb    testing.TB
	image *image
	plan  plan
	// client reaches the published port.
	client *http.Client

	engine *exec.Cmd // nil without namespaces
	mu     sync.Mutex
	sent   int                       // guarded by mu; the number of the last request
	waits  map[int]chan int          // guarded by mu; who waits for the exit code of which request
	input  *json.Encoder             // guarded by mu
	plain  map[int]*exec.Cmd         // guarded by mu; without namespaces
	apiURL string                    // without namespaces
	moved  func(value string) string // without namespaces: where a value of the environment leads on this machine
}

// process is one command in a container.
type process struct {
	container *container
	number    int
	exit      <-chan int
	output    string // the file
}

// newContainer makes a container of the image. The services that the program talks to are reached under their names in Compose:
// services maps "name:port" to where it really listens, as network:address.
func newContainer(tb testing.TB, img *image, env []string, groups []int, mounts []mount, services map[string]string) *container {
	tb.Helper()
	dir := openDir(tb)
	c := &container{tb: tb, image: img, waits: map[int]chan int{}, plain: map[int]*exec.Cmd{}}
	c.plan = plan{
		Root: img.root, UID: img.uid, GID: img.gid, Groups: groups, Env: env, Dir: img.dir, Mounts: mounts, Services: map[string]string{},
		API: filepath.Join(dir, "api.sock"), Report: filepath.Join(dir, "report"),
	}
	for name, address := range services { // a socket is reached from another network namespace, and by another user
		socket := filepath.Join(dir, name, ".s.PGSQL.5432") // the name that PostgreSQL's clients want; nobody else minds
		require.NoError(tb, os.Mkdir(filepath.Dir(socket), 0o755))
		relayFrom(tb, socket, address)
		c.plan.Services[name] = socket
	}
	if !mayIsolate() {
		tb.Log("no namespaces for this user: the program runs without them, with its paths and addresses moved")
		c.withoutNamespaces(services)
		return c
	}
	c.startEngine(dir)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.plan.API)
	}}
	tb.Cleanup(transport.CloseIdleConnections)
	c.client = &http.Client{Transport: transport, Timeout: patience}
	c.apiURL = "http://127.0.0.1:8000"
	return c
}

// relayFrom lets a service of this machine, given as network:address, be reached through a socket.
func relayFrom(tb testing.TB, socket, service string) {
	tb.Helper()
	network, address, _ := strings.Cut(service, ":")
	listener, err := net.Listen("unix", socket)
	require.NoError(tb, err)
	require.NoError(tb, os.Chmod(socket, 0o666))
	var relay relay
	done := make(chan struct{})
	go func() { relay.run(listener, network, address); close(done) }()
	tb.Cleanup(func() { _ = listener.Close(); <-done; relay.wait() })
}

// startEngine starts the first process of the namespaces, which makes the mounts and starts the commands.
func (c *container) startEngine(dir string) {
	c.tb.Helper()
	raw, err := json.Marshal(c.plan)
	require.NoError(c.tb, err)
	planFile := filepath.Join(dir, "plan.json")
	require.NoError(c.tb, os.WriteFile(planFile, raw, 0o600))
	exe, err := os.Executable()
	require.NoError(c.tb, err)
	c.engine = exec.Command(exe)
	c.engine.Env = []string{roleVariable + "=engine", planVariable + "=" + planFile}
	c.engine.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	problems := &logtest.Output{}
	c.engine.Stderr = problems
	input, err := c.engine.StdinPipe()
	require.NoError(c.tb, err)
	answers, err := c.engine.StdoutPipe()
	require.NoError(c.tb, err)
	require.NoError(c.tb, c.engine.Start())
	c.input = json.NewEncoder(input)
	done := make(chan struct{})
	go func() {
		defer close(done)
		decoder := json.NewDecoder(answers)
		for {
			var a answer
			if decoder.Decode(&a) != nil {
				return
			}
			c.mu.Lock()
			wait := c.waits[a.Number]
			c.mu.Unlock()
			wait <- a.Exit
		}
	}()
	c.tb.Cleanup(func() {
		_ = input.Close() // it ends, and the kernel ends the rest of its namespace
		<-done
		_ = c.engine.Wait()
		if c.tb.Failed() {
			c.tb.Logf("the container's engine: %s", problems)
		}
	})
}

// start starts a command in the container.
func (c *container) start(command ...string) *process {
	c.tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	exit := make(chan int, 1)
	p := &process{container: c, number: c.sent, exit: exit, output: fmt.Sprintf("%s.%d", c.plan.Report, c.sent)}
	c.waits[c.sent] = exit
	if c.engine == nil {
		c.startPlain(p, exit, command)
		return p
	}
	require.NoError(c.tb, c.input.Encode(request{Number: p.number, Command: command, Output: p.output}))
	return p
}

// exec runs a command in the container to its end, as docker exec does.
func (c *container) exec(command ...string) (output string, exit int) {
	c.tb.Helper()
	p := c.start(command...)
	exit = p.wait()
	return p.log(), exit
}

// log is what the command printed, without the lines of ordinary requests.
func (p *process) log() string {
	content, _ := os.ReadFile(p.output)
	var kept strings.Builder
	for line := range strings.Lines(string(content)) {
		if !strings.Contains(line, `"level":"INFO","msg":"request"`) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func (p *process) wait() int {
	p.container.tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case exit := <-p.exit:
		return exit
	case <-timer.C:
		require.Fail(p.container.tb, "the command does not end", p.log())
		return -1
	}
}

// stop asks the command to end, as docker stop does.
func (p *process) stop() int {
	c := p.container
	c.tb.Helper()
	c.mu.Lock()
	if c.engine == nil {
		_ = c.plain[p.number].Process.Signal(syscall.SIGTERM)
	} else {
		require.NoError(c.tb, c.input.Encode(request{Number: p.number, Signal: int(syscall.SIGTERM)}))
	}
	c.mu.Unlock()
	return p.wait()
}

// withoutNamespaces prepares for running directly on the machine.
func (c *container) withoutNamespaces(services map[string]string) {
	c.tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.tb, err)
	port := fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
	require.NoError(c.tb, listener.Close())
	c.client, c.apiURL = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}, "http://127.0.0.1:"+port
	c.moved = func(value string) string {
		for _, m := range c.plan.Mounts {
			if value == m.Target || strings.HasPrefix(value, m.Target+"/") {
				return m.Source + strings.TrimPrefix(value, m.Target)
			}
		}
		for name, socket := range c.plan.Services {
			switch before, after, found := strings.Cut(value, "@"+name+"/"); {
			case found && strings.HasPrefix(value, "postgres://"):
				value = before + "@/" + after + "&host=" + filepath.Dir(socket)
			case found:
				value = strings.Replace(before, "redis://", "unix://", 1) + "@" + socket
			case value == "http://"+name:
				value = "http://" + strings.TrimPrefix(services[name], "tcp:")
			}
		}
		return value
	}
	for i, entry := range c.plan.Env {
		name, value, _ := strings.Cut(entry, "=")
		value = c.moved(value)
		if name == "API_PORT" {
			value = port
		}
		c.plan.Env[i] = name + "=" + value
	}
	c.tb.Cleanup(func() {
		for _, cmd := range c.plain {
			_ = cmd.Process.Kill()
		}
	})
}

// startPlain starts a command directly on the machine. The caller holds mu.
func (c *container) startPlain(p *process, exit chan<- int, command []string) {
	c.tb.Helper()
	output, err := os.Create(p.output)
	require.NoError(c.tb, err)
	cmd := exec.Command(c.image.path("/usr/local/bin/"+command[0]), command[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.plan.Env, c.moved(c.plan.Dir), output, output
	if os.Geteuid() == 0 {
		groups := make([]uint32, len(c.plan.Groups))
		for i, group := range c.plan.Groups {
			groups[i] = uint32(group)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(c.plan.UID), Gid: uint32(c.plan.GID), Groups: groups}}
	}
	require.NoError(c.tb, cmd.Start())
	c.plain[p.number] = cmd
	go func() {
		_ = cmd.Wait()
		_ = output.Close()
		exit <- cmd.ProcessState.ExitCode()
	}()
}

// volumes makes a folder for each volume and fills it from the image, as an engine fills a new volume.
func (i *image) newVolumes(tb testing.TB, targets ...string) []mount {
	tb.Helper()
	var mounts []mount
	for _, target := range targets {
		source := filepath.Join(openDir(tb), "volume")
		require.DirExists(tb, i.path(target), "the image has no folder for the volume")
		run(tb, "/", nil, "/bin/cp", "-a", i.path(target), source)
		mounts = append(mounts, mount{Source: source, Target: target})
	}
	return mounts
}

// source is the folder on this machine behind a volume.
func (c *container) source(target string) string {
	i := slices.IndexFunc(c.plan.Mounts, func(m mount) bool { return m.Target == target })
	require.GreaterOrEqual(c.tb, i, 0)
	return c.plan.Mounts[i].Source
}

// peek reads what the kernel says about the running program, from its own mounts.
func (c *container) peek(tb testing.TB) (status, mounts string) {
	tb.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(tb, err)
	for _, name := range found {
		command, err := os.ReadFile(name)
		dir := filepath.Dir(name)
		root, rootErr := os.Readlink(filepath.Join(dir, "root"))
		if err != nil || rootErr != nil || !strings.HasPrefix(string(command), strings.Join(c.image.command, "\x00")) || root != c.image.root {
			continue
		}
		rawStatus, err := os.ReadFile(filepath.Join(dir, "status"))
		require.NoError(tb, err)
		rawMounts, err := os.ReadFile(filepath.Join(dir, "mountinfo"))
		require.NoError(tb, err)
		return string(rawStatus), string(rawMounts)
	}
	require.Fail(tb, "the program does not run")
	return "", ""
}

// dialUnix connects to a socket instead of an address.
func dialUnix(ctx context.Context, address string, dialer *net.Dialer, _ *tls.Config) (net.Conn, error) {
	return dialer.DialContext(ctx, "unix", address)
}
