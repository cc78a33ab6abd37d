// Command bench measures the server against what the machine can do at best, side by side in one
// run, and prints a table with a verdict for each row. It starts its own PostgreSQL, its own Redis
// and the real binary, and loads a data set into them.
//
//	bin/bench -hsi bin/hsi [-scale 1] [-rows health,gpu,…] [-seconds 2] [-rounds 3]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bareMode makes this program one of the bare programs that the server is compared with.
const bareMode = "HSI_BENCH_BARE"

// settings of one run.
type settings struct {
	hsi     string  // the binary
	deps    string  // where unpacked packages lie
	dir     string  // where data lies
	scale   float64 // 1: 1 M detections, 1 M logs, 518,400 GPU samples, 192,000 media files
	seconds time.Duration
	rounds  int
	soak    time.Duration
	frame   int // width of the pictures of frames
	only    []string
	keep    bool
}

func main() {
	os.Exit(command())
}

// command returns the exit code: 0 when all targets were met, 3 when one was missed.
func command() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) //nolint:forbidigo // the program's own
	defer stop()
	if mode := os.Getenv(bareMode); mode != "" {
		if err := bare(ctx, mode); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	var s settings
	var only string
	flag.StringVar(&s.hsi, "hsi", "bin/hsi", "the binary to measure")
	flag.StringVar(&s.deps, "deps", os.Getenv("EMBEDDED_DEPS_DIR"), "where PostgreSQL and Redis packages were unpacked")
	flag.StringVar(&s.dir, "dir", "", "where to keep the data (default: a temporary folder)")
	flag.Float64Var(&s.scale, "scale", 1, "size of the data set; 1 is 1 M detections, 1 M logs, 518,400 GPU samples, 192,000 media files")
	flag.DurationVar(&s.seconds, "time", 2*time.Second, "how long to load each endpoint in each round")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds; the median counts")
	flag.StringVar(&only, "rows", "", "measure only these groups: "+strings.Join(groupNames(), ", "))
	flag.DurationVar(&s.soak, "soak", 20*time.Minute, "how long the group soak takes; it is measured only when asked for")
	flag.IntVar(&s.frame, "frame", smallFrame, "width of the pictures of the group frames; the height is three quarters of it")
	flag.BoolVar(&s.keep, "keep", false, "keep the data")
	flag.Parse()
	if only != "" {
		s.only = strings.Split(only, ",")
	}
	missed, err := run(ctx, s)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	if missed > 0 {
		return 3
	}
	return 0
}

// group is some rows of the table that are measured together.
type group struct {
	name    string
	measure func(ctx context.Context, w *world, t *table) error
	// asked says that the group is left out unless it is named.
	asked bool
}

var groups = []group{ //nolint:gochecknoglobals // a constant table
	{name: "idle", measure: idle},
	{name: "http", measure: httpRows},
	{name: "history", measure: historyRows},
	{name: "latency", measure: openLoop},
	{name: "seen", measure: seenRows},
	{name: "pictures", measure: pictureRows},
	{name: "counters", measure: counters},
	{name: "histogram", measure: histogram},
	{name: "sample", measure: sample},
	{name: "detector", measure: detector},
	{name: "frames", measure: frames},
	{name: "scan", measure: scan},
	{name: "cleanup", measure: cleanup},
	{name: "flat", measure: flat, asked: true},
	{name: "soak", measure: soak, asked: true},
}

func groupNames() []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.name
	}
	return names
}

// run measures and returns how many targets were missed.
func run(ctx context.Context, s settings) (missed int, err error) {
	for _, name := range s.only {
		if !slices.Contains(groupNames(), name) {
			return 0, fmt.Errorf("there is no group %q; there are %s", name, strings.Join(groupNames(), ", "))
		}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	w, err := newWorld(ctx, s, log)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.close(context.WithoutCancel(ctx))) }()
	t := &table{}
	if err := w.header(ctx, os.Stdout); err != nil {
		return 0, err
	}
	for _, g := range groups {
		if named := slices.Contains(s.only, g.name); !named && (g.asked || len(s.only) > 0) {
			continue
		}
		began := time.Now()
		if err := g.measure(ctx, w, t); err != nil {
			t.print(os.Stdout) // what was measured so far
			return 0, fmt.Errorf("%s: %w", g.name, err)
		}
		log.InfoContext(ctx, "measured", "group", g.name, "took", time.Since(began).Round(time.Second).String())
	}
	return t.print(os.Stdout), nil
}
