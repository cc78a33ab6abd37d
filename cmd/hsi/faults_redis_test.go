//go:build e2e

package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/pipeline/aitest"
)

// Redis comes back with the append-only file of an hour ago: what was done since stands in the
// queue again, held by workers as it was then. Nothing of it is worked on twice, and what came
// since goes on.
func TestFault_RedisStale(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t, "RTDETR_READ_TIMEOUT=60", "NEMOTRON_READ_TIMEOUT=60") // on a slow machine too, no call is given up
	w.start()
	w.eventually("ready", w.isReady)
	release := make(chan struct{})
	w.Detector.SetBehaviour(aitest.Hold(release))
	w.Model.SetBehaviour(aitest.Hold(release))
	w.feed(40, usual)
	w.waitRecorded()
	// Nothing is finished, so the window is at its least, and is filled up to more than its half.
	w.eventually("images are in work and in the queue",
		func() bool { return underWay(w.Detector.Calls()) && w.streamLength("detect") > 16 })
	files, old := filepath.Join(w.redis.Dir(), "appendonlydir"), filepath.Join(w.redis.Dir(),
		"appendonlydir.old")
	require.NoError(t, e2e.CopyFolder(t.Context(), files, old))
	claimed := w.streamPending("detect")
	require.Positive(t, claimed, "claims in the old file")
	close(release)
	w.Detector.SetBehaviour(aitest.Behaviour{})
	w.Model.SetBehaviour(aitest.Behaviour{})
	w.waitFinished()
	w.feed(20, usual)
	w.waitFinished()
	calls, prompts := len(w.Detector.Calls()), len(w.Model.Calls())

	w.redis.Kill(t)
	require.NoError(t, e2e.CopyFolder(t.Context(), old, files))
	w.redis.Start(t)
	begun := time.Now()
	waiting := w.streamLength("detect")
	require.Positive(t, waiting, "the old file has entries of images that are finished")
	// The workers clear the old entries away without a call. Those that the old file says are held
	// go when their lease ends.
	w.eventually("the old entries are gone",
		func() bool { return w.streamLength("detect")-w.streamPending("detect") == 0 })
	recovered := time.Since(begun)
	w.eventually("well again", w.isWell)
	require.Len(t, w.Detector.Calls(), calls, "finished images were detected again")
	require.Len(t, w.Model.Calls(), prompts, "finished batches were analyzed again")
	w.feed(20, usual)
	w.waitFinished()
	require.Len(t, w.Detector.Calls(), calls+20, "finished images were detected again")
	measured(t, "redis_stale_file", "nothing is worked on twice, what came since goes on", never,
		recovered)
	t.Logf("the old file had %d entries, %d of them held", waiting, claimed)
	w.finish(0, undisturbed)
}

// streamLength is how many entries a queue has in Redis, held ones included.
func (w *world) streamLength(queue string) int {
	w.tb.Helper()
	n, err := w.Redis(w.tb.Context(), "XLEN", "hsi:queue:"+queue)
	require.NoError(w.tb, err)
	return n
}

// streamPending is how many of them a worker holds.
func (w *world) streamPending(queue string) int {
	w.tb.Helper()
	n, err := w.Redis(w.tb.Context(), "EVAL", "return redis.call('XPENDING',KEYS[1],ARGV[1])[1]",
		"1", "hsi:queue:"+queue, "workers")
	require.NoError(w.tb, err)
	return n
}

// flushRedis lets Redis forget everything.
func (w *world) flushRedis() {
	w.tb.Helper()
	_, err := w.Redis(w.tb.Context(), "FLUSHALL")
	require.NoError(w.tb, err)
}
