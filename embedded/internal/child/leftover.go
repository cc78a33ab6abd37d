package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is the file in a server's home that the server and all its children keep locked by an
// inherited descriptor.
const lockName = "processes.lock"

// serverNames are the executables that may work in a home; nothing else is ever killed there.
var serverNames = []string{"postgres", "initdb", "redis-server", "redis-check-rdb"}

// OpenLock opens or makes a lock file in home. One that root makes is handed to the home's owner,
// who may be the next to start a server there.
func OpenLock(home, name string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(home, name), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	info, err := os.Stat(home)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("look at the data folder: %w", err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := lock.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
			_ = lock.Close()
			return nil, fmt.Errorf("hand over the lock file: %w", err)
		}
	}
	return lock, nil
}

// waitForPredecessor returns the home's locked lock file once no process of an earlier server is
// left. The caller must make sure that nobody else supervises the home: what still runs there is
// then an orphan. An orphan is on its way out (the kernel told it when its parent died); one that
// does not go is told again, then killed.
func waitForPredecessor(ctx context.Context, home string) (*os.File, error) {
	lock, err := OpenLock(home, lockName)
	if err != nil {
		return nil, err
	}
	escalation := []struct {
		after  time.Duration
		signal syscall.Signal
	}{{5 * time.Second, syscall.SIGQUIT}, {8 * time.Second, syscall.SIGKILL}}
	start := time.Now()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = lock.Close()
			return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		if len(escalation) > 0 && time.Since(start) > escalation[0].after {
			for _, pid := range processesIn(home) {
				_ = syscall.Kill(pid, escalation[0].signal)
				_ = syscall.Kill(pid, syscall.SIGCONT) // it may be frozen
			}
			escalation = escalation[1:]
		}
		select {
		case <-ctx.Done():
			_ = lock.Close()
			return nil, fmt.Errorf("wait for an earlier server in %s to end: %w", home, ctx.Err())
		case <-ticker.C:
		}
	}
}

// processesIn lists the server processes whose working folder is home or below it. PostgreSQL's
// children lead process groups of their own, so the group of the server does not reach them, but
// all work in the data folder.
func processesIn(home string) []int {
	home, err := filepath.EvalSymlinks(home)
	if err != nil {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		folder, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if err != nil || (folder != home && !strings.HasPrefix(folder, home+"/")) {
			continue
		}
		program, err := os.Readlink(filepath.Join("/proc", entry.Name(), "exe"))
		if err != nil || !slices.Contains(serverNames, filepath.Base(strings.TrimSuffix(program, " (deleted)"))) {
			continue
		}
		pids = append(pids, pid)
	}
	return pids
}

// killAll kills every server process in home.
func killAll(home string) {
	for _, pid := range processesIn(home) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// RemoveLeftovers kills what still runs in home and frees the System V segment that a killed
// PostgreSQL leaves behind. For homes that will be deleted; a home that is started again cleans up
// by itself.
func RemoveLeftovers(home, dataDir string) {
	killAll(home)
	content, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(content), "\n")
	if len(lines) < 7 {
		return
	}
	fields := strings.Fields(lines[6]) // shared memory key and id
	if len(fields) != 2 {
		return
	}
	if id, err := strconv.Atoi(fields[1]); err == nil {
		_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	}
}
