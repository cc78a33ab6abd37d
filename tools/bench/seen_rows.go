package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// seenEvents is how many events the site of the group seen has at scale 1; each has ten detections.
const seenEvents = 1_000_000

// seenSite makes a site whose events were written by plain INSERTs: 50 cameras, 90 days.
func (w *world) seenSite(ctx context.Context) (*site, error) {
	s, err := w.newSite(ctx, "seen", "RETENTION_DAYS=365")
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil { // migrates
		return nil, err
	}
	if err := s.halt(); err != nil {
		return nil, err
	}
	began := time.Now()
	events := max(int(seenEvents*w.scale), 1000)
	if err := s.exec(ctx, `INSERT INTO cameras (id, name, folder_path)
		SELECT 'camera' || i, 'Place ' || i, '/cameras/camera' || i FROM generate_series(0, 49) AS i`); err != nil {
		return nil, err
	}
	const part = 50_000 // one transaction has no more
	for first := 1; first <= events; first += part {
		last := min(first+part-1, events)
		// hash spreads what a row is like over the rows, so that no two columns go together.
		for _, query := range []string{
			`INSERT INTO events (id, camera_id, started_at, ended_at, risk_score, risk_level, summary, reasoning, reviewed)
			SELECT i, 'camera' || abs(hashint8(i)) % 50, t, t + interval '30 s', score,
				CASE WHEN score < 30 THEN 'low' WHEN score < 60 THEN 'medium' WHEN score < 99 THEN 'high' ELSE 'critical' END,
				'A person walked past the ' || (ARRAY['door', 'gate', 'garage', 'fence', 'window'])[1 + i % 5] ||
					CASE WHEN i % 10000 = 0 THEN ' with a wheelbarrow' ELSE '' END || '.',
				'Nothing about it is out of the ordinary at this hour of the day.', abs(hashint8(i + 7)) % 100 > 2
			FROM (SELECT i, now() - interval '90 days' * (1 - i::float8 / $3) AS t, abs(hashint8(i * 31)) % 100 AS score
				FROM generate_series($1::bigint, $2::bigint) AS i) AS r`,
			`INSERT INTO detections (camera_id, file_path, detected_at, event_id, object_type, confidence, bbox_x, bbox_y,
				bbox_width, bbox_height)
			SELECT 'camera' || abs(hashint8(i)) % 50, '/cameras/' || i || '.jpg', now() - interval '90 days' * (1 - i::float8 / $3), i,
				CASE WHEN i % 1000 = 0 THEN 'bear' ELSE (ARRAY['person', 'car', 'dog', 'cat'])[1 + abs(hashint8(i + 3)) % 4] END,
				0.8, 1, 2, 30, 40
			FROM generate_series($1::bigint, $2::bigint) AS i, generate_series(1, 10)`,
		} {
			if err := s.exec(ctx, query, first, last, events); err != nil {
				return nil, err
			}
		}
	}
	if err := s.exec(ctx, `VACUUM ANALYZE`); err != nil {
		return nil, err
	}
	w.log.InfoContext(ctx, "data set loaded", "site", s.name, "took", time.Since(began).Round(time.Second).String())
	return s, s.start(ctx)
}

// seenRows measures the lists of events.
func seenRows(ctx context.Context, w *world, t *table) error {
	s, err := w.seenSite(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.close(ctx) }()
	for _, measure := range []func(context.Context, *world, *table, *site) error{
		singleFilters, combinedFilters, deepPages, summaries, searches,
	} {
		if err := measure(ctx, w, t, s); err != nil {
			return err
		}
	}
	return nil
}

// filters are the filters of a list of events, each with a value that fits few of the rows.
func filters() map[string]string {
	day := func(days int) string {
		return url.QueryEscape(time.Now().AddDate(0, 0, -days).UTC().Format(time.RFC3339))
	}
	return map[string]string{
		"no filter": "", "risk_level": "risk_level=critical", "object_type": "object_type=bear", "animal": "object_type=animal",
		"reviewed": "reviewed=false", "min_score": "min_score=99", "date": "start_date=" + day(50) + "&end_date=" + day(49),
	}
}

// singleFilters: a page of 50 with each filter alone, and a camera with each.
func singleFilters(ctx context.Context, w *world, t *table, s *site) error {
	const limit = 5 * time.Millisecond
	all := filters()
	for _, name := range sortedKeys(all) {
		for _, camera := range []string{"", "camera_id=camera7"} {
			path := "/api/events?" + strings.Trim(all[name]+"&"+camera, "&")
			if _, err := get(ctx, s.baseURL+path); err != nil { // warm
				return err
			}
			var p99s []time.Duration
			for range w.rounds {
				p99, err := attack(ctx, s.baseURL, []string{path}, 300, w.seconds)
				if err != nil {
					return err
				}
				p99s = append(p99s, p99)
			}
			what := "events, page of 50, " + name
			if camera != "" {
				what += " and camera"
			}
			t.add(row{what: what + ", p99 at 300/s", measured: short(median(p99s)), target: "≤ " + short(limit), ok: median(p99s) <= limit})
		}
	}
	return nil
}

// combinedFilters: any other combination.
func combinedFilters(ctx context.Context, _ *world, t *table, s *site) error {
	const limit = 50 * time.Millisecond
	var slowest time.Duration
	slowestPath := ""
	all := filters()
	names := sortedKeys(all)
	for i, first := range names {
		for _, second := range names[i+1:] {
			if all[first] == "" || all[second] == "" || strings.HasPrefix(all[second], all[first][:6]) {
				continue
			}
			for _, more := range []string{"", "&hours=22:00-06:00", "&camera_id=camera7,camera8&hours=22:00-06:00"} {
				path := "/api/events?" + all[first] + "&" + all[second] + more
				took, err := timed(ctx, s.baseURL+path, 3)
				if err != nil {
					return err
				}
				if took > slowest {
					slowest, slowestPath = took, path
				}
			}
		}
	}
	t.add(row{
		what: "events, slowest of all combinations", measured: short(slowest), compared: slowestPath,
		target: "≤ " + short(limit), ok: slowest <= limit,
	})
	return nil
}

// timed is the median time of some requests.
func timed(ctx context.Context, address string, times int) (time.Duration, error) {
	var took []time.Duration
	for range times {
		began := time.Now()
		if _, err := get(ctx, address); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	return median(took), nil
}

// deepPages: the page at nine tenths of the list by cursor, and the first one.
func deepPages(ctx context.Context, w *world, t *table, s *site) error {
	cursor := ""
	for read := 0; read < int(0.9*seenEvents*w.scale); read += 1000 {
		next, err := nextCursor(ctx, s.baseURL+"/api/events?limit=1000"+cursor)
		if err != nil {
			return err
		}
		cursor = "&cursor=" + next
	}
	var ratios []float64
	var firsts, deeps []time.Duration
	for range 5 * w.rounds {
		first, err := timed(ctx, s.baseURL+"/api/events?limit=50", 5)
		if err != nil {
			return err
		}
		deep, err := timed(ctx, s.baseURL+"/api/events?limit=50"+cursor, 5)
		if err != nil {
			return err
		}
		firsts, deeps, ratios = append(firsts, first), append(deeps, deep), append(ratios, float64(deep)/float64(first))
	}
	t.add(row{
		what:     fmt.Sprintf("events, page at row %d by cursor", int(0.9*seenEvents*w.scale)),
		measured: fmt.Sprintf("%s, %.2f×", short(median(deeps)), median(ratios)), compared: "first page " + short(median(firsts)),
		target: "≤ 1.2×", ok: median(ratios) <= 1.2,
	})
	return nil
}

func nextCursor(ctx context.Context, address string) (string, error) {
	got, err := get(ctx, address)
	if err != nil {
		return "", err
	}
	var page struct {
		Next string `json:"next_cursor"`
	}
	if err := json.Unmarshal(got.body, &page); err != nil {
		return "", err
	}
	return page.Next, nil
}

// summaries: 90 days in a zone that nobody has asked for, in one that was, and right after a
// change.
func summaries(ctx context.Context, w *world, t *table, s *site) error {
	path := "/api/events/summary?start_date=" + time.Now().AddDate(0, 0, -89).Format(time.DateOnly) + "&time_zone="
	var first, again, changed []time.Duration
	zones := []string{"Europe/Berlin", "Asia/Kathmandu", "America/New_York", "Australia/Sydney", "Asia/Tokyo"}
	for i, zone := range zones[:min(w.rounds, len(zones))] {
		took, err := timed(ctx, s.baseURL+path+zone, 1)
		if err != nil {
			return err
		}
		first = append(first, took)
		if took, err = timed(ctx, s.baseURL+path+zone, 9); err != nil {
			return err
		}
		again = append(again, took)
		for n := range 5 {
			if err := patchEvent(ctx, s, 1+100*i+n); err != nil {
				return err
			}
			if took, err = timed(ctx, s.baseURL+path+zone, 1); err != nil {
				return err
			}
			changed = append(changed, took)
		}
	}
	for _, each := range []struct {
		what  string
		times []time.Duration
		limit time.Duration
	}{
		{"summary of 90 days, a new zone", first, 300 * time.Millisecond},
		{"summary of 90 days, a zone asked before", again, 5 * time.Millisecond},
		{"summary of 90 days, right after PATCH", changed, 5 * time.Millisecond},
	} {
		took := median(each.times)
		t.add(row{what: each.what, measured: short(took), target: "≤ " + short(each.limit), ok: took <= each.limit})
	}
	return nil
}

// patchEvent changes what an event is.
func patchEvent(ctx context.Context, s *site, id int) error {
	for _, reviewed := range []string{"true", "false"} {
		request, err := http.NewRequestWithContext(ctx, http.MethodPatch, fmt.Sprintf("%s/api/events/%d", s.baseURL, id),
			strings.NewReader(`{"reviewed":`+reviewed+`}`))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("PATCH event %d: status %d", id, response.StatusCode)
		}
	}
	return nil
}

// searches: a word that nearly all events have, one that some have, a rare one, and a camera's
// name.
func searches(ctx context.Context, _ *world, t *table, s *site) error {
	const limit = 50 * time.Millisecond
	for _, words := range []string{"person", "garage", "wheelbarrow", "wheelbarrow OR window", `"person walked" -door`, "place person"} {
		took, err := timed(ctx, s.baseURL+"/api/events/search?q="+url.QueryEscape(words), 5)
		if err != nil {
			return err
		}
		t.add(row{what: "search: " + words, measured: short(took), target: "≤ " + short(limit), ok: took <= limit})
	}
	return nil
}

func sortedKeys(of map[string]string) []string {
	keys := make([]string, 0, len(of))
	for key := range of {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
