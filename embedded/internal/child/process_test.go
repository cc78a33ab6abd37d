package child

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hsi.home.arpa/internal/await"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startShell starts a shell script in a home of its own, with a signal at our death.
func startShell(t *testing.T, home, script string, output func(string)) *Process {
	t.Helper()
	process, err := Start(t.Context(), Spec{
		Program:     Program{Path: "/bin/sh"},
		Args:        []string{"-c", script},
		Home:        home,
		DataDir:     home,
		Identity:    ChooseIdentity(),
		DeathSignal: syscall.SIGKILL,
		Output:      output,
	})
	require.NoError(t, err)
	t.Cleanup(func() { process.Stop() })
	return process
}

func TestProcess_OutlivesThreads(t *testing.T) {
	t.Parallel()
	pong := make(chan struct{}, 2)
	process := startShell(t, newDir(t), "trap 'echo pong' USR1; echo pong; while :; do sleep 0.1; done", func(string) { pong <- struct{}{} })
	await.Value(t, pong, "it did not start")
	// The kernel sends the parent-death signal when the starting thread ends. A goroutine that ends
	// locked takes its thread with it: end so many that every thread that is not held is gone.
	var group sync.WaitGroup
	var barrier sync.WaitGroup
	const threads = 100
	barrier.Add(threads)
	end := make(chan struct{})
	for range threads {
		group.Go(func() {
			runtime.LockOSThread()
			barrier.Done()
			<-end
		})
	}
	barrier.Wait()
	most := countThreads(t)
	close(end)
	group.Wait()
	await.True(t, func() bool { return countThreads(t) <= most-threads/2 }, "the threads do not end")
	// What they sent comes before what we send now.
	require.NoError(t, process.Signal(syscall.SIGUSR1))
	await.Value(t, pong, "the child died with a thread")
}

func countThreads(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	return len(entries)
}

func TestProcess_PassesNothingOfOurs(t *testing.T) {
	t.Setenv("PGDATA", "/elsewhere")
	home := newDir(t)
	tail := NewTail(20)
	process := startShell(t, home, "env; pwd", tail.Add)
	<-process.Done()
	require.Equal(t, "exit status 0", process.ExitText())
	text := strings.Join(tail.Lines(), "\n")
	require.NotContains(t, text, "PGDATA")
	require.Contains(t, text, "HOME="+home)
	require.Contains(t, text, "PWD="+home)
}

func TestProcess_StopEscalates(t *testing.T) {
	t.Parallel()
	ready := make(chan struct{})
	process := startShell(t, newDir(t), "trap '' INT; echo ready; while :; do sleep 0.1; done", func(string) { close(ready) })
	<-ready
	require.False(t, process.Stop(Step{syscall.SIGINT, 10 * time.Millisecond}, Step{syscall.SIGTERM, await.Limit}))
	require.Contains(t, process.ExitText(), "terminated")
	require.NoError(t, process.Signal(syscall.SIGTERM), "an ended process is no error")

	ready = make(chan struct{})
	process = startShell(t, newDir(t), "trap '' INT TERM; echo ready; while :; do sleep 0.1; done", func(string) { close(ready) })
	<-ready
	require.True(t, process.Stop(Step{syscall.SIGTERM, 10 * time.Millisecond}))
}

func TestStart_WaitsForThePredecessor(t *testing.T) {
	t.Parallel()
	home := newDir(t)
	first := startShell(t, home, "exec sleep 60", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := Start(ctx, first.spec)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "wait for an earlier server")
	started := make(chan error, 1)
	go func() {
		second, err := Start(t.Context(), first.spec)
		if err == nil {
			second.Stop()
		}
		started <- err
	}()
	first.Stop()
	require.NoError(t, <-started)
}

func TestStart_NoSuchProgram(t *testing.T) {
	t.Parallel()
	home := newDir(t)
	_, err := Start(t.Context(), Spec{Program: Program{Path: "/does/not/exist"}, Home: home, DataDir: home, Identity: ChooseIdentity()})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestRunDir_RefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	parent := newDir(t)
	identity := ChooseIdentity()
	dir := filepath.Join(parent, "run")
	require.NoError(t, CheckRunDir(identity, dir))
	handle, err := MakeRunDir(identity, dir)
	require.NoError(t, err)
	require.NoError(t, handle.Close())
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	require.NoError(t, CheckRunDir(identity, dir), "that of an earlier start is taken")

	link := filepath.Join(parent, "link")
	require.NoError(t, os.Symlink(dir, link))
	require.ErrorContains(t, CheckRunDir(identity, link), "is not a folder")
	_, err = MakeRunDir(identity, link)
	require.Error(t, err)
	file := filepath.Join(parent, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.Error(t, CheckRunDir(identity, file))
	require.Error(t, CheckRunDir(identity, filepath.Join(parent, "no", "parent")))

	if os.Geteuid() == 0 {
		foreign := filepath.Join(parent, "foreign")
		require.NoError(t, os.Mkdir(foreign, 0o777))
		require.NoError(t, os.Chown(foreign, 4242, 4242))
		require.ErrorContains(t, CheckRunDir(identity, foreign), "belongs to uid 4242")
		_, err = MakeRunDir(identity, foreign)
		require.ErrorContains(t, err, "belongs to uid 4242")
	}
}
