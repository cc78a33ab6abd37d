package main

import (
	"context"
	flags "flag"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strconv"
	"syscall"
	"testing"

	"hsi.home.arpa/embedded/embeddedtest"
)

// asCommand makes the test binary behave as the hsi command: the tests start it as a real process
// of its own, with the race detector where they have it.
const asCommand = "HSI_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		stopProfile := startProfile(os.Getenv("HSI_TEST_CPU_PROFILE"))
		code := realMain(ctx, os.Args[1:], commandOptions())
		stopProfile()
		stop()
		os.Exit(code)
	}
	waitTogether()
	embeddedtest.Main(m)
}

// waitTogether runs more tests at once than there are processors, unless the person who starts them
// says how many: most of them wait, for a time-out, a lease or a minute of lock. More than a few
// would need much memory.
func waitTogether() {
	flags.Parse()
	chosen := false
	flags.Visit(func(f *flags.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flags.Set("test.parallel", strconv.Itoa(min(2*runtime.GOMAXPROCS(0), 8))) // the flag is there in every test binary
	}
}

// startProfile writes a CPU profile of the command, so that benchmarks of the real binary can be
// looked into.
func startProfile(path string) (stop func()) {
	if path == "" {
		return func() {}
	}
	file, err := os.Create(path)
	if err == nil {
		err = pprof.StartCPUProfile(file)
	}
	if err != nil {
		panic(err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close() // nothing depends on it
	}
}
