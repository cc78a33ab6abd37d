package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a test can do to the command that it has started and that no signal does. All of it lies in
// the test binary.
const (
	// clockVariable names a file with the number of seconds by which the clock of the command is
	// off.
	clockVariable = "HSI_TEST_CLOCK"
	// hasteVariable is Options.Haste of the command.
	hasteVariable = "HSI_TEST_HASTE"
	// disksVariable says that the command is in a mount namespace of its own, and the size and
	// folder of a disk that it mounts there before it begins. It takes orders for more from its
	// standard input.
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

// steppedClock is a clock that is off by as many seconds as the file says at each moment. As when
// the clock of a machine is set, the wall time steps and the time that has passed does not.
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

// setForward changes the wall time of a reading of the clock and keeps its monotonic time, for
// which package time has no function: Add changes both. TestSetForward keeps watch over the
// layout.
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
		require.Equal(t, time.Duration(seconds)*time.Second, set.Round(0).Sub(now.Round(0)),
			"and yet the clock shows another time")
	}
}

// takeMountOrders mounts and unmounts as told: "mount SIZE FOLDER" puts a disk of that size on the
// folder, "unmount FOLDER" takes it away. The test sees what is mounted in /proc.
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
