//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// failure is one row of the failure table: what happens, and what people and machines are told
// meanwhile.
type failure struct {
	name, promise string
	begin, end    func()
	// shows tells whether the fault is told; nil when it must not show at all.
	shows func(seen outlook) bool
	// overall and readiness are the words of the two probes while it lasts.
	overall, readiness string
	// meanwhile is what else must hold while it lasts; nil for nothing.
	meanwhile func()
}

// The failure table of the design, row by row, on one server and real databases: liveness always
// answers, the other probes say what the table says, nothing needs a restart, and at the end every
// image of every row is accounted for.
func TestFailureTable(t *testing.T) {
	t.Parallel()
	gpu := newScriptedGPU(t)
	w := prepareOwnWorld(t, "", append(gpu.env, "GPU_POLL_INTERVAL_SECONDS=1")...)
	w.start()
	w.eventually("all is well", w.isWell)
	w.eventually("the card is read", func() bool { return w.gpuName() != nil })

	unhealthy := func(service string) func(outlook) bool {
		return func(seen outlook) bool { return seen.services[service].Status == "unhealthy" }
	}
	degraded := func(service string) func(outlook) bool {
		return func(seen outlook) bool { return seen.services[service].Status == "degraded" }
	}
	table := []failure{
		{
			name: "postgres_gone", promise: "unhealthy, not ready; files wait on disk and a scan finds them",
			begin: func() { w.postgres.Kill(t) }, end: func() { w.postgres.Start(t) },
			shows: unhealthy("database"), overall: "unhealthy", readiness: "not_ready",
		},
		{
			name: "postgres_stopped", promise: "the same",
			begin: func() { w.postgres.Stop(t) }, end: func() { w.postgres.Start(t) },
			shows: unhealthy("database"), overall: "unhealthy", readiness: "not_ready",
		},
		{
			name: "postgres_frozen", promise: "the same",
			begin: func() { w.postgres.Pause(t) }, end: func() { w.postgres.Resume(t) },
			shows: unhealthy("database"), overall: "unhealthy", readiness: "not_ready",
		},
		{
			name: "redis_gone", promise: "degraded, not ready; rows stay and the queue is filled again",
			begin: func() { w.redis.Kill(t) }, end: func() { w.redis.Start(t) },
			shows: unhealthy("redis"), overall: "degraded", readiness: "degraded",
		},
		{
			name: "redis_stopped", promise: "the same",
			begin: func() { w.redis.Stop(t) }, end: func() { w.redis.Start(t) },
			shows: unhealthy("redis"), overall: "degraded", readiness: "degraded",
		},
		{
			name: "redis_frozen", promise: "the same",
			begin: func() { w.redis.Pause(t) }, end: func() { w.redis.Resume(t) },
			shows: unhealthy("redis"), overall: "degraded", readiness: "degraded",
		},
		{
			name: "redis_flushed", promise: "nothing shows; the queue is filled again",
			begin: func() {
				w.Detector.SetBehaviour(aitest.Delay(100 * time.Millisecond)) // so that images wait
				w.feed(8, usual)
				w.flushRedis()
			},
			end:     func() { w.Detector.SetBehaviour(aitest.Behaviour{}) },
			overall: "healthy", readiness: "ready",
		},
		{
			name: "detector_gone", promise: "degraded, ready; images wait, no invented detection",
			begin: w.Detector.Stop, end: w.Detector.Start,
			shows: degraded("ai"), overall: "degraded", readiness: "ready",
		},
		{
			name: "model_gone", promise: "degraded, ready; batches wait, no invented score",
			begin: w.Model.Stop, end: w.Model.Start,
			shows: degraded("ai"), overall: "degraded", readiness: "ready",
		},
		{
			name: "nvml_card_lost", promise: "health unchanged; GPU fields null, back by itself",
			begin: func() { gpu.say("lost") }, end: func() { gpu.say("") },
			shows: func(outlook) bool { return w.gpuName() == nil }, overall: "healthy", readiness: "ready",
		},
		{
			name: "nvml_driver_gone", promise: "health unchanged; GPU fields null, back by itself",
			begin: func() { gpu.say("driver") }, end: func() { gpu.say("") },
			shows: func(outlook) bool { return w.gpuName() == nil }, overall: "healthy", readiness: "ready",
		},
	}
	for _, row := range table {
		w.within(row.name, func() { w.play(row) })
	}
	w.within("server_killed", func() {
		w.feed(12, usual)
		w.Kill()
		w.feed(6, usual)
		begun := time.Now()
		w.start()
		w.eventually("well again", w.isWell)
		measured(w.tb, "server_killed", "the next start finishes everything", never,
			time.Since(begun))
	})
	w.waitFinished()
	w.finish(40) // thumbnails that were written when their commit failed stay until they count as left behind
}

// play plays one row with images in each phase.
func (w *world) play(row failure) {
	w.tb.Helper()
	w.eventually("nothing is left of the row before", w.isWell)
	w.feed(4, usual)
	row.begin()
	ended := false
	defer func() {
		if !ended { // the test has failed; the rows after this one shall not
			row.end()
		}
	}()
	begun := time.Now()
	w.feed(2, usual) // some faults show only when there is work
	detected := never
	var seen outlook
	told := func() bool {
		seen = w.look()
		require.Equal(w.tb, 200, seen.alive)
		return (row.shows == nil || row.shows(seen)) && seen.overall == row.overall &&
			seen.readiness == row.readiness
	}
	w.eventually("it is told", told)
	if row.shows != nil {
		detected = time.Since(begun)
	}
	w.feed(4, usual)
	if row.meanwhile != nil {
		row.meanwhile()
	}
	w.eventually("it is told still", told)
	begun, ended = time.Now(), true
	row.end()
	w.eventually("well again", func() bool { return w.isWell() && (row.shows == nil || !row.shows(w.look())) })
	if row.shows == nil {
		w.waitFinished() // nobody tells that it is over: the work does
	}
	measured(w.tb, row.name, row.promise, detected, time.Since(begun))
}

// gpuName is the name of the card that the API shows, nil when it shows none.
func (w *world) gpuName() *string {
	w.tb.Helper()
	var answer map[string]any
	w.getJSON("/api/system/gpu", &answer)
	for field, value := range answer {
		if field == "inference_fps" { // not the card's, and not known in the first minute
			require.False(w.tb, value != nil && answer["gpu_name"] == nil,
				"shown without a sample: %v", answer)
			continue
		}
		if (value == nil) != (answer["gpu_name"] == nil) {
			require.Failf(w.tb, "half a sample", "%s is %v in %v", field, value, answer)
		}
	}
	if name, ok := answer["gpu_name"].(string); ok {
		return &name
	}
	return nil
}

// scriptedGPU is a driver library with one card.
type scriptedGPU struct {
	env []string
	say func(state string)
}

func newScriptedGPU(tb testing.TB) *scriptedGPU {
	tb.Helper()
	dir := reachableDir(tb)
	compile(tb, "nvml.c", filepath.Join(dir, "libnvidia-ml.so.1"))
	state := filepath.Join(dir, "state")
	say := func(text string) {
		require.NoError(tb, os.WriteFile(state+".new", []byte(text), 0o600))
		require.NoError(tb, os.Rename(state+".new", state))
	}
	say("")
	return &scriptedGPU{env: []string{"LD_LIBRARY_PATH=" + dir, "HSI_TEST_NVML=" + state}, say: say}
}

// takeAway leaves an empty folder where a disk was mounted, and the disk at another place.
func takeAway(tb testing.TB, folder, aside string) {
	tb.Helper()
	require.NoError(tb, os.Rename(folder, aside))
	require.NoError(tb, os.Mkdir(folder, 0o750))
}

// bringBack takes the empty folder away, which fails when something was written into it, and puts
// the disk there again.
func bringBack(tb testing.TB, folder, aside string) {
	tb.Helper()
	require.NoError(tb, os.Remove(folder), "written beside the disk")
	require.NoError(tb, os.Rename(aside, folder))
}
