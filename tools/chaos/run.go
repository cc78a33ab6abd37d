package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hsi.home.arpa/internal/e2e"
)

const (
	// progressInterval is how often a run tells how far it is.
	progressInterval = 15 * time.Second
	// stopPatience is how long the server may take to stop; how long it should is tested elsewhere.
	stopPatience = 2 * time.Minute
)

// run makes one run. The report is nil when the run could not begin; the error says why the run
// did not come to its end.
func run(ctx context.Context, o options, out io.Writer) (result *report, err error) {
	begun := time.Now()
	_, _ = fmt.Fprintf(out, "seed %d: %d images, %d kill -9\n", o.seed, o.images, o.kills)
	w, err := newWorld(ctx, o)
	if err != nil {
		return nil, err
	}
	result = &report{seed: o.seed, within: o.within}
	defer func() {
		result.took = time.Since(begun)
		interrupted := errors.Is(ctx.Err(), context.Canceled)
		keep := o.keep || result.broken() || err != nil && !interrupted
		if keep {
			result.kept = w.dir
		}
		w.close(keep)
	}()
	f := &faultRunner{world: w, count: map[kind]int{}}
	feeder := &feeder{Cameras: w.Cameras, seed: o.seed, total: o.images, patient: o.patient}
	feeder.progress = func() float64 { return float64(f.kills()+2) / float64(o.kills) }
	defer func() {
		result.take(f, feeder, w)
		if notReady, ok := errors.AsType[*notReadyError](err); ok {
			result.found(e2e.Late, notReady.Error())
			err = nil // not the run has failed but the server
		}
	}()

	if err := w.server.Start(ctx); err != nil {
		return result, err
	}
	if _, err := f.awaitReady(ctx, time.Now()); err != nil {
		return result, err
	}
	if err := disturb(ctx, o, f, feeder, out); err != nil {
		return result, err
	}
	result.disturbed = time.Since(begun)
	_, _ = fmt.Fprintf(out, "%s the faults are over, waiting for what is left to do\n",
		clock(begun))
	settled := time.Now()
	if err := settle(ctx, w, feeder, result); err != nil {
		return result, err
	}
	result.settled = time.Since(settled)
	return result, finish(ctx, w, feeder, result, func(what string) { _, _ = fmt.Fprintf(out, "%s %s\n", clock(begun), what) })
}

// disturb feeds and disturbs the server until both are done.
func disturb(ctx context.Context, o options, f *faultRunner, feeder *feeder, out io.Writer) error {
	begun := time.Now()
	// Trouble beside the bursts ends with them.
	trouble, end := context.WithCancel(ctx)
	defer end()
	feeding, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer end()
	defer failed(nil)
	fed := make(chan struct{})
	beside.Go(func() {
		defer close(fed)
		if err := feeder.run(feeding); err != nil {
			failed(err)
		}
	})
	w := f.world
	for i, makeTrouble := range []func() error{
		func() error {
			return f.aiTrouble(trouble, random(o.seed, 1), w.Detector, detectorTook, detectorAway,
				detectorOdd, oddImages())
		},
		func() error {
			return f.aiTrouble(trouble, random(o.seed, 2), w.Model, modelTook, modelAway, modelOdd,
				oddVerdicts())
		},
		func() error { return f.cameraTrouble(trouble, random(o.seed, 3)) },
	} {
		beside.Go(func() {
			if err := makeTrouble(); err != nil {
				failed(fmt.Errorf("trouble %d: %w", i, err))
			}
		})
	}
	r := random(o.seed, 0)
	said := time.Now()
	for {
		select {
		case <-fed:
			if f.kills() >= o.kills {
				return context.Cause(feeding)
			}
		case <-feeding.Done():
			return context.Cause(feeding)
		default:
		}
		if err := f.burst(feeding, drawBurst(r)); err != nil {
			return err
		}
		if time.Since(said) > progressInterval {
			said = time.Now()
			_, _ = fmt.Fprintf(out, "%s %d files written, %d kill -9\n", clock(begun),
				feeder.written.Load(), f.kills())
		}
	}
}

// clock is the time since the beginning of a run.
func clock(begun time.Time) string { return time.Since(begun).Round(time.Second).String() }

// settle waits until nothing is left to do.
func settle(ctx context.Context, w *world, feeder *feeder, result *report) error {
	files := len(feeder.Shots())
	if w.drain(ctx, files) {
		return ctx.Err()
	}
	// What is left may wait for the hourly look at all folders; a start looks at once, and tells
	// late from lost.
	waiting, err := w.waiting(ctx, files)
	if err != nil {
		return err
	}
	result.found(e2e.Late,
		fmt.Sprintf("nothing moved any more, with %d files without a row, %d images and %d batches to do", waiting.Unrecorded, waiting.Images, waiting.Batches))
	w.server.Kill()
	if err := w.server.Start(ctx); err != nil {
		return err
	}
	w.drain(ctx, files) // what is left now the audit tells
	return context.Cause(ctx)
}

// drain waits until all files have a row that has come to its end; false when nothing has moved
// for a long time. When nothing moves for a moment, it lets the time pass that leases and pauses
// take.
func (w *world) drain(ctx context.Context, files int) bool {
	const moment, patience = 2 * time.Second, 4 * time.Minute // an unfinished file waits for two minutes
	moved, hurried := time.Now(), time.Now()
	var last backlog
	done := false
	e2e.Until(ctx, 100*time.Millisecond, func() bool {
		now, err := w.waiting(ctx, files)
		if err != nil {
			return false
		}
		if now != last {
			last, moved, hurried = now, time.Now(), time.Now()
		}
		if time.Since(hurried) > moment {
			hurried = time.Now()
			_, _ = w.EndLeases(ctx, "") // else they end by themselves
			_ = w.EndPauses(ctx)        // as above
		}
		done = now == backlog{}
		return done || time.Since(moved) > patience
	})
	return done
}

// backlog is what is left to do.
type backlog struct {
	// Unrecorded files have no row, images and batches are not at their end.
	Unrecorded, Images, Batches int
}

func (w *world) waiting(ctx context.Context, files int) (b backlog, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	err = w.Database.GetContext(ctx, &b, `
		SELECT $1 - count(DISTINCT file_path) FILTER (WHERE coalesce(reason, '') NOT IN ('replaced', 'file_gone')) AS unrecorded,
		       count(*) FILTER (WHERE state IN ('seen', 'queued', 'detecting', 'batched')) AS images,
		       (SELECT count(*) FROM batches WHERE state NOT IN ('analyzed', 'dead_lettered')) AS batches
		FROM images`, files)
	return b, err
}

// finish compares everything.
func finish(ctx context.Context, w *world, feeder *feeder, result *report,
	say func(what string),
) error {
	say("trying again what was given up")
	if err := requeue(ctx, w, feeder, result); err != nil {
		return err
	}
	if err := w.server.Stop(stopPatience); err != nil {
		result.found(e2e.Misbehaving, err.Error())
	}
	say("comparing")
	run, err := w.Collect(ctx)
	if err != nil {
		return err
	}
	run.Repeated = true
	a := run.Audit()
	disk, err := a.Thumbnails(w.thumbnails)
	if err != nil {
		return err
	}
	result.audited(a, run.Ledger, len(disk.Unnamed))
	say("letting the server remove what the kills left behind")
	if err := w.sweep(ctx, disk.Unnamed, result); err != nil {
		return err
	}
	output, err := w.server.Run(ctx, "check")
	result.check = output
	if err != nil {
		result.found(e2e.Wrong, fmt.Sprintf("hsi check: %v: %s", err, output))
	}
	return nil
}

// requeue lets the images that were given up be tried again, now that the services are well: all
// but the poisoned must succeed.
func requeue(ctx context.Context, w *world, feeder *feeder, result *report) error {
	if err := w.Database.SelectContext(ctx, &result.givenUp, `
		SELECT reason AS cause, count(*) AS count FROM images WHERE state = 'dead_lettered' GROUP BY reason ORDER BY count(*) DESC, reason`); err != nil {
		return fmt.Errorf("count what was given up: %w", err)
	}
	if len(result.givenUp) == 0 {
		return nil
	}
	if output, err := w.server.Run(ctx, "dead-letters", "requeue", "--all"); err != nil {
		return fmt.Errorf("requeue dead letters: %w: %s", err, output)
	}
	w.drain(ctx, len(feeder.Shots())) // what is left now the audit tells
	return context.Cause(ctx)
}

// sweep lets an hour pass for the files that kills left behind, by giving them the time of two
// hours ago, and wants that two starts of the server remove them: the first marks them, the second
// finds the marks due.
func (w *world) sweep(ctx context.Context, unnamed []string, result *report) error {
	if len(unnamed) == 0 {
		return nil
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, rel := range unnamed {
		if err := os.Chtimes(filepath.Join(w.thumbnails, rel), old, old); err != nil {
			return err
		}
	}
	left := func() (n int) {
		for _, rel := range unnamed {
			if _, err := os.Lstat(filepath.Join(w.thumbnails, rel)); err == nil {
				n++
			}
		}
		return n
	}
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	marked := func(marks int) bool { return marks == left() } // what was temporary needs no mark
	swept := func(marks int) bool { return marks == 0 && left() == 0 }
	for _, settled := range []func(marks int) bool{marked, swept} {
		if err := w.server.Start(ctx); err != nil {
			return err
		}
		e2e.Until(limited, 100*time.Millisecond, func() bool {
			var marks int
			err := w.Database.GetContext(limited, &marks, `SELECT count(*) FROM media_deletions`)
			return err == nil && settled(marks) && w.server.ready(limited)
		})
		if err := w.server.Stop(stopPatience); err != nil {
			result.found(e2e.Misbehaving, err.Error())
		}
		if err := w.Order(ctx, `UPDATE media_deletions SET not_before = NULL`); err != nil {
			return err
		}
	}
	if n := left(); n > 0 {
		result.found(e2e.Orphaned, fmt.Sprintf("%d of %d files of no row were not removed", n,
			len(unnamed)))
	}
	return ctx.Err()
}
