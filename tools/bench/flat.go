package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// times is how much more the second site of flat has of everything.
	times = 10
	// mostChange is by how much an answer may take longer there, in percent.
	mostChange = 20
)

// flat asks two servers in turn, of which one has ten times as many rows and files, and shows how
// much longer that one takes.
func flat(ctx context.Context, w *world, t *table) (err error) {
	small, err := w.site(ctx)
	if err != nil {
		return err
	}
	large, err := w.newSite(ctx, "large")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, large.close(ctx)) }()
	if err := large.fill(ctx, sizeOf(times*w.scale)); err != nil {
		return err
	}
	paths := []string{"/api/system/gpu/history?limit=300", "/api/system/gpu/history?limit=5000"}
	for _, e := range endpoints() {
		paths = append(paths, e.path)
	}
	for _, path := range paths {
		if err := w.flatUnderLoad(ctx, t, small, large, path); err != nil {
			return err
		}
	}
	for _, limit := range []int{300, 5000} {
		if err := flatFresh(ctx, t, small, large, limit); err != nil {
			return err
		}
	}
	return nil
}

// flatUnderLoad compares the answers per second.
func (w *world) flatUnderLoad(ctx context.Context, t *table, small, large *site, path string) error {
	var changes, with, without []float64
	for range max(w.rounds, 5) {
		few, err := w.wrk(ctx, small.baseURL+path)
		if err != nil {
			return err
		}
		many, err := w.wrk(ctx, large.baseURL+path)
		if err != nil {
			return err
		}
		changes, with, without = append(changes, 100*(few/many-1)), append(with, many), append(without, few)
	}
	t.addChange(path, median(changes), rate(median(with)), rate(median(without)))
	return nil
}

// flatFresh compares the time of histories that were never asked for before.
func flatFresh(ctx context.Context, t *table, small, large *site, limit int) error {
	const requests = 100
	var few, many []time.Duration
	since := time.Now().UTC().Add(-28 * 24 * time.Hour).Truncate(time.Second)
	for i := range requests {
		at := since.Add(time.Duration(i) * time.Microsecond).Format("2006-01-02T15:04:05.000000Z")
		for _, side := range []struct {
			site  *site
			taken *[]time.Duration
		}{{small, &few}, {large, &many}} {
			began := time.Now()
			if _, err := get(ctx, fmt.Sprintf("%s/api/system/gpu/history?limit=%d&since=%s", side.site.baseURL, limit, at)); err != nil {
				return err
			}
			*side.taken = append(*side.taken, time.Since(began))
		}
	}
	change := 100 * (float64(median(many))/float64(median(few)) - 1)
	t.addChange(fmt.Sprintf("/api/system/gpu/history?limit=%d, fresh", limit), change, short(median(many)), short(median(few)))
	return nil
}

func (t *table) addChange(what string, percent float64, with, without string) {
	t.add(row{
		what: fmt.Sprintf("%d× the rows and files: %s", times, what), measured: fmt.Sprintf("%s, %+.0f %%", with, percent), compared: "with less " + without,
		target: fmt.Sprintf("≤ %d %%", mostChange), ok: percent <= mostChange,
	})
}
