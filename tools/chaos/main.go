// Command chaos runs the real server with real databases and scripted AI services, feeds it
// pictures from several cameras, kills and disturbs everything at random while it works, and in
// the end compares what the cameras wrote with what is stored: each image in exactly one event,
// filtered with a reason, given up with a cause, or expired; nothing lost, doubled or invented.
//
// It prints its seed. The same seed draws the same pictures and the same faults; when exactly a
// fault hits is up to the machine. It exits with 1 when a promise was broken, with 2 when the run
// itself could not be made.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options of a run.
type options struct {
	// binary is the server to run.
	binary string
	// dir is where the run keeps its files; empty chooses a RAM disk or the temporary folder.
	dir  string
	seed uint64
	// images is how many pictures the cameras write at least, kills how many kill -9 the three
	// processes get at least.
	images, kills int
	// limit bounds the whole run.
	limit time.Duration
	// within is how soon readiness must be back after each fault; 0 only measures it.
	within time.Duration
	// patient adds pictures that the server gives up only after minutes.
	patient bool
	// keep leaves the files of the run behind, also when all is well.
	keep bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) //nolint:forbidigo // the beginning of all contexts
	context.AfterFunc(ctx, stop)                                                             // a second Ctrl-C ends the process at once, and its children with it
	code := realMain(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func realMain(ctx context.Context, args []string, out, problems io.Writer) int {
	o, err := parse(args, problems)
	if err != nil {
		return 2
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit,
		fmt.Errorf("not finished within %v", o.limit))
	defer cancel()
	result, err := run(ctx, o, out)
	if result != nil {
		result.print(out)
	}
	switch {
	case err != nil:
		_, _ = fmt.Fprintf(problems, "chaos: %v\n", err)
		return 2
	case result.broken():
		return 1
	}
	return 0
}

// parse reads the command line: the short form unless told otherwise.
func parse(args []string, problems io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(problems)
	long := flags.Bool("long", false, "50,000 images and 1,000 kills instead of 5,000 and 100")
	flags.StringVar(&o.binary, "hsi", "bin/hsi", "the server to run")
	flags.StringVar(&o.dir, "dir", "",
		"a folder for the files of the run; default: a RAM disk, or the temporary folder")
	flags.Uint64Var(&o.seed, "seed", 0, "what decides about pictures and faults; 0 draws one")
	flags.IntVar(&o.images, "images", 5_000, "pictures to write at least")
	flags.IntVar(&o.kills, "kills", 100, "kill -9 to send at least")
	flags.DurationVar(&o.within, "within", 0,
		"readiness must be back so soon after each fault; 0 only measures it")
	flags.DurationVar(&o.limit, "limit", 9*time.Minute, "the run has failed when it takes longer")
	flags.BoolVar(&o.keep, "keep", false, "keep the files of the run")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	set := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if *long {
		o.patient = true
		setUnless(set["images"], &o.images, 50_000)
		setUnless(set["kills"], &o.kills, 1_000)
		setUnless(set["limit"], &o.limit, 75*time.Minute)
	}
	for o.seed == 0 {
		o.seed = rand.Uint64() >> 32 //nolint:gosec // short enough to type
	}
	var err error
	if flags.NArg() > 0 || o.images < 1 || o.kills < 1 {
		err = errors.New("chaos: no arguments besides flags; images and kills must be positive")
		_, _ = fmt.Fprintln(problems, err)
	}
	return o, err
}

func setUnless[T any](given bool, value *T, otherwise T) {
	if !given {
		*value = otherwise
	}
}
