package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// second starts another server beside the first, on the same databases, cameras and media.
func (w *faultWorld) second() *process {
	w.tb.Helper()
	p := newProcess(w.tb)
	// The last value wins: of its own it has the data folder and the port.
	p.env = append(append(append([]string{}, w.env...), p.env...), "VIDEO_THUMBNAILS_DIR="+w.thumbnails, "CLIPS_DIRECTORY="+filepath.Join(w.DataDir, "clips"))
	p.start()
	p.eventually("the second server is ready", p.isReady)
	return p
}

// holder is which of the servers has the claim that the query finds.
func (w *faultWorld) holder(query string, servers ...*process) *process {
	w.tb.Helper()
	var claim string
	require.NoError(w.tb, w.database.GetContext(w.tb.Context(), &claim, query))
	for _, p := range servers {
		if strings.HasPrefix(claim, p.instance()) {
			return p
		}
	}
	require.Fail(w.tb, "nobody has the claim", claim)
	return nil
}

// claims is how many images a server has in its hands.
func (w *faultWorld) claims(p *process) int64 {
	w.tb.Helper()
	return w.count("SELECT count(*) FROM images WHERE state = 'detecting' AND claimed_by LIKE '" + p.instance() + "%'")
}

// instance begins all claims of a server.
func (p *process) instance() string {
	p.tb.Helper()
	raw, err := os.ReadFile(filepath.Join(p.DataDir, "instance"))
	require.NoError(p.tb, err)
	return strings.TrimSpace(string(raw)) + "/"
}

func (p *process) signal(s syscall.Signal) {
	p.tb.Helper()
	require.NoError(p.tb, p.cmd.Process.Signal(s))
}

// A server is frozen in the middle of a call, its lease ends, the other server takes the work over, and then the first one goes on
// with its answer in hand: what it would store is refused, because the claim is not its own any more. The lease ends by the
// database's clock, so that the call of the frozen server is still within its time when it wakes; Redis, whose clock cannot be set,
// forgets who holds what.
func TestFault_OldClaimMeetsNew(t *testing.T) {
	t.Parallel()
	w := prepareFaultWorld(t, "RTDETR_READ_TIMEOUT=50", "NEMOTRON_READ_TIMEOUT=50")
	w.hideDatabaseClock()
	w.start()
	w.eventually("ready", w.isReady)
	first, other := w.process, w.second()
	const pastTheLease = 3 * time.Minute
	person := func(i int) []aitest.Detection { return usual(5*i + 1) }

	overtaken := func(name, claims string, calls func() int, underWay func(n int) bool, late func(), results string, script func(...aitest.Behaviour)) {
		old, current := make(chan struct{}), make(chan struct{})
		script(aitest.Hold(old), aitest.Hold(current))
		before := calls()
		w.feed(1, time.Millisecond, person)
		w.eventually("the first call", func() bool { return calls() == before+1 })
		frozen := w.holder(claims, first, other)
		awake := first
		if frozen == first {
			awake = other
		}
		awake.tb, w.process = w.tb, awake // the one that answers, for this part of the test
		frozen.signal(syscall.SIGSTOP)
		begun := time.Now()
		w.stepDatabaseClock(pastTheLease)
		require.Equal(w.tb, "+OK", redisCommand(w.tb, w.redis, "FLUSHALL"))
		w.eventually("the second call", func() bool { return calls() == before+2 })
		taken := time.Since(begun)
		w.stepDatabaseClock(0)
		require.Same(w.tb, awake, w.holder(claims, first, other))

		frozen.signal(syscall.SIGCONT)
		close(old)
		w.eventually("the first call ends", func() bool { return !underWay(before) })
		late()
		w.stayReady(time.Second) // time to store it
		require.Same(w.tb, awake, w.holder(claims, first, other), "the old claim was stronger than the new one")
		require.Zero(w.tb, w.count(results), "stored without a claim")
		begun = time.Now()
		close(current)
		w.waitFinished()
		measured(w.tb, name, "the old claim stores nothing, the new one stores once", taken, time.Since(begun))
	}
	w.within("image", func() {
		overtaken("frozen_with_an_image", "SELECT claimed_by FROM images WHERE state = 'detecting'",
			func() int { return len(w.detector.Calls()) },
			func(n int) bool { return w.detector.Calls()[n].IsUnderWay() },
			func() { // a thumbnail is written right before the commit
				w.eventually("the late thumbnail", func() bool { return len(filesBelow(w.tb, w.thumbnails)) == 2 })
			},
			"SELECT count(*) FROM detections", w.detector.Script)
	})
	w.within("batch", func() {
		events := w.count("SELECT count(*) FROM events")
		overtaken("frozen_with_a_batch", "SELECT claimed_by FROM batches WHERE state = 'analyzing'",
			func() int { return len(w.model.Calls()) },
			func(n int) bool { return w.model.Calls()[n].IsUnderWay() },
			func() {},
			"SELECT count(*) FROM detections AS d JOIN events AS e ON e.id = d.event_id WHERE d.image_id = (SELECT max(id) FROM images)",
			w.model.Script)
		require.Equal(w.tb, events+1, w.count("SELECT count(*) FROM events"))
	})
	first.tb, other.tb = t, t
	l := w.requireAccounted(false)
	w.requireThumbnails(l, 1)
	w.requireNoFindings()
	first.stop()
	other.stop()
}

// A server is frozen in full flow for longer than its leases, while another one goes on, and then wakes up. The other one has done its
// work; nothing is lost or done twice, and the one that slept works again without a restart.
func TestFault_ServerFrozenPastItsLeases(t *testing.T) {
	t.Parallel()
	const lease = 44 * time.Second // 1 s to connect, 8 s to read, 5 s and 30 s of slack
	w := prepareFaultWorld(t, "RTDETR_READ_TIMEOUT=8", "NEMOTRON_READ_TIMEOUT=8")
	w.start()
	w.eventually("ready", w.isReady)
	first, other := w.process, w.second()
	w.detector.SetBehaviour(aitest.Delay(500 * time.Millisecond))
	w.model.SetBehaviour(aitest.Delay(200 * time.Millisecond))
	w.feed(60, 5*time.Millisecond, usual)
	w.process = other
	w.eventually("the first one is frozen with an image in its hands", func() bool {
		first.signal(syscall.SIGSTOP)
		if w.claims(first) > 0 {
			return true
		}
		first.signal(syscall.SIGCONT)
		return false
	})
	frozen := time.Now()
	w.feed(60, 5*time.Millisecond, usual)
	w.eventually("the other one does it all", func() bool { return time.Since(frozen) > lease && w.queues() == [2]int64{} })
	overtaken := time.Since(frozen)
	require.Zero(t, w.claims(first), "its claims have been taken over")
	w.feed(20, 5*time.Millisecond, usual)
	w.stayReady(0)
	first.signal(syscall.SIGCONT)
	woke := time.Now()
	w.process = first
	w.eventually("the one that slept is well", w.isWell)
	recovered := time.Since(woke)
	w.feed(20, 5*time.Millisecond, usual)
	w.waitFinished()
	t.Logf("everything is done %v after it woke", time.Since(woke).Round(time.Millisecond))
	measured(t, "server_frozen_past_its_leases", "the other server takes over; nothing is lost or doubled", never, recovered)
	t.Logf("frozen %v; all of its work was done by the other server after %v", woke.Sub(frozen).Round(time.Millisecond), overtaken.Round(time.Millisecond))
	l := w.requireAccounted(false)
	w.requireThumbnails(l, 20)
	w.requireNoFindings()
	first.stop()
	other.stop()
}
