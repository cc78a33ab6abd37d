package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"hsi.home.arpa/embedded"
	"hsi.home.arpa/store"
)

// queryTimeout bounds what a command line tool waits for the database.
const queryTimeout = 10 * time.Second

// maxEvents bounds what one call prints.
const maxEvents = 10_000

type eventsCommand struct {
	Limit int
}

// Run prints the newest events, oldest first, from the database of a running server.
func (c eventsCommand) Run(ctx context.Context) error {
	if c.Limit < 1 || c.Limit > maxEvents {
		return startError{fmt.Errorf("--limit: must be from 1 to %d", maxEvents)}
	}
	cfg, err := settingsFromEnvironment()
	if err != nil {
		return err
	}
	return withDatabase(ctx, cfg, queryTimeout, func(ctx context.Context, db *store.DB) error {
		events, err := db.LatestEvents(ctx, c.Limit)
		if err != nil {
			return err
		}
		slices.Reverse(events)
		return printEvents(os.Stdout, events)
	})
}

func printEvents(w io.Writer, events []store.Event) error {
	if len(events) == 0 {
		_, err := fmt.Fprintln(w, "no events yet")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	lines := []string{"ID\tSTARTED\tCAMERA\tSCORE\tLEVEL\tBY\tSUMMARY"}
	for _, e := range events {
		score := "-"
		if e.RiskScore != nil {
			score = fmt.Sprint(*e.RiskScore)
		}
		lines = append(lines, fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%s\t%s",
			e.ID, e.StartedAt.Local().Format(time.DateTime+" MST"), e.CameraID, score, orDash(e.RiskLevel), orDash(e.Analyzer), orDash(e.Summary)))
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(table, line); err != nil {
			return err
		}
	}
	return table.Flush()
}

func orDash(s *string) string {
	if s == nil || *s == "" {
		return "-"
	}
	return *s
}

// withDatabase gives a command the database that the server with the same settings uses.
func withDatabase(ctx context.Context, cfg Config, timeout time.Duration, use func(ctx context.Context, db *store.DB) error) error {
	url := string(cfg.DatabaseURL)
	if url == "" {
		// Asking where the database is would make its folders.
		if _, err := os.Stat(cfg.DataDir); errors.Is(err, fs.ErrNotExist) {
			return startError{fmt.Errorf("DATA_DIR: there is no folder %s: set it to that of the server, or start the server first", cfg.DataDir)}
		}
		postgres, err := embedded.NewPostgres(embedded.PostgresOptions{
			DataDir: cfg.DataDir, BinDirs: cfg.depsDirs(), Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return startError{err}
		}
		url = postgres.URL()
	}
	db, err := store.Open(store.Config{URL: url, Log: slog.New(slog.DiscardHandler), MaxOpenConns: 4})
	if err != nil {
		return startError{err}
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err = db.Adopt(ctx); err == nil {
		err = use(ctx, db)
	}
	if errors.Is(err, store.ErrUnavailable) {
		return fmt.Errorf("the database does not answer: is the server running, with these settings and as this user? (%w)", err)
	}
	return err
}
