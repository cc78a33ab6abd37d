package main

import (
	"context"
	"os"
	"os/signal"
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
		code := realMain(ctx, os.Args[1:], commandOptions())
		stop()
		os.Exit(code)
	}
	embeddedtest.Main(m)
}
