package intake

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

type silent struct{}

func (silent) Beat()      {}
func (silent) Say(string) {}

// newTestSession makes a session that listens to a kernel that tells nothing.
func newTestSession(c *clock) *session {
	w := New(Options{Root: "/cameras", Log: slog.New(slog.DiscardHandler), Now: c.now})
	s := newSession(w, silent{}, fileID{}, func(func() error) {})
	s.notifier = &notifier{}
	return s
}

// TestSession_FilesBringTheTickForwardAndNeverPutItOff: a steady stream of files, each recorded at
// once, would else put it off for ever.
func TestSession_FilesBringTheTickForwardAndNeverPutItOff(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	s := newTestSession(&clock{at: start})
	s.tickAt = start.Add(idleTick)
	require.Equal(t, idleTick, s.untilTick(start))
	now := start.Add(100 * time.Millisecond)
	s.files["/cameras/front/a.jpg"] = &pending{}
	require.Equal(t, tick, s.untilTick(now))
	clear(s.files)
	for passed := time.Duration(0); passed <= tick; passed += tick / 10 {
		require.Equal(t, tick-passed, s.untilTick(now.Add(passed)), "after %v", passed)
	}
	require.Zero(t, s.untilTick(now.Add(2*tick)), "at once when it is late")
}

// TestSession_OneFolderDoesNotPutOffTheScanOfAll: cameras that make a folder each hour would else
// never have a scan of the whole.
func TestSession_OneFolderDoesNotPutOffTheScanOfAll(t *testing.T) {
	t.Parallel()
	c := &clock{at: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	s := newTestSession(c)
	s.scanEnded(t.Context(), scanEnd{dir: "/cameras"})
	due := c.at.Add(time.Hour)
	require.Equal(t, due, s.scanDueAt)

	c.at = c.at.Add(40 * time.Minute)
	s.scanEnded(t.Context(), scanEnd{dir: "/cameras/front/2026-11-01"})
	require.Equal(t, due, s.scanDueAt)
	s.crowded = true
	s.scanEnded(t.Context(), scanEnd{dir: "/cameras/front/2026-11-01"})
	require.Equal(t, c.at.Add(crowdedPause), s.scanDueAt, "sooner when files had no room")
	s.scanEnded(t.Context(), scanEnd{dir: "/cameras/front", err: errors.New("broken")})
	require.Equal(t, c.at.Add(2*time.Second), s.scanDueAt, "and when a folder could not be scanned")

	c.at = due
	s.wantScan("/cameras")
	s.scanEnded(t.Context(), scanEnd{dir: "/cameras/front"})
	require.True(t, s.scanDueAt.IsZero(), "one that is asked for needs no time")
	require.Equal(t, []string{"/cameras"}, s.scanWanted)
	s.scanWanted = nil
	s.scanEnded(t.Context(), scanEnd{dir: "/cameras"})
	require.Equal(t, due.Add(time.Hour), s.scanDueAt)
}
