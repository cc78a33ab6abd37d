// Command hsi is the Home Security Intelligence server: it turns the pictures of home cameras into
// detections and risk-scored events and tells how the system is doing. README describes its
// commands and settings.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set at link time; empty means that the build information of the module tells.
var version string

// exitUsage is the exit code of a start that cannot work: settings, a taken port or data folder, a
// foreign database.
const exitUsage = 2

// exitFindings is the exit code of a check that found something.
const exitFindings = 3

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once, and the embedded databases with it
	code := realMain(ctx, os.Args[1:], Options{Stderr: os.Stderr})
	os.Exit(code)
}

func realMain(ctx context.Context, args []string, options Options) int {
	commands := commandLine(options) //nolint:contextcheck // commands get theirs when they run
	commands.SetArgs(args)
	return report(commands.ExecuteContext(ctx))
}

// startError is a failure that the person who starts the server must mend: it exits with 2.
type startError struct{ error }

func (e startError) Unwrap() error { return e.error }

func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "hsi: %v\n", err)
	if errors.As(err, new(startError)) {
		return exitUsage
	}
	if errors.Is(err, errFindings) {
		return exitFindings
	}
	return 1
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.1.0"
}
