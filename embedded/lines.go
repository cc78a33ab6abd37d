package embedded

import (
	"log/slog"
	"strings"
	"time"
)

const (
	// lineBudget is how many lines of a server's output are logged in each lineWindow; the rest is
	// counted.
	lineBudget = 200
	lineWindow = 10 * time.Second
)

// lineLog passes a server's output to the log, at debug level and bounded. It is used by one
// goroutine at a time.
type lineLog struct {
	log     *slog.Logger
	now     func() time.Time
	begun   time.Time
	count   int
	dropped int
}

func newLineLog(log *slog.Logger, now func() time.Time) *lineLog {
	return &lineLog{log: log, now: now}
}

func (l *lineLog) add(line string) {
	if strings.Contains(line, "PANIC:") {
		l.log.Error("server panics", "line", line)
		return
	}
	if now := l.now(); now.Sub(l.begun) >= lineWindow {
		if l.dropped > 0 {
			l.log.Debug("server printed more than is logged", "dropped", l.dropped)
		}
		l.begun, l.count, l.dropped = now, 0, 0
	}
	if l.count >= lineBudget {
		l.dropped++
		return
	}
	l.count++
	l.log.Debug("server output", "line", line)
}
