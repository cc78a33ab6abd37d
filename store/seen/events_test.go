package seen_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/seen"
)

// TestEvents_EachFilter: every filter, alone and with every other one, leaves exactly the rows that
// a look at each row leaves, in order, whatever the page's size.
func TestEvents_EachFilter(t *testing.T) {
	t.Parallel()
	e := setup(t)
	random := rand.New(rand.NewPCG(7, 7))
	levels, objects := []string{"low", "medium", "high", "critical", ""}, []string{"person", "car", "dog", "car, dog", ""}
	cameras := []string{"attic", "front", "garden"}
	rows := map[int64]row{}
	for range 300 {
		r := row{
			camera: cameras[random.IntN(3)], startedAt: base().Add(time.Duration(random.IntN(96)) * 30 * time.Minute),
			score: random.IntN(101), level: levels[random.IntN(5)], reviewed: random.IntN(2) == 0, objects: objects[random.IntN(len(objects))],
		}
		rows[e.insert(r)] = r
	}
	zone, err := time.LoadLocation("Asia/Kathmandu")
	require.NoError(t, err)
	// Each condition: how it is asked for, and how it is seen.
	conditions := []struct {
		ask func(*seen.EventFilter)
		fit func(row) bool
	}{
		{func(f *seen.EventFilter) { f.CameraIDs = []string{"front", "garden", "nowhere"} }, func(r row) bool { return r.camera != "attic" }},
		{func(f *seen.EventFilter) { f.RiskLevels = []string{"high", "critical"} }, func(r row) bool { return r.level == "high" || r.level == "critical" }},
		{func(f *seen.EventFilter) { f.ObjectTypes = []string{"Vehicle", "dog"} }, func(r row) bool {
			return strings.Contains(r.objects, "car") || strings.Contains(r.objects, "dog")
		}},
		{func(f *seen.EventFilter) { f.Reviewed = new(false) }, func(r row) bool { return !r.reviewed }},
		{func(f *seen.EventFilter) { f.MinScore = new(57) }, func(r row) bool { return r.score >= 57 }},
		{func(f *seen.EventFilter) { f.From = new(base().Add(5 * time.Hour)) }, func(r row) bool {
			return !r.startedAt.Before(base().Add(5 * time.Hour))
		}},
		{func(f *seen.EventFilter) { f.Before = new(base().Add(30 * time.Hour)) }, func(r row) bool {
			return r.startedAt.Before(base().Add(30 * time.Hour))
		}},
		{func(f *seen.EventFilter) {
			f.Hours, f.Zone = &seen.Hours{From: 22 * 60, Before: 6*60 + 30}, zone.String()
		}, func(r row) bool {
			clock := r.startedAt.In(zone).Hour()*60 + r.startedAt.In(zone).Minute()
			return clock >= 22*60 || clock < 6*60+30
		}},
	}
	for chosen := range 1 << len(conditions) {
		var filter seen.EventFilter
		var want []int64
		for i, c := range conditions {
			if chosen>>i&1 == 1 {
				c.ask(&filter)
			}
		}
	nextRow:
		for id, r := range rows {
			for i, c := range conditions {
				if chosen>>i&1 == 1 && !c.fit(r) {
					continue nextRow
				}
			}
			want = append(want, id)
		}
		slices.SortFunc(want, func(a, b int64) int {
			if d := rows[b].startedAt.Compare(rows[a].startedAt); d != 0 {
				return d
			}
			return int(b - a)
		})
		limit := 1 + random.IntN(150)
		page := seen.Page{Limit: limit, Ascending: chosen%3 == 0}
		if page.Ascending {
			slices.Reverse(want)
		}
		var got []int64
		for {
			listed, err := e.Events(t.Context(), filter, page)
			require.NoError(t, err)
			require.EqualValues(t, len(want), listed.Count, "%+v", filter)
			require.False(t, listed.CountIsMinimum)
			got = append(got, ids(listed.Rows, eventID)...)
			if page.After = listed.Next; page.After == nil {
				break
			}
		}
		require.Equal(t, append([]int64{}, want...), append([]int64{}, got...), "%+v", filter)
		if len(want) > 1 {
			listed, err := e.Events(t.Context(), filter, seen.Page{Limit: 1, Offset: 1, Ascending: page.Ascending})
			require.NoError(t, err)
			require.Equal(t, want[1:2], ids(listed.Rows, eventID))
		}
	}
}

// TestEvents_CursorWhileRowsComeAndGo: of the rows that are there all the time none is skipped and
// none shown twice, whatever else comes and goes and however many began at the same time.
func TestEvents_CursorWhileRowsComeAndGo(t *testing.T) {
	t.Parallel()
	e := setup(t)
	random := rand.New(rand.NewPCG(1, 2))
	at := func() time.Time { return base().Add(time.Duration(random.IntN(12)) * time.Microsecond) }
	stay := map[int64]bool{}
	var others []int64
	for i := range 200 {
		if id := e.insert(row{camera: "front", startedAt: at()}); i%2 == 0 {
			stay[id] = true
		} else {
			others = append(others, id)
		}
	}
	page := seen.Page{Limit: 7}
	shown := map[int64]int{}
	for {
		listed, err := e.Events(t.Context(), seen.EventFilter{CameraIDs: []string{"front"}}, page)
		require.NoError(t, err)
		for _, event := range listed.Rows {
			shown[event.ID]++
		}
		if page.After = listed.Next; page.After == nil {
			break
		}
		for range 3 {
			e.insert(row{camera: "front", startedAt: at()})
			if len(others) > 0 {
				gone := random.IntN(len(others))
				e.exec(`DELETE FROM events WHERE id = $1`, others[gone])
				others = slices.Delete(others, gone, gone+1)
			}
		}
	}
	for id := range stay {
		require.Equal(t, 1, shown[id], "event %d", id)
	}
	for id, times := range shown {
		require.Equal(t, 1, times, "event %d", id)
	}
}

// TestEvents_BoundedSearch: filters that fit few of many rows end in a short page that goes on, and
// in the end every row that fits was shown.
func TestEvents_BoundedSearch(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.exec(`INSERT INTO events (camera_id, started_at, risk_score, risk_level)
		SELECT 'front', $1::timestamptz + n * interval '1 second', 20, 'low' FROM generate_series(1, 12000) AS n`, base())
	e.exec(`UPDATE events SET reviewed = true WHERE id IN (10, 11000)`)
	filter := seen.EventFilter{RiskLevels: []string{"low"}, Reviewed: new(true)}
	page, pages := seen.Page{Limit: 5}, 0
	var got []int64
	for {
		listed, err := e.Events(t.Context(), filter, page)
		require.NoError(t, err)
		require.EqualValues(t, 2, listed.Count)
		got = append(got, ids(listed.Rows, eventID)...)
		pages++
		if page.After = listed.Next; page.After == nil {
			break
		}
	}
	require.Equal(t, []int64{11000, 10}, got)
	require.Equal(t, 3, pages)
	// Counting ends at 10,000, and says so.
	listed, err := e.Events(t.Context(), seen.EventFilter{}, seen.Page{Limit: 1})
	require.NoError(t, err)
	require.EqualValues(t, seen.MaxCount, listed.Count)
	require.True(t, listed.CountIsMinimum)
}

// TestEvents_OfOtherPrograms: detections named by a JSON array, in its order; what is gone is left
// out, and what is no array names none.
func TestEvents_OfOtherPrograms(t *testing.T) {
	t.Parallel()
	e := setup(t)
	a, b := e.detect("front", "Person", base(), nil), e.detect("front", "car", base().Add(time.Second), nil)
	id := e.insert(row{camera: "front", startedAt: base(), detectionIDs: fmt.Sprintf("[%d, %d,99999, %d]", b, a, b)})
	detail, err := e.Event(t.Context(), id, 10)
	require.NoError(t, err)
	require.Equal(t, []int64{b, a}, []int64(detail.DetectionIDs))
	require.Equal(t, []string{"car", "person"}, []string(detail.ObjectTypes))
	require.Equal(t, []int64{a, b}, ids(detail.Detections, func(d seen.Detection) int64 { return d.ID }))
	require.Equal(t, seen.Stages{}, detail.Stages)
	require.Equal(t, "FRONT", *detail.CameraName)
	require.Nil(t, detail.RiskLevel)
	listed, err := e.Events(t.Context(), seen.EventFilter{ObjectTypes: []string{"vehicle"}}, seen.Page{Limit: 5})
	require.NoError(t, err)
	require.Equal(t, []int64{id}, ids(listed.Rows, eventID))

	for _, odd := range []string{"", "null", "[]", "{}", `["a"]`, "[1.5]", "[-1]", "[999999999999999999999]", "7"} {
		other := e.insert(row{camera: "front", startedAt: base(), detectionIDs: odd})
		detail, err := e.Event(t.Context(), other, 10)
		require.NoError(t, err, odd)
		require.Empty(t, detail.DetectionIDs, odd)
	}
	// A detection that is tied later is in the filter too, and a moved event is at its new place.
	late := e.insert(row{camera: "front", startedAt: base()})
	e.exec(`UPDATE detections SET event_id = $1 WHERE id = $2`, late, b)
	e.exec(`UPDATE events SET started_at = started_at + interval '1 day', camera_id = 'garden' WHERE id = $1`, late)
	listed, err = e.Events(t.Context(), seen.EventFilter{ObjectTypes: []string{"car"}, CameraIDs: []string{"garden"}}, seen.Page{Limit: 5})
	require.NoError(t, err)
	require.Equal(t, []int64{late}, ids(listed.Rows, eventID))
	_, err = e.Event(t.Context(), 987654, 1)
	require.ErrorIs(t, err, store.ErrNotFound)
}

// TestUpdateEvent: what is changed is stored with an audit entry, what is not has none.
func TestUpdateEvent(t *testing.T) {
	t.Parallel()
	e := setup(t)
	id := e.insert(row{camera: "front", startedAt: base(), level: "high"})
	for _, step := range []struct {
		update   seen.EventUpdate
		reviewed bool
		notes    string
		action   string
	}{
		{seen.EventUpdate{}, false, "", ""},
		{seen.EventUpdate{Reviewed: new(true)}, true, "", "event_reviewed"},
		{seen.EventUpdate{Reviewed: new(true)}, true, "", ""},
		{seen.EventUpdate{Notes: new("postman")}, true, "postman", "event_reviewed"},
		{seen.EventUpdate{Reviewed: new(false)}, false, "postman", "event_dismissed"},
		{seen.EventUpdate{Notes: new("")}, false, "", "event_reviewed"},
	} {
		before := e.audited()
		event, err := e.UpdateEvent(t.Context(), id, step.update, actor)
		require.NoError(t, err)
		require.Equal(t, step.reviewed, event.Reviewed)
		if step.notes == "" {
			require.Nil(t, event.Notes)
		} else {
			require.Equal(t, step.notes, *event.Notes)
		}
		after := e.audited()
		if step.action == "" {
			require.Equal(t, before, after)
			continue
		}
		require.Len(t, after, len(before)+1)
		require.Equal(t, step.action, after[0].Action)
		require.Equal(t, fmt.Sprint(id), *after[0].ResourceID)
	}
	_, err := e.UpdateEvent(t.Context(), id+1, seen.EventUpdate{Reviewed: new(true)}, actor)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func (e *env) audited() []store.AuditEntry {
	e.t.Helper()
	entries, err := e.db.AuditEntries(e.t.Context(), 1000)
	require.NoError(e.t, err)
	return entries
}

func TestReviewEvents(t *testing.T) {
	t.Parallel()
	e := setup(t)
	a, b := e.insert(row{camera: "front", startedAt: base()}), e.insert(row{camera: "front", startedAt: base(), reviewed: true})
	n, err := e.ReviewEvents(t.Context(), []int64{a, b, 999}, actor)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.Len(t, e.audited(), 1)
	n, err = e.ReviewEvents(t.Context(), []int64{a, b, 999}, actor)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Len(t, e.audited(), 1)
}

// TestSearch: the ways in which people write, a camera's present name, and texts that mean nothing.
func TestSearch(t *testing.T) {
	t.Parallel()
	e := setup(t)
	door := e.insert(row{camera: "front", startedAt: base(), summary: "A person waits at the door", level: "high"})
	cat := e.insert(row{camera: "garden", startedAt: base().Add(time.Second), summary: "A cat crosses the lawn", objects: "cat"})
	car := e.detect("attic", "car", base(), nil)
	named := e.insert(row{camera: "attic", startedAt: base().Add(2 * time.Second), summary: "Something moves", detectionIDs: fmt.Sprintf("[%d]", car)})
	for words, want := range map[string][]int64{
		"person": {door}, "persons door": {door}, `"waits at the door"`: {door}, `"door waits"`: {},
		"cat OR person": {cat, door}, "NOT cat": {named, door}, "-cat -something": {door}, "lawn NOT cat": {},
		"garden": {cat}, "garden cat": {cat}, "garden person": {}, "car": {named}, "  ": {named, cat, door},
		"the": {}, "'": {}, `"`: {}, "& | ! ( ) : * <->": {}, "OR": {}, "\x00": {named, cat, door}, "\xff": {named, cat, door}, "a:*b": {}, `\`: {},
	} {
		matches, err := e.Search(t.Context(), words, seen.EventFilter{}, 10, 0)
		require.NoError(t, err, "%q", words)
		got := ids(matches.Rows, func(m seen.Match) int64 { return m.ID })
		if strings.Contains(words, "OR") || words == "  " || words == "NOT cat" {
			require.ElementsMatch(t, want, got, "%q", words)
		} else {
			require.Equal(t, want, got, "%q", words)
		}
		require.EqualValues(t, len(want), matches.Count, "%q", words)
	}
	e.exec(`UPDATE cameras SET name = 'Orchard' WHERE id = 'garden'`)
	matches, err := e.Search(t.Context(), "orchard", seen.EventFilter{RiskLevels: []string{"low"}}, 10, 0)
	require.NoError(t, err)
	require.Empty(t, matches.Rows)
	matches, err = e.Search(t.Context(), "orchard", seen.EventFilter{ObjectTypes: []string{"animal"}, Reviewed: new(false)}, 1, 0)
	require.NoError(t, err)
	require.Equal(t, []int64{cat}, ids(matches.Rows, func(m seen.Match) int64 { return m.ID }))
	matches, err = e.Search(t.Context(), "cat", seen.EventFilter{}, 1, 5)
	require.NoError(t, err)
	require.Empty(t, matches.Rows)
	require.EqualValues(t, 1, matches.Count)
}

// TestStatsAndSummary: both count what a look at each row counts.
func TestStatsAndSummary(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.insert(row{camera: "front", startedAt: base(), level: "high"})
	e.insert(row{camera: "front", startedAt: base().Add(time.Hour), level: "high", reviewed: true})
	e.insert(row{camera: "garden", startedAt: base().Add(25 * time.Hour)})
	stats, err := e.EventStats(t.Context(), nil, nil)
	require.NoError(t, err)
	require.EqualValues(t, 3, stats.Total)
	require.Equal(t, map[string]int64{"high": 2}, stats.ByLevel)
	require.Equal(t, []seen.CameraCount{{"front", "FRONT", 2}, {"garden", "GARDEN", 1}}, stats.ByCamera)
	stats, err = e.EventStats(t.Context(), new(base().Add(time.Hour)), new(base().Add(25*time.Hour)))
	require.NoError(t, err)
	require.EqualValues(t, 1, stats.Total)

	day := base().Truncate(24 * time.Hour)
	bounds := []time.Time{day, day.AddDate(0, 0, 1), day.AddDate(0, 0, 2)}
	buckets := e.sums(bounds, nil, nil)
	require.Equal(t, []bucket{{0, "front", new("high"), 2, 1}, {1, "garden", nil, 1, 1}}, buckets)
	buckets = e.sums(bounds, []string{"attic"}, nil)
	require.Empty(t, buckets)
}

// TestSummary_Changes: what any program changes shows at once, in sums that were asked for before.
func TestSummary_Changes(t *testing.T) {
	t.Parallel()
	e := setup(t)
	day := base().Truncate(24 * time.Hour)
	bounds := []time.Time{day.Add(-2 * time.Hour), day.Add(22 * time.Hour), day.Add(46 * time.Hour)} // two UTC days each
	sums := func() (sums [2][2]int64) {
		t.Helper()
		buckets := e.sums(bounds, nil, nil)
		for _, of := range buckets {
			sums[of.Index][0] += of.Events
			sums[of.Index][1] += of.Unreviewed
		}
		return sums
	}
	require.Equal(t, [2][2]int64{}, sums())
	id := e.insert(row{camera: "front", startedAt: day.Add(-time.Hour)})
	other := e.insert(row{camera: "front", startedAt: day.Add(23 * time.Hour)})
	require.Equal(t, [2][2]int64{{1, 1}, {1, 1}}, sums())
	e.exec(`UPDATE events SET reviewed = true WHERE id = $1`, id)
	require.Equal(t, [2][2]int64{{1, 0}, {1, 1}}, sums())
	e.exec(`UPDATE events SET started_at = started_at + interval '1 day' WHERE id = $1`, id)
	require.Equal(t, [2][2]int64{{0, 0}, {2, 1}}, sums())
	e.exec(`UPDATE events SET notes = 'x'`)
	require.Equal(t, [2][2]int64{{0, 0}, {2, 1}}, sums())
	e.exec(`DELETE FROM events WHERE id = $1`, other)
	require.Equal(t, [2][2]int64{{0, 0}, {1, 0}}, sums())
	e.exec(`TRUNCATE events CASCADE`)
	require.Equal(t, [2][2]int64{}, sums())
	e.insert(row{camera: "front", startedAt: day.Add(23 * time.Hour)})
	require.Equal(t, [2][2]int64{{0, 0}, {1, 1}}, sums())
}

// TestSummary_ObjectTypes: an event counts once when it has one of the kinds, whoever wrote it and
// however its objects are told, and at once when they change.
func TestSummary_ObjectTypes(t *testing.T) {
	t.Parallel()
	e := setup(t)
	day := base().Truncate(24 * time.Hour)
	bounds := []time.Time{day, day.AddDate(0, 0, 1), day.AddDate(0, 0, 2)}
	sum := func(cameraIDs []string, types ...string) []bucket {
		t.Helper()
		buckets := e.sums(bounds, cameraIDs, types)
		return buckets
	}
	ours := e.insert(row{camera: "front", startedAt: base(), level: "high"})
	e.detect("front", "Car", base(), &ours)
	e.detect("front", "truck", base(), &ours)
	dog := e.detect("garden", "dog", base(), nil)
	e.insert(row{
		camera: "garden", startedAt: base(), reviewed: true, detectionIDs: fmt.Sprintf("[%d]", dog),
	})
	e.insert(row{camera: "garden", startedAt: bounds[1], level: "low", objects: "person, car"})
	e.insert(row{camera: "attic", startedAt: bounds[1].Add(-time.Microsecond), objects: "Person"})
	e.insert(row{camera: "front", startedAt: base(), level: "high"}) // nothing was found
	for _, outside := range []time.Time{bounds[0].Add(-time.Microsecond), bounds[2]} {
		e.insert(row{camera: "front", startedAt: outside, objects: "person, car, dog"})
	}

	vehicles := []bucket{
		{0, "front", new("high"), 1, 1}, {1, "garden", new("low"), 1, 1},
	}
	require.Len(t, sum(nil), 4, "the sums without types are kept, and no others are taken for them")
	require.Equal(t, vehicles, sum(nil, "vehicle"))
	require.Equal(t, vehicles, sum(nil, "VEHICLE", "car", "truck"))
	require.Equal(t, vehicles[:1], sum([]string{"front", "attic"}, "vehicle"))
	require.Equal(t, []bucket{{0, "garden", nil, 1, 0}}, sum(nil, "animal"))
	require.Equal(t, []bucket{{0, "attic", nil, 1, 1}, {1, "garden", new("low"), 1, 1}},
		sum(nil, "person"))
	require.Empty(t, sum(nil, "giraffe"))
	require.Empty(t, sum([]string{"attic"}, "vehicle"))
	require.Len(t, sum(nil), 4)

	e.detect("front", "giraffe", base(), &ours)
	require.Equal(t, vehicles[:1], sum(nil, "giraffe"))
	e.exec(`UPDATE events SET started_at = $2, reviewed = true WHERE id = $1`, ours, bounds[1])
	require.Equal(t, []bucket{{1, "front", new("high"), 1, 0}}, sum(nil, "giraffe"))
	e.exec(`DELETE FROM events WHERE id = $1`, ours)
	require.Empty(t, sum(nil, "giraffe"))
}

// TestSummary_TheLastDay: days end, also at the end of what dates have room for.
func TestSummary_TheLastDay(t *testing.T) {
	t.Parallel()
	e := setup(t)
	last := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	e.insert(row{camera: "front", startedAt: last.Add(time.Hour)})
	for _, bounds := range [][]time.Time{
		{last.AddDate(0, 0, -1), last, last.AddDate(0, 0, 1).Add(-time.Microsecond)},
		{time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), last, last.AddDate(0, 0, 1)},
	} {
		buckets := e.sums(bounds, nil, nil)
		require.Equal(t, []bucket{{1, "front", nil, 1, 1}}, buckets)
	}
}

// TestExportEvents: every event that fits is written once, in parts, and asking is in the audit.
func TestExportEvents(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.exec(`INSERT INTO events (camera_id, started_at) SELECT 'front', $1::timestamptz + (n / 5) * interval '1 second'
		FROM generate_series(1, 2500) AS n`, base())
	parts, events := 0, map[int64]bool{}
	err := e.ExportEvents(t.Context(), seen.EventFilter{CameraIDs: []string{"front"}}, actor, map[string]any{}, func(part []seen.Event) error {
		parts++
		for _, event := range part {
			events[event.ID] = true
		}
		return nil
	})
	require.NoError(t, err)
	require.Len(t, events, 2500)
	require.Equal(t, 3, parts)
	require.Equal(t, "media_exported", e.audited()[0].Action)
}

// TestDetections: filters, order and the detections of one event.
func TestDetections(t *testing.T) {
	t.Parallel()
	e := setup(t)
	event := e.insert(row{camera: "front", startedAt: base()})
	a := e.detect("front", "person", base(), &event)
	b := e.detect("garden", "dog", base().Add(time.Second), nil)
	list := func(filter seen.DetectionFilter, page seen.Page) []int64 {
		listed, err := e.Detections(t.Context(), filter, page)
		require.NoError(t, err)
		return ids(listed.Rows, func(d seen.Detection) int64 { return d.ID })
	}
	page := seen.Page{Limit: 10}
	require.Equal(t, []int64{b, a}, list(seen.DetectionFilter{}, page))
	require.Equal(t, []int64{a, b}, list(seen.DetectionFilter{}, seen.Page{Limit: 10, Ascending: true}))
	require.Equal(t, []int64{b}, list(seen.DetectionFilter{ObjectTypes: []string{"animal"}}, page))
	require.Equal(t, []int64{a}, list(seen.DetectionFilter{CameraIDs: []string{"front"}, MinConfidence: new(0.9)}, page))
	require.Empty(t, list(seen.DetectionFilter{MinConfidence: new(0.91)}, page))
	require.Equal(t, []int64{b}, list(seen.DetectionFilter{From: new(base().Add(time.Microsecond))}, page))
	listed, err := e.DetectionsOfEvent(t.Context(), event, 10, 0)
	require.NoError(t, err)
	require.EqualValues(t, 1, listed.Count)
	require.Equal(t, a, listed.Rows[0].ID)
	_, err = e.DetectionsOfEvent(t.Context(), event+1, 10, 0)
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = e.Detection(t.Context(), b+1)
	require.ErrorIs(t, err, store.ErrNotFound)
}

// TestCameras: adding, changing, counting.
// TestCreateCamera_OfANewFolder: the pipeline may see the folder first.
func TestCreateCamera_OfANewFolder(t *testing.T) {
	t.Parallel()
	e := setup(t)
	seenFirst := store.Camera{ID: "loft", Name: "Loft window", FolderPath: "/cameras/Loft window"}
	require.NoError(t, e.db.EnsureCamera(t.Context(), seenFirst))
	added := seen.NewCamera{
		ID: "loft", Name: "Under the roof", FolderPath: seenFirst.FolderPath, TimeZone: new("Asia/Tokyo"),
	}
	_, err := e.CreateCamera(t.Context(), added, actor)
	require.ErrorIs(t, err, store.ErrConflict, "the folder was there before")
	require.Empty(t, e.audited())

	added.FolderIsNew = true
	camera, err := e.CreateCamera(t.Context(), added, actor)
	require.NoError(t, err)
	require.Equal(t, "Under the roof", camera.Name)
	require.Equal(t, "Asia/Tokyo", *camera.TimeZone)
	require.Len(t, e.audited(), 1)

	e.exec(`UPDATE cameras SET created_at = now() - interval '1 hour' WHERE id = 'loft'`)
	_, err = e.CreateCamera(t.Context(), added, actor)
	require.ErrorIs(t, err, store.ErrConflict, "an old camera whose folder was made again")
}

func TestCameras(t *testing.T) {
	t.Parallel()
	e := setup(t)
	camera, err := e.CreateCamera(t.Context(), seen.NewCamera{ID: "shed", Name: "Shed", FolderPath: "/cameras/shed", TimeZone: new("Asia/Tokyo")}, actor)
	require.NoError(t, err)
	require.Equal(t, "Shed", camera.Name)
	_, err = e.CreateCamera(t.Context(), seen.NewCamera{ID: "shed", Name: "Shed", FolderPath: "/cameras/shed"}, actor)
	require.ErrorIs(t, err, store.ErrConflict)
	_, err = e.CreateCamera(t.Context(), seen.NewCamera{
		ID: "shed", Name: "Shed", FolderPath: "/cameras/Shed", FolderIsNew: true,
	}, actor)
	require.ErrorIs(t, err, store.ErrConflict, "of another folder")
	zone, err := e.ZoneOf(t.Context(), "shed")
	require.NoError(t, err)
	require.Equal(t, "Asia/Tokyo", zone)
	camera, err = e.UpdateCamera(t.Context(), "shed", seen.CameraUpdate{Name: new("Barn"), TimeZone: new("")}, actor)
	require.NoError(t, err)
	require.Equal(t, "Barn", camera.Name)
	require.Nil(t, camera.TimeZone)
	_, err = e.UpdateCamera(t.Context(), "shed", seen.CameraUpdate{Name: new("Barn")}, actor)
	require.NoError(t, err)
	require.Equal(t, []string{"camera_updated", "camera_created"}, []string{e.audited()[0].Action, e.audited()[1].Action})
	require.Len(t, e.audited(), 2)
	_, err = e.UpdateCamera(t.Context(), "barn", seen.CameraUpdate{Name: new("Barn")}, actor)
	require.ErrorIs(t, err, store.ErrNotFound)
	zone, err = e.ZoneOf(t.Context(), "barn")
	require.NoError(t, err)
	require.Empty(t, zone)
	cameras, _, err := e.Cameras(t.Context())
	require.NoError(t, err)
	require.Len(t, cameras, 4)

	_, err = e.db.RecordImage(t.Context(), store.NewImage{
		ImageKey: store.ImageKey{CameraID: "shed", FilePath: "/cameras/shed/1.jpg", SizeBytes: 1, ModTime: base()},
		State:    store.ImageSeen,
	})
	require.NoError(t, err)
	counts, err := e.Pictures(t.Context(), "shed", base().AddDate(-1, 0, 0))
	require.NoError(t, err)
	require.Equal(t, []seen.PictureCount{{"seen", nil, 1}}, counts)
	counts, err = e.Pictures(t.Context(), "shed", time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Empty(t, counts)
}
