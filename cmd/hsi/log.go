package main

import (
	"io"
	"log/slog"
	"os"
)

// newLogger prints records as text for a person at a terminal and as JSON for everything else.
func newLogger(w io.Writer, cfg Config) *slog.Logger { return slog.New(newLogHandler(w, cfg)) }

func newLogHandler(w io.Writer, cfg Config) slog.Handler {
	options := &slog.HandlerOptions{Level: cfg.LogLevel.slogLevel(), ReplaceAttr: readableDuration}
	if file, ok := w.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.NewTextHandler(w, options)
		}
	}
	return slog.NewJSONHandler(w, options)
}

// readableDuration writes durations with their unit; JSON would show bare nanoseconds.
func readableDuration(_ []string, attr slog.Attr) slog.Attr {
	if attr.Value.Kind() == slog.KindDuration {
		attr.Value = slog.StringValue(attr.Value.Duration().String())
	}
	return attr
}
