package seen_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/seen"
)

// TestEvents_KeptPagesFollowEveryChange: a list that was read before shows each change of any
// program at once, whichever filter can tell it.
func TestEvents_KeptPagesFollowEveryChange(t *testing.T) {
	t.Parallel()
	e := setup(t)
	first := e.insert(row{camera: "front", startedAt: base(), score: 20, level: "low"})
	second := e.insert(row{camera: "attic", startedAt: base().Add(time.Hour), score: 95, level: "high"})
	low, high := 20, 90
	filters := map[string]seen.EventFilter{
		"all":        {},
		"camera":     {CameraIDs: []string{"front"}},
		"level":      {RiskLevels: []string{"high"}},
		"score":      {MinScore: &low},
		"high score": {MinScore: &high},
		"reviewed":   {Reviewed: new(true)},
		"objects":    {ObjectTypes: []string{"vehicle"}},
		"date":       {From: new(base().Add(30 * time.Minute))},
	}
	read := func(name string) []int64 {
		listed, err := e.Events(t.Context(), filters[name], seen.Page{Limit: 10})
		require.NoError(t, err)
		require.Equal(t, int64(len(listed.Rows)), listed.Count, name)
		return ids(listed.Rows, eventID)
	}
	expect := func(want map[string][]int64) {
		t.Helper()
		for name := range filters {
			require.ElementsMatch(t, want[name], read(name), name)
			require.ElementsMatch(t, want[name], read(name), "%s, kept", name)
		}
	}
	expect(map[string][]int64{
		"all": {first, second}, "camera": {first}, "level": {second}, "score": {first, second},
		"high score": {second}, "date": {second},
	})
	e.exec(`UPDATE events SET reviewed = true WHERE id = $1`, first)
	e.exec(`UPDATE events SET risk_score = 10 WHERE id = $1`, second)
	expect(map[string][]int64{
		"all": {first, second}, "camera": {first}, "level": {second}, "score": {first},
		"reviewed": {first}, "date": {second},
	})
	e.detect("front", "car", base(), &first)
	expect(map[string][]int64{
		"all": {first, second}, "camera": {first}, "level": {second}, "score": {first},
		"reviewed": {first}, "objects": {first}, "date": {second},
	})
	later := e.detect("attic", "Bus", base(), nil)
	e.exec(`UPDATE detections SET event_id = $1 WHERE id = $2`, second, later)
	e.exec(`UPDATE events SET camera_id = 'garden', risk_level = 'high' WHERE id = $1`, first)
	expect(map[string][]int64{
		"all": {first, second}, "level": {first, second}, "score": {first}, "reviewed": {first},
		"objects": {first, second}, "date": {second},
	})
	e.exec(`DELETE FROM events WHERE id = $1`, second)
	e.exec(`UPDATE events SET started_at = started_at + interval '2 days' WHERE id = $1`, first)
	expect(map[string][]int64{
		"all": {first}, "level": {first}, "score": {first}, "reviewed": {first},
		"objects": {first}, "date": {first},
	})
	third := e.insert(row{camera: "front", startedAt: base(), score: 99, level: "low", objects: "truck"})
	e.exec(`DELETE FROM events WHERE id = $1`, first)
	expect(map[string][]int64{
		"all": {third}, "camera": {third}, "score": {third}, "high score": {third},
		"objects": {third},
	})
	e.exec(`TRUNCATE events CASCADE`)
	expect(nil)
}
