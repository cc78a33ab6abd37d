package main

import (
	"strings"
	"testing"
	"time"

	"hsi.home.arpa/pipeline/aitest"
)

// kill -9 of the server, of PostgreSQL and of Redis in each order, with images in work before, between and after, and started again
// in the same order: also the server before its databases.
func TestFault_KilledInAnyOrder(t *testing.T) {
	t.Parallel()
	w := prepareFaultWorld(t)
	w.start()
	w.eventually("ready", w.isReady)
	w.detector.SetBehaviour(aitest.Delay(20 * time.Millisecond))
	type part struct {
		name        string
		kill, start func()
	}
	server := part{"server", w.kill, w.start}
	postgres := part{"PostgreSQL", func() { w.postgres.Kill(t) }, func() { w.postgres.Start(t) }}
	redis := part{"Redis", func() { w.redis.Kill(t) }, func() { w.redis.Start(t) }}
	for _, order := range [][]part{
		{server, postgres, redis},
		{server, redis, postgres},
		{postgres, server, redis},
		{postgres, redis, server},
		{redis, server, postgres},
		{redis, postgres, server},
	} {
		names := make([]string, len(order))
		for i, p := range order {
			names[i] = p.name
		}
		w.within(strings.Join(names, ", "), func() {
			w.feed(12, 2*time.Millisecond, usual)
			for _, p := range order {
				p.kill()
				w.feed(2, time.Millisecond, usual)
			}
			for _, p := range order {
				p.start()
			}
			begun := time.Now()
			w.eventually("ready again", w.isReady)
			recovered := time.Since(begun)
			measured(w.tb, "killed: "+strings.Join(names, ", "), "no image lost or doubled", never, recovered)
		})
	}
	w.feed(12, 2*time.Millisecond, usual)
	begun := time.Now()
	w.waitFinished() // what a dead connection held waits for its lease, 41 s here
	t.Logf("%d images, all worked off %v after the last kill", len(w.shots), time.Since(begun).Round(time.Millisecond))
	l := w.requireAccounted(false)
	w.requireThumbnails(l, 60) // those whose commit was cut off stay until they count as left behind
	w.requireNoFindings()
	w.stop()
}
