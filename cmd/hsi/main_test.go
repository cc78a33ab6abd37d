package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"testing"

	"hsi.home.arpa/embedded/embeddedtest"
)

// asCommand makes the test binary behave as the hsi command: the tests start it as a real process of its own, with the race
// detector where they have it.
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
	embeddedtest.Main(m)
}

// startProfile writes a CPU profile of the command, so that benchmarks of the real binary can be looked into.
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
