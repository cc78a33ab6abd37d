// Command hsi is the Home Security Intelligence server: it turns the pictures of home cameras into detections and
// risk-scored events and tells how the system is doing. README describes its commands and settings.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"
)

// version is set at link time; empty means that the build information of the module tells.
var version string

// exitUsage is the exit code of a start that cannot work: settings, a taken port or data folder, a foreign database.
const exitUsage = 2

// exitFindings is the exit code of a check that found something.
const exitFindings = 3

// cli is the command line.
type cli struct {
	EnvFile string `help:"Read settings from this file; variables of the environment win." type:"existingfile" placeholder:"FILE"`

	Serve  serveCommand       `cmd:"" help:"Run the server."`
	Probe  probeCommand       `cmd:"" help:"Ask a running server for its liveness; exit 0 when it is alive."`
	Config configCommand      `cmd:"" help:"Print the effective settings, secrets redacted."`
	Key    keyCommand         `cmd:"" help:"API keys."`
	Events eventsCommand      `cmd:"" help:"Print the newest events."`
	Dead   deadLettersCommand `cmd:"" name:"dead-letters" help:"Images that could not be processed."`
	Check  checkCommand       `cmd:"" help:"Check that rows, files, counters and the ledger agree; exit 3 when they do not."`
	Demo   demoCommand        `cmd:"" help:"Write pictures with moving objects into a camera folder named demo, beside a running server."`
	Vers   versionCommand     `cmd:"" name:"version" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once, and the embedded databases with it
	code := realMain(ctx, os.Args[1:], Options{Stderr: os.Stderr})
	os.Exit(code)
}

func realMain(ctx context.Context, args []string, options Options) int {
	var commands cli
	parser, err := kong.New(&commands, kong.Name("hsi"),
		kong.Description("Home Security Intelligence: camera pictures in, risk-scored events and the System API out."),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(options))
	if err != nil {
		panic(err) // the command structure above is wrong: every run would fail
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return reportUsage(parser, err)
	}
	if commands.EnvFile != "" {
		if err := godotenv.Load(commands.EnvFile); err != nil {
			return report(startError{fmt.Errorf("read %s: %w", commands.EnvFile, err)})
		}
	}
	return report(parsed.Run())
}

// reportUsage says what is wrong with the command line. Where no command was found it lists those that there are.
func reportUsage(parser *kong.Kong, err error) int {
	if failed, ok := errors.AsType[*kong.ParseError](err); ok {
		if chosen := failed.Context.Selected(); chosen == nil || len(chosen.Children) > 0 {
			parser.Stdout = parser.Stderr
			_ = failed.Context.PrintUsage(false) // what is wrong follows in any case
			fmt.Fprintln(parser.Stderr)
		}
	}
	parser.Errorf("%s", err)
	return exitUsage
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
