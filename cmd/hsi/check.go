package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/retention"
)

// checkTimeout bounds a check: it reads every row that names a file.
const checkTimeout = 2 * time.Hour

// errFindings means that a check found something that it did not mend.
var errFindings = errors.New("the check found disagreements; `hsi check --repair` mends what is safe to mend")

type checkCommand struct {
	Repair bool
}

// Run checks that rows, files, counters and the ledger agree, beside the running server. It exits
// with 0 when they do or when all was mended, with 3 when something is left, and with 1 when the
// check could not be finished.
func (c checkCommand) Run(ctx context.Context) error {
	cfg, err := settingsFromEnvironment()
	if err != nil {
		return err
	}
	return withDatabase(ctx, cfg, checkTimeout, func(ctx context.Context, db *store.DB) error {
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		files, err := media.New(media.Options{DB: db, Thumbnails: cfg.ThumbnailsDir, Clips: cfg.ClipsDir, Cameras: cfg.CameraRoot, Log: log})
		if err != nil {
			return startError{err}
		}
		service, err := retention.New(retention.Options{
			DB: db, Media: files, Log: log,
			RetentionDays: func(context.Context) (int, error) { return cfg.RetentionDays, nil }, // a check deletes nothing by age
		})
		if err != nil {
			return startError{err}
		}
		report, err := service.Check(ctx, c.Repair)
		return errors.Join(printCheck(os.Stdout, report), err)
	})
}

// printCheck writes one line per finding and returns errFindings when something is left.
func printCheck(w io.Writer, report retention.CheckReport) error {
	left := int64(0)
	for _, f := range report.Findings {
		left += f.Count - f.Repaired
		if _, err := fmt.Fprintf(w, "%s: %d found, %d mended. %s\n", f.Name, f.Count, f.Repaired, f.Meaning); err != nil {
			return err
		}
		for _, example := range f.Examples {
			if _, err := fmt.Fprintf(w, "  %s\n", example); err != nil {
				return err
			}
		}
	}
	if left > 0 {
		return errFindings
	}
	_, err := fmt.Fprintln(w, "rows, files, counters and the ledger agree")
	return err
}
