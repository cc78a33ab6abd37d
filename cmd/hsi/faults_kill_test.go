//go:build e2e

package main

import (
	"strings"
	"testing"
	"time"

	"hsi.home.arpa/pipeline/aitest"
)

// kill -9 of the server, of PostgreSQL and of Redis in each order, with images in work before,
// between and after, and started again in the same order: also the server before its databases.
func TestFault_KilledInAnyOrder(t *testing.T) {
	t.Parallel()
	w := prepareOwnWorld(t, "")
	w.start()
	w.eventually("ready", w.isReady)
	w.Detector.SetBehaviour(aitest.Delay(20 * time.Millisecond))
	type part struct {
		name        string
		kill, start func()
	}
	server := part{"server", func() { w.Kill() }, w.start}
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
			w.feed(6, usual)
			for _, p := range order {
				p.kill()
				w.feed(2, usual)
			}
			for _, p := range order {
				p.start()
			}
			begun := time.Now()
			w.eventually("ready again", w.isReady)
			recovered := time.Since(begun)
			measured(w.tb, "killed: "+strings.Join(names, ", "), "no image lost or doubled", never,
				recovered)
		})
	}
	w.feed(12, usual)
	begun := time.Now()
	w.waitFinished()
	t.Logf("%d images, all worked off %v after the last kill", len(w.Cameras.Shots()),
		time.Since(begun).Round(time.Millisecond))
	w.finish(60) // thumbnails whose commit was cut off stay until they count as left behind
}
