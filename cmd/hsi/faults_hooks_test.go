package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a test can do to the command that it has started and that no signal does. All of it lies in the test binary.
const (
	// clockVariable names a file with the number of seconds by which the clock of the command is off.
	clockVariable = "HSI_TEST_CLOCK"
	// hasteVariable is Options.Haste of the command.
	hasteVariable = "HSI_TEST_HASTE"
	// disksVariable says that the command is in a mount namespace of its own, and the size and folder of a disk that it mounts there
	// before it begins. It takes orders for more from its standard input.
	disksVariable = "HSI_TEST_DISKS"
)

// commandOptions are the options of the command when the test binary plays it.
func commandOptions() Options {
	options := Options{Stderr: os.Stderr}
	if path := os.Getenv(clockVariable); path != "" {
		now, err := steppedClock(path)
		exitOn(err)
		options.Now = now
	}
	if haste := os.Getenv(hasteVariable); haste != "" {
		var err error
		options.Haste, err = strconv.Atoi(haste)
		exitOn(err)
	}
	if disk := os.Getenv(disksVariable); disk != "" {
		exitOn(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		takeMountOrder("mount " + disk)
		go takeMountOrders()
	}
	return options
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "test hook:", err)
		os.Exit(1)
	}
}

// steppedClock is a clock that is off by as many seconds as the file says at each moment. As when the clock of a machine is set,
// the wall time steps and the time that has passed does not.
func steppedClock(path string) (now func() time.Time, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	page, err := unix.Mmap(int(file.Fd()), 0, 8, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	seconds := (*atomic.Int64)(unsafe.Pointer(&page[0]))
	return func() time.Time { return setForward(time.Now(), seconds.Load()) }, nil
}

// setForward changes the wall time of a reading of the clock and keeps its monotonic time, for which package time has no function:
// Add changes both. TestSetForward keeps watch over the layout.
func setForward(t time.Time, seconds int64) time.Time {
	const nanosecondBits = 30
	wall := (*uint64)(unsafe.Pointer(&t))      // a flag, 33 bits of seconds, 30 bits of nanoseconds
	*wall += uint64(seconds << nanosecondBits) // wraps as it must for a step back
	return t
}

func TestSetForward(t *testing.T) {
	t.Parallel()
	for _, seconds := range []int64{0, 1, 3600, 86400, -1, -3600, -86400} {
		now := time.Now()
		set := setForward(now, seconds)
		require.Zero(t, set.Sub(now), "no time has passed")
		require.Equal(t, time.Duration(seconds)*time.Second, set.Round(0).Sub(now.Round(0)), "and yet the clock shows another time")
	}
}

// takeMountOrders mounts and unmounts as told: "mount SIZE FOLDER" puts a disk of that size on the folder, "unmount FOLDER" takes
// it away. The test sees what is mounted in /proc.
func takeMountOrders() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		takeMountOrder(lines.Text())
	}
}

func takeMountOrder(line string) {
	words := strings.SplitN(line, " ", 3)
	switch words[0] {
	case "mount":
		exitOn(unix.Mount("tmpfs", words[2], "tmpfs", 0, "size="+words[1]))
	case "unmount":
		exitOn(unix.Unmount(words[1], unix.MNT_DETACH))
	}
}

// disks mounts disks where only the process sees them.
type disks struct {
	p      *process
	orders *os.File
}

// ownNamespace gives the process, when it is started, a mount namespace of its own with a disk of a size such as 80m on a folder. It
// returns nil where the machine lets this user mount nothing, as in most containers.
func (p *process) ownNamespace(size, folder string) *disks {
	p.tb.Helper()
	if !mayMount(p.tb) {
		p.tb.Log("this machine lets us mount nothing: what needs no mount covers it")
		return nil
	}
	d := &disks{p: p}
	p.env = append(p.env, disksVariable+"="+size+" "+folder)
	p.prepare = func(cmd *exec.Cmd) {
		read, write, err := os.Pipe()
		require.NoError(p.tb, err)
		p.tb.Cleanup(func() { _, _ = read.Close(), write.Close() })
		cmd.Stdin, d.orders = read, write
		namespace(cmd)
	}
	return d
}

// namespace starts a command in a mount namespace of its own; an ordinary user needs a user namespace for it.
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
	cmd, output := command(tb, []string{disksVariable + "=1m " + reachableDir(tb)}, "version")
	namespace(cmd)
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) && !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOSPC) {
		require.NoError(tb, err)
	}
	if err != nil {
		tb.Log("no namespace of our own:", err, output.String())
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
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", d.p.cmd.Process.Pid))
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
	return filepath.Join(fmt.Sprintf("/proc/%d/root", d.p.cmd.Process.Pid), folder)
}

// limitFileSize lets the process write no files longer than size, which is what is left of a full disk where nothing can be mounted.
func (p *process) limitFileSize(size uint64) {
	p.tb.Helper()
	var limit unix.Rlimit
	require.NoError(p.tb, unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &limit))
	limit.Cur = min(size, limit.Max)
	require.NoError(p.tb, unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil))
}

// compile makes a shared library of a C file in testdata. The project needs a C compiler anyway.
func compile(tb testing.TB, source, library string, flags ...string) {
	tb.Helper()
	compiler := "cc"
	if chosen := os.Getenv("CC"); chosen != "" {
		compiler = chosen
	}
	args := append([]string{"-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, filepath.Join("testdata", source)}, flags...)
	output, err := exec.CommandContext(tb.Context(), compiler, args...).CombinedOutput()
	require.NoError(tb, err, "%s", output)
}
