package seen

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

// TestCache_Bounded: what was used longest ago goes when there is no more room, and what would take
// most of the room is not kept at all.
func TestCache_Bounded(t *testing.T) {
	t.Parallel()
	c := newCache[int, string](1000)
	for key := range 10 {
		c.add(key, "old", 100)
	}
	c.add(9, "new", 120)
	_, ok := c.get(0)
	require.False(t, ok, "the oldest")
	value, ok := c.get(9)
	require.True(t, ok)
	require.Equal(t, "new", value)
	_, ok = c.get(1)
	require.True(t, ok)
	c.add(10, "next", 80) // 1,000 of 1,000 bytes
	_, ok = c.get(2)
	require.True(t, ok)
	c.add(11, "next", 1)
	_, ok = c.get(3)
	require.False(t, ok, "the oldest: 1 and 2 were used")
	c.add(1, "large", 126)
	_, ok = c.get(1)
	require.False(t, ok, "too large, and what was there is no longer right")
}

// TestEvents_ARemovedDetectionShowsSoon: it moves nothing, so that its event shows it until the
// page is too old.
func TestEvents_ARemovedDetectionShowsSoon(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	exec := func(query string) {
		_, err := db.SQL().ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	exec(`INSERT INTO cameras (id, name, folder_path) VALUES ('gate', 'Gate', '/cameras/gate')`)
	exec(`INSERT INTO events (id, camera_id, started_at) VALUES (1, 'gate', now())`)
	exec(`INSERT INTO detections (camera_id, file_path, detected_at, event_id)
		VALUES ('gate', '/cameras/gate/1.jpg', now(), 1)`)
	s := New(db)
	now := time.Now()
	s.pages.now = func() time.Time { return now }
	detections := func() int {
		listed, err := s.Events(t.Context(), EventFilter{}, Page{Limit: 5})
		require.NoError(t, err)
		require.Len(t, listed.Rows, 1)
		return len(listed.Rows[0].DetectionIDs)
	}
	require.Equal(t, 1, detections())
	exec(`DELETE FROM detections`)
	now = now.Add(keptPageAge)
	require.Zero(t, detections())
}
