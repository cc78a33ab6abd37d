package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"hsi.home.arpa/store"
)

// requeueTimeout bounds what a requeue waits for the database: many are done in parts.
const requeueTimeout = 5 * time.Minute

// deadLetterPage is how many dead letters one query reads.
const deadLetterPage = 500

type listDeadLetters struct {
	Cause string
}

// Run prints every selected dead letter.
func (c listDeadLetters) Run(ctx context.Context) error {
	cfg, err := settingsFromEnvironment()
	if err != nil {
		return err
	}
	return withDatabase(ctx, cfg, queryTimeout, func(ctx context.Context, db *store.DB) error {
		return printDeadLetters(ctx, os.Stdout, db, store.DeadLetterSelection{Cause: c.Cause})
	})
}

func printDeadLetters(ctx context.Context, w io.Writer, db *store.DB, selection store.DeadLetterSelection) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) error {
		_, err := fmt.Fprintf(table, format+"\n", args...)
		return err
	}
	after, count := int64(0), 0
	for {
		page, err := db.DeadLetters(ctx, selection, after, deadLetterPage)
		if err != nil {
			return err
		}
		for _, letter := range page {
			if count == 0 {
				if err := line("IMAGE\tCAMERA\tATTEMPTS\tLAST FAILED\tCAUSE\tFILE"); err != nil {
					return err
				}
			}
			count++
			after = letter.ImageID
			if err := line("%d\t%s\t%d\t%s\t%s\t%s", letter.ImageID, letter.CameraID, letter.Attempts, timeOrDash(letter.LastFailedAt),
				letter.Cause, letter.FilePath); err != nil {
				return err
			}
		}
		if len(page) < deadLetterPage {
			break
		}
	}
	if count == 0 {
		if err := line("no dead letters"); err != nil {
			return err
		}
	}
	return table.Flush()
}

func timeOrDash(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

type requeueDeadLetters struct {
	IDs   []int64
	Cause string
	All   bool
}

// Run makes the selected images wait again and says how many.
func (c requeueDeadLetters) Run(ctx context.Context) error {
	chosen := 0
	for _, given := range []bool{c.All, c.Cause != "", len(c.IDs) > 0} {
		if given {
			chosen++
		}
	}
	if chosen != 1 {
		return startError{errors.New("say which images, in one of these ways: image ids, --cause, --all")}
	}
	cfg, err := settingsFromEnvironment()
	if err != nil {
		return err
	}
	return withDatabase(ctx, cfg, requeueTimeout, func(ctx context.Context, db *store.DB) error {
		selection := store.DeadLetterSelection{ImageIDs: c.IDs, Cause: c.Cause}
		count, err := db.RequeueDeadLetters(ctx, selection, store.Actor{Name: "cli"})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(os.Stdout, "images that wait again: %d\n", count)
		return err
	})
}
