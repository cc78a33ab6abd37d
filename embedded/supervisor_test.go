package embedded_test

import (
	"bufio"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/internal/program"
)

// supervisor is another process that runs both servers on one DATA_DIR.
type supervisor struct {
	cmd   *osexec.Cmd
	lines chan string
}

// startSupervisor runs this test binary as a supervisor; as is the user it runs as, 0 for ours.
func startSupervisor(t *testing.T, dir string, as uint32) *supervisor {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	if as != 0 { // the test binary lies in a folder that only we can enter
		copied := filepath.Join(newDataDir(t), "supervisor")
		content, err := os.ReadFile(self)
		require.NoError(t, err)
		program.Write(t, copied, content, 0o755)
		self = copied
	}
	s := &supervisor{cmd: osexec.CommandContext(t.Context(), self), lines: make(chan string, 100)}
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), supervisorVariable + "=" + dir, "EMBEDDED_DEPS_DIR=" + depsDir()}
	s.cmd.Dir = "/"
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if as != 0 {
		s.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as, Gid: as}
	}
	log, err := os.CreateTemp(t.TempDir(), "log")
	require.NoError(t, err)
	s.cmd.Stderr = log
	output, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(s.lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			s.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-read
		_ = s.cmd.Wait()
		if content, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("supervisor: %s", content)
		}
		_ = log.Close()
		await.True(t, func() bool { return len(processesOf(dir)) == 0 })
		// A killed supervisor leaves its empty socket folders to the next start.
		log, _ := testLog(t)
		for _, left := range []server{newPostgres(t, newOptions(dir, log)), newRedis(t, newOptions(dir, log))} {
			_ = os.Remove(left.RunDir())
		}
	})
	return s
}

// await returns the rest of the first line that starts with a word.
func (s *supervisor) await(t *testing.T, word string) string {
	t.Helper()
	timeout := time.After(await.Limit)
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				t.Fatalf("the supervisor ended before it was %s", word)
			}
			if rest, found := strings.CutPrefix(line, word); found {
				return strings.TrimSpace(rest)
			}
			if strings.HasPrefix(line, "failed") {
				t.Fatal(line)
			}
		case <-timeout:
			t.Fatalf("the supervisor is not %s", word)
		}
	}
}

// stop ends the supervisor as Ctrl-C would.
func (s *supervisor) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	for range s.lines { // closed at its end
	}
	require.NoError(t, s.cmd.Wait())
}

func (s *supervisor) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Kill())
}

func TestSupervisorKilled_NothingStaysAndTheNextStartWorks(t *testing.T) {
	t.Parallel()
	dir := newMadeDir(t)
	first := startSupervisor(t, dir, 0)
	urls := strings.Fields(first.await(t, "ready"))
	exec(t, open(t, urls[0]), "CREATE TABLE x (n int)")
	require.Equal(t, "+OK", ask(t, urls[1], "SET a 1"))
	first.kill(t)
	await.True(t, func() bool { return len(processesOf(dir)) == 0 })

	// And again, with the next start at once: its predecessor's children are still on their way
	// out.
	for range 4 {
		next := startSupervisor(t, dir, 0)
		urls = strings.Fields(next.await(t, "ready"))
		exec(t, open(t, urls[0]), "SELECT n FROM x")
		require.Equal(t, ":1", ask(t, urls[1], "EXISTS a"))
		next.kill(t)
	}
}

func TestSupervisorKilled_FrozenOrphansAreRemoved(t *testing.T) {
	t.Parallel()
	dir := newMadeDir(t)
	first := startSupervisor(t, dir, 0)
	first.await(t, "ready")
	freeze(dir)
	first.kill(t)
	next := startSupervisor(t, dir, 0)
	next.await(t, "ready")
}

func TestSupervisorKilled_WhileItMakesTheData(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	for range 3 { // killed later and later in the making
		first := startSupervisor(t, dir, 0)
		first.await(t, "started")
		await.True(t, func() bool {
			entries, _ := os.ReadDir(filepath.Join(dir, "postgres", "data.new"))
			return len(entries) > 5
		})
		first.kill(t)
	}
	require.NoDirExists(t, filepath.Join(dir, "postgres", "data"))
	next := startSupervisor(t, dir, 0)
	urls := strings.Fields(next.await(t, "ready"))
	require.NoError(t, open(t, urls[0]).PingContext(t.Context()))
}

func TestSupervisor_StopsWithASessionOpen(t *testing.T) {
	t.Parallel()
	dir := newMadeDir(t)
	first := startSupervisor(t, dir, 0)
	urls := strings.Fields(first.await(t, "ready"))
	db := open(t, urls[0])
	require.NoError(t, db.PingContext(t.Context()))
	first.stop(t)
	await.True(t, func() bool { return len(processesOf(dir)) == 0 })
}

func TestSupervisor_AsOrdinaryUser(t *testing.T) {
	t.Parallel()
	const nobody = 65534
	as := uint32(nobody)
	dir := newDataDir(t)
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(dir, nobody, nobody))
	} else {
		as = 0 // we are one
	}
	first := startSupervisor(t, dir, as)
	urls := strings.Fields(first.await(t, "ready"))
	require.Contains(t, urls[0], "/tmp/")
	require.Equal(t, "+OK", ask(t, urls[1], "SET a 1"))
	exec(t, open(t, urls[0]), "CREATE TABLE x (n int)")
	first.stop(t)

	// Started by root, the data keeps its owner, who can start it again.
	for _, user := range []uint32{0, as} {
		next := startSupervisor(t, dir, user)
		urls = strings.Fields(next.await(t, "ready"))
		exec(t, open(t, urls[0]), "SELECT n FROM x")
		require.Equal(t, ":1", ask(t, urls[1], "EXISTS a"))
		next.stop(t)
	}
}
