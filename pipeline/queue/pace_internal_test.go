package queue

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	require.Equal(t, 32, p.window(now, 0))
	waiting := 0
	// turn lets a time pass in which so many per second are taken, and fills up.
	turn := func(length time.Duration, perSecond float64) int {
		now = now.Add(length)
		waiting = max(0, waiting-int(perSecond*length.Seconds()))
		window := p.window(now, waiting)
		p.add(window - waiting)
		waiting = window
		return window
	}
	turn(time.Second, 0)
	for range 40 {
		turn(100*time.Millisecond, 300)
	}
	require.InDelta(t, 75, turn(100*time.Millisecond, 300), 5, "a quarter of a second of work")
	for range 60 {
		turn(100*time.Millisecond, 1e6)
	}
	require.Equal(t, 1000, turn(100*time.Millisecond, 1e6), "never more")
	after := 0
	for turn(100*time.Millisecond, 2) > 32 {
		after++
	}
	require.InDelta(t, 35, after, 10, "it becomes slow within a few seconds")
	now = now.Add(-time.Hour) // the clock is set back
	require.Equal(t, 32, p.window(now, 0))
	require.Equal(t, 32, p.window(now.Add(time.Millisecond), 0), "nothing is measured in no time")
}

type backlogSource struct {
	source
	backlog Backlog
	err     error
}

func (s *backlogSource) Backlog(context.Context) (Backlog, error) { return s.backlog, s.err }

func TestBacklogWatch(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w := backlogWatch{log: slog.New(slog.NewTextHandler(&log, nil)), what: Detect.what()}
	readAt := time.Date(2026, 11, 23, 12, 10, 0, 0, time.UTC)
	now := readAt.Add(8 * time.Hour) // our own clock is wrong
	source := &backlogSource{}
	look := func(count int64, age time.Duration) string {
		t.Helper()
		oldest := readAt.Add(-age)
		source.backlog = Backlog{Count: count, Oldest: &oldest, ReadAt: readAt}
		now = now.Add(backlogInterval)
		require.NoError(t, w.look(t.Context(), now, source))
		return w.message
	}
	require.Empty(t, look(3, tellAge-time.Millisecond))
	require.Equal(t, "3 images waiting, oldest since 12:09:45Z", look(3, tellAge))
	require.Equal(t, "1,204 images waiting, oldest since 12:05:01Z", look(1204, warnAge-time.Second))
	require.Empty(t, log.String())
	for range 3 {
		require.Equal(t, "1,234,567 images waiting, oldest since 12:05:00Z", look(1234567, warnAge))
	}
	require.Equal(t, 1, strings.Count(log.String(), "work waits long"), "once: %s", log.String())
	require.Contains(t, log.String(), "waiting=1234567 oldest_since=2026-11-23T12:05:00.000Z age=5m0s")
	require.Equal(t, "2 images waiting, oldest since 2026-11-22T12:10:00Z", look(2, 24*time.Hour))
	require.NotEmpty(t, look(2, tellAge))
	require.NotContains(t, log.String(), "no longer")
	require.Empty(t, look(2, time.Second))
	require.Equal(t, 1, strings.Count(log.String(), "work no longer waits long"))
	look(9, warnAge)
	require.Equal(t, 2, strings.Count(log.String(), "work waits long"), "anew")

	source.backlog = Backlog{ReadAt: readAt}
	require.NoError(t, w.look(t.Context(), now, source))
	require.NotEmpty(t, w.message, "not asked again at once")
	require.NoError(t, w.look(t.Context(), now.Add(-time.Hour), source), "the clock is set back")
	require.Empty(t, w.message)
	source.err = errors.New("away")
	require.ErrorIs(t, w.look(t.Context(), now.Add(time.Hour), source), source.err)
	require.Equal(t, "batches", Analyze.what())
}

func TestQueue_TellsThatItRunsLow(t *testing.T) {
	t.Parallel()
	q := New(nil, Detect, slog.New(slog.DiscardHandler))
	low := func() bool {
		select {
		case <-q.low:
			return true
		default:
			return false
		}
	}
	q.took(5)
	require.False(t, low(), "nobody asked")
	q.tellAfter(10)
	q.took(9)
	require.False(t, low())
	q.took(3)
	q.took(1) // told already; does not block
	require.True(t, low())
	require.False(t, low())
	q.tellNever()
	q.took(1000)
	require.False(t, low())
}
