package seen_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
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

// TestEvents_KeptPagesAreAsFreshOnes: after any changes, of any program, a Store that keeps pages
// answers what one that has kept nothing does.
func TestEvents_KeptPagesAreAsFreshOnes(t *testing.T) {
	t.Parallel()
	e := setup(t)
	random := rand.New(rand.NewPCG(1, 2)) // the same each time
	asked := []struct {
		filter seen.EventFilter
		page   seen.Page
	}{
		{seen.EventFilter{}, seen.Page{Limit: 5}},
		{seen.EventFilter{}, seen.Page{Limit: 60, Ascending: true}},
		{seen.EventFilter{CameraIDs: []string{"front"}}, seen.Page{Limit: 50}},
		{seen.EventFilter{RiskLevels: []string{"high"}, Reviewed: new(false)}, seen.Page{Limit: 50}},
		{seen.EventFilter{ObjectTypes: []string{"vehicle"}}, seen.Page{Limit: 3, Offset: 1}},
		{seen.EventFilter{MinScore: new(55)}, seen.Page{Limit: 50}},
	}
	for range 40 {
		e.insertSome(random)
	}
	kept := 0
	for step := range 250 {
		change := e.changeSomething(random)
		for i, ask := range asked {
			listed, err := e.Events(t.Context(), ask.filter, ask.page)
			require.NoError(t, err)
			fresh, err := seen.New(e.db).Events(t.Context(), ask.filter, ask.page)
			require.NoError(t, err)
			again, err := e.Events(t.Context(), ask.filter, ask.page)
			require.NoError(t, err)
			require.NotNil(t, listed.Form)
			if again.Form == listed.Form {
				kept++
			}
			listed.Form, fresh.Form = nil, nil
			require.Equal(t, fresh, listed, "step %d, list %d, after %s", step, i, change)
		}
	}
	require.Greater(t, kept, 1200, "of 1,500: what is compared is kept")
}

// some is the id of one of the rows, 0 when there is none.
func (e *env) some(random *rand.Rand, table string) (id int64) {
	e.t.Helper()
	require.NoError(e.t, e.db.SQL().GetContext(e.t.Context(), &id, `
		SELECT coalesce((SELECT id FROM `+table+` ORDER BY id OFFSET
			$1::float8 * (SELECT count(*) FROM `+table+`) LIMIT 1), 0)`, random.Float64()))
	return id
}

func oneOf[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

func (e *env) insertSome(random *rand.Rand) {
	e.t.Helper()
	e.insert(row{
		camera: oneOf(random, "front", "attic"), startedAt: base().Add(time.Duration(random.IntN(50)) * time.Hour),
		score: random.IntN(101), level: oneOf(random, "low", "high"), reviewed: random.IntN(2) == 0,
		objects: oneOf(random, "", "", "car, dog"), detectionIDs: oneOf(random, "", "", "[1, 2, 7]"),
	})
}

// changeSomething makes one change, as this server or another program may, and says which.
func (e *env) changeSomething(random *rand.Rand) string {
	e.t.Helper()
	event, detection := e.some(random, "events"), e.some(random, "detections")
	at, number := base().Add(time.Duration(random.IntN(50))*time.Hour), random.IntN(101)
	object, camera := oneOf(random, "car", "Dog", "bus", "person"), oneOf(random, "front", "attic", "garden")
	text := fmt.Sprint("text ", random.IntN(5))
	statements := map[string][]any{
		`UPDATE events SET started_at = $2 WHERE id = $1`:                      {event, at},
		`UPDATE events SET ended_at = $2 WHERE id = $1`:                        {event, at},
		`UPDATE events SET created_at = $2 WHERE id = $1`:                      {event, at},
		`UPDATE events SET risk_score = $2 WHERE id = $1`:                      {event, number},
		`UPDATE events SET risk_level = $2 WHERE id = $1`:                      {event, oneOf(random, "low", "high")},
		`UPDATE events SET summary = $2 WHERE id = $1`:                         {event, text},
		`UPDATE events SET reasoning = $2 WHERE id = $1`:                       {event, text},
		`UPDATE events SET analyzer = $2, batch_id = $1 WHERE id = $1::bigint`: {event, text},
		`UPDATE events SET batch_id = $2 WHERE id = $1`:                        {event, fmt.Sprint(event, "-", number)},
		`UPDATE events SET reviewed = NOT reviewed WHERE id = $1`:              {event},
		`UPDATE events SET notes = $2 WHERE id = $1`:                           {event, text},
		`UPDATE events SET camera_id = $2 WHERE id = $1`:                       {event, camera},
		`UPDATE events SET object_types = $2 WHERE id = $1`:                    {event, object},
		`UPDATE events SET detection_ids = $2 WHERE id = $1`:                   {event, fmt.Sprintf("[%d, %d]", detection, number)},
		`UPDATE events SET notes = $1`:                                         {text},
		`DELETE FROM events WHERE id = $1 AND id % 3 = 0`:                      {event},
		`UPDATE detections SET event_id = $2 WHERE id = $1`:                    {detection, event},
		`UPDATE detections SET event_id = NULL WHERE id = $1`:                  {detection},
		`UPDATE detections SET object_type = $2 WHERE id = $1`:                 {detection, object},
		`UPDATE detections SET confidence = 0.5 WHERE id = $1`:                 {detection},
		`UPDATE cameras SET name = $2 WHERE id = $1`:                           {camera, text},
		`UPDATE cameras SET last_seen_at = now() WHERE id = $1`:                {camera},
		`SELECT live_sequence($1)`:                                             {1 + number%3},
	}
	calls := map[string]func() error{
		"insert event": func() error { e.insertSome(random); return nil },
		"insert a detection of an event": func() error {
			e.detect(camera, object, at, &event)
			return nil
		},
		"insert a detection": func() error { e.detect(camera, object, at, nil); return nil },
		"UpdateEvent": func() error {
			_, err := e.UpdateEvent(e.t.Context(), event, seen.EventUpdate{Notes: &text}, actor)
			return err
		},
		"ReviewEvents": func() error {
			_, err := e.ReviewEvents(e.t.Context(), []int64{event, event + 1, event + 2}, actor)
			return err
		},
		"ReviewEvents, told at once": func() error {
			all := make([]int64, 60)
			for i := range all {
				all[i] = event + int64(i)
			}
			_, err := e.ReviewEvents(e.t.Context(), all, actor)
			return err
		},
		"UpdateCamera": func() error {
			_, err := e.UpdateCamera(e.t.Context(), camera, seen.CameraUpdate{Name: &text}, actor)
			return err
		},
	}
	names := slices.Sorted(maps.Keys(statements))
	names = slices.AppendSeq(names, maps.Keys(calls))
	slices.Sort(names)
	name := oneOf(random, names...)
	if call, ok := calls[name]; ok {
		require.NoError(e.t, call(), name)
	} else {
		e.exec(name, statements[name]...)
	}
	return name
}
