package main

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// Redis comes back with the append-only file of an hour ago: what was done since stands in the queue again, held by workers as it was
// then. Nothing of it is worked on twice, and what came since goes on.
func TestFault_RedisStale(t *testing.T) {
	t.Parallel()
	w := prepareFaultWorld(t, "RTDETR_READ_TIMEOUT=60", "NEMOTRON_READ_TIMEOUT=60") // on a slow machine too, no call is given up
	w.start()
	w.eventually("ready", w.isReady)
	release := make(chan struct{})
	w.detector.SetBehaviour(aitest.Hold(release))
	w.model.SetBehaviour(aitest.Hold(release))
	w.feed(40, time.Millisecond, usual)
	w.waitRecorded()
	// Nothing is finished, so the window is at its least, and is filled up to more than its half.
	w.eventually("images are in work and in the queue", func() bool { return underWay(w.detector.Calls()) && w.streamLength("detect") > 16 })
	files, old := filepath.Join(w.redis.Dir(), "appendonlydir"), filepath.Join(w.redis.Dir(), "appendonlydir.old")
	copyFolder(t, files, old)
	claimed := w.streamPending("detect")
	require.Positive(t, claimed, "claims in the old file")
	close(release)
	w.detector.SetBehaviour(aitest.Behaviour{})
	w.model.SetBehaviour(aitest.Behaviour{})
	w.waitFinished()
	w.feed(20, time.Millisecond, usual)
	w.waitFinished()
	calls, prompts := len(w.detector.Calls()), len(w.model.Calls())

	w.redis.Kill(t)
	copyFolder(t, old, files)
	w.redis.Start(t)
	begun := time.Now()
	waiting := w.streamLength("detect")
	require.Positive(t, waiting, "the old file has entries of images that are finished")
	// The workers clear the old entries away without a call. Those that the old file says are held go when their lease ends.
	w.eventually("the old entries are gone", func() bool { return w.streamLength("detect")-w.streamPending("detect") == 0 })
	recovered := time.Since(begun)
	w.eventually("well again", w.isWell)
	require.Len(t, w.detector.Calls(), calls, "finished images were detected again")
	require.Len(t, w.model.Calls(), prompts, "finished batches were analyzed again")
	w.feed(20, time.Millisecond, usual)
	w.waitFinished()
	require.Len(t, w.detector.Calls(), calls+20, "finished images were detected again")
	measured(t, "redis_stale_file", "nothing is worked on twice, what came since goes on", never, recovered)
	t.Logf("the old file had %d entries, %d of them held", waiting, claimed)
	l := w.requireAccounted(true)
	w.requireThumbnails(l, 0)
	w.requireNoFindings()
	w.stop()
}

// copyFolder makes to a copy of from, with its owners.
func copyFolder(tb testing.TB, from, to string) {
	tb.Helper()
	require.NoError(tb, exec.CommandContext(tb.Context(), "rm", "-rf", to).Run())
	require.NoError(tb, exec.CommandContext(tb.Context(), "cp", "-a", from, to).Run())
}

// streamLength is how many entries a queue has in Redis, held ones included.
func (w *faultWorld) streamLength(queue string) int {
	w.tb.Helper()
	return redisNumber(w.tb, redisCommand(w.tb, w.redis, "XLEN hsi:queue:"+queue))
}

// streamPending is how many of them a worker holds.
func (w *faultWorld) streamPending(queue string) int {
	w.tb.Helper()
	return redisNumber(w.tb, redisCommand(w.tb, w.redis, "EVAL \"return redis.call('XPENDING',KEYS[1],ARGV[1])[1]\" 1 hsi:queue:"+queue+" workers"))
}

func redisNumber(tb testing.TB, answer string) int {
	tb.Helper()
	digits, found := strings.CutPrefix(answer, ":")
	require.True(tb, found, answer)
	n, err := strconv.Atoi(digits)
	require.NoError(tb, err)
	return n
}
