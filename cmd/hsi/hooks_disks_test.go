//go:build e2e

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// disks mounts disks where only the process sees them.
type disks struct {
	p      *process
	orders *os.File
}

// ownNamespace gives the process, when it is started, a mount namespace of its own with a disk of
// a size such as 80m on a folder. It returns nil where the machine lets this user mount nothing,
// as in most containers.
func (p *process) ownNamespace(size, folder string) *disks {
	p.tb.Helper()
	if !mayMount(p.tb) {
		p.tb.Log("this machine lets us mount nothing: what needs no mount covers it")
		return nil
	}
	d := &disks{p: p}
	p.Env = append(p.Env, disksVariable+"="+size+" "+folder)
	p.Prepare = func(cmd *exec.Cmd) {
		read, write, err := os.Pipe()
		require.NoError(p.tb, err)
		p.tb.Cleanup(func() { _, _ = read.Close(), write.Close() })
		cmd.Stdin, d.orders = read, write
		namespace(cmd)
	}
	return d
}

// namespace starts a command in a mount namespace of its own; an ordinary user needs a user
// namespace for it.
func namespace(cmd *exec.Cmd) {
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNS
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
}

// mayMount tries whether a process can mount a disk in a namespace of its own.
func mayMount(tb testing.TB) bool {
	tb.Helper()
	runtime.LockOSThread() // the death signal follows the thread
	defer runtime.UnlockOSThread()
	cmd := hsi(tb, disksVariable+"=1m "+reachableDir(tb)).Command(tb.Context(), "version")
	namespace(cmd)
	output, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) &&
		!errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOSPC) {
		require.NoError(tb, err)
	}
	if err != nil {
		tb.Log("no namespace of our own:", err, string(output))
	}
	return err == nil
}

// mount puts a disk of a size on a folder.
func (d *disks) mount(size, folder string) {
	d.order(fmt.Sprintf("mount %s %s\n", size, folder), folder, 1)
}

// unmount takes the uppermost one away.
func (d *disks) unmount(folder string) { d.order("unmount "+folder+"\n", folder, -1) }

func (d *disks) order(line, folder string, change int) {
	d.p.tb.Helper()
	mounted := func() int {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", d.p.PID()))
		require.NoError(d.p.tb, err)
		return strings.Count(string(table), " "+folder+" ")
	}
	before := mounted()
	_, err := d.orders.WriteString(line)
	require.NoError(d.p.tb, err)
	d.p.eventually(strings.TrimSpace(line), func() bool { return mounted() == before+change })
}

// inside is a folder as the process sees it.
func (d *disks) inside(folder string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", d.p.PID()), folder)
}

// limitFileSize lets the process write no files longer than size, which is what is left of a full
// disk where nothing can be mounted.
func (p *process) limitFileSize(size uint64) {
	p.tb.Helper()
	var limit unix.Rlimit
	require.NoError(p.tb, unix.Prlimit(p.PID(), unix.RLIMIT_FSIZE, nil, &limit))
	limit.Cur = min(size, limit.Max)
	require.NoError(p.tb, unix.Prlimit(p.PID(), unix.RLIMIT_FSIZE, &limit, nil))
}

// compile makes a shared library of a C file in testdata. The project needs a C compiler anyway.
func compile(tb testing.TB, source, library string, flags ...string) {
	tb.Helper()
	compiler := "cc"
	if chosen := os.Getenv("CC"); chosen != "" {
		compiler = chosen
	}
	args := append([]string{
		"-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library,
		filepath.Join("testdata", source),
	}, flags...)
	output, err := exec.CommandContext(tb.Context(), compiler, args...).CombinedOutput()
	require.NoError(tb, err, "%s", output)
}
