//go:build e2e

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
func (w *world) second() *process {
	w.tb.Helper()
	p := newProcess(w.tb)
	// The last value wins: of its own it has the data folder and the port.
	p.Env = append(append(append([]string{}, w.Env...), p.Env...),
		"VIDEO_THUMBNAILS_DIR="+w.thumbnails, "CLIPS_DIRECTORY="+filepath.Join(w.DataDir, "clips"))
	p.start()
	p.eventually("the second server is ready", p.isReady)
	return p
}

// holder is which of the servers has the claim that the query finds.
func (w *world) holder(query string, servers ...*process) *process {
	w.tb.Helper()
	var claim string
	require.NoError(w.tb, w.Database.GetContext(w.tb.Context(), &claim, query))
	for _, p := range servers {
		if strings.HasPrefix(claim, p.instance()) {
			return p
		}
	}
	require.Fail(w.tb, "nobody has the claim", claim)
	return nil
}

// claims is how many images a server has in its hands.
func (w *world) claims(p *process) int64 {
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

// A server is frozen in the middle of a call, its lease ends, the other server takes the work
// over, and then the first one goes on with its answer in hand: what it would store is refused,
// because the claim is not its own any more. Then one is frozen in full flow for longer than its
// leases, while the other one does all the work; nothing is lost or done twice, and the one that
// slept works again without a restart.
func TestFault_ServerFrozenPastItsLeases(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t, "RTDETR_READ_TIMEOUT=60", "NEMOTRON_READ_TIMEOUT=60") // the call of a frozen server is still good when it wakes
	w.faulty = true
	w.start()
	w.eventually("ready", w.isReady)
	first, other := w.process, w.second()

	overtaken := func(name, claims string, calls func() int, underWay func(n int) bool, late func(),
		results string, script func(...aitest.Behaviour),
	) {
		old, current := make(chan struct{}), make(chan struct{})
		script(aitest.Hold(old), aitest.Hold(current))
		before := calls()
		w.feed(1, person)
		w.eventually("the first call", func() bool { return calls() == before+1 })
		frozen := w.holder(claims, first, other)
		awake := first
		if frozen == first {
			awake = other
		}
		awake.tb, w.process = w.tb, awake // the one that answers, for this part of the test
		frozen.Signal(syscall.SIGSTOP)
		begun := time.Now()
		_, err := w.EndLeases(w.tb.Context(), frozen.instance()) // also in the long form: its own call must not end before
		require.NoError(w.tb, err)
		w.eventually("the second call", func() bool { return calls() == before+2 })
		taken := time.Since(begun)
		require.Same(w.tb, awake, w.holder(claims, first, other))

		frozen.Signal(syscall.SIGCONT)
		close(old)
		w.eventually("the first call ends", func() bool { return !underWay(before) })
		late()
		frozen.tb = w.tb
		frozen.stayReady(50) // it goes on, and tries to store what it has
		require.Same(w.tb, awake, w.holder(claims, first, other),
			"the old claim was stronger than the new one")
		require.Zero(w.tb, w.count(results), "stored without a claim")
		begun = time.Now()
		close(current)
		w.waitFinished()
		measured(w.tb, name, "the old claim stores nothing, the new one stores once", taken,
			time.Since(begun))
	}
	w.within("image", func() {
		overtaken("frozen_with_an_image", "SELECT claimed_by FROM images WHERE state = 'detecting'",
			func() int { return len(w.Detector.Calls()) },
			func(n int) bool { return w.Detector.Calls()[n].IsUnderWay() },
			func() { // a thumbnail is written right before the commit
				w.eventually("the late thumbnail", func() bool { return len(w.filesBelow()) == 2 })
			},
			"SELECT count(*) FROM detections", w.Detector.Script)
	})
	w.within("batch", func() {
		events := w.count("SELECT count(*) FROM events")
		overtaken("frozen_with_a_batch", "SELECT claimed_by FROM batches WHERE state = 'analyzing'",
			func() int { return len(w.Model.Calls()) },
			func(n int) bool { return w.Model.Calls()[n].IsUnderWay() },
			func() {},
			"SELECT count(*) FROM detections AS d JOIN events AS e ON e.id = d.event_id WHERE d.image_id = (SELECT max(id) FROM images)",
			w.Model.Script)
		require.Equal(w.tb, events+1, w.count("SELECT count(*) FROM events"))
	})
	w.within("in full flow", func() {
		first.tb, other.tb = w.tb, w.tb
		w.fullFlow(first, other)
	})
	first.tb, other.tb = t, t
	w.finish(60) // thumbnails of images that were taken over
	w.process = other
	w.stop()
}

// fullFlow freezes the first server with work in its hands, and wakes it when the other one has
// done it all.
func (w *world) fullFlow(first, other *process) {
	w.tb.Helper()
	w.Detector.SetBehaviour(aitest.Delay(300 * time.Millisecond))
	w.feed(20, usual)
	w.process = other
	w.eventually("the first one is frozen with an image in its hands", func() bool {
		first.Signal(syscall.SIGSTOP)
		if w.claims(first) > 0 {
			return true
		}
		first.Signal(syscall.SIGCONT)
		return false
	})
	frozen := time.Now()
	w.Detector.SetBehaviour(aitest.Behaviour{})
	w.feed(20, usual)
	w.waitFinished() // in the long form its leases end after a minute and a half
	overtaken := time.Since(frozen)
	require.Zero(w.tb, w.claims(first), "its claims have been taken over")
	w.feed(8, usual)
	w.stayReady(1)
	first.Signal(syscall.SIGCONT)
	woke := time.Now()
	w.process = first
	w.eventually("the one that slept is well", w.isWell)
	recovered := time.Since(woke)
	w.feed(8, usual)
	w.waitFinished()
	measured(w.tb, "server_frozen_past_its_leases",
		"the other server takes over; nothing is lost or doubled", never, recovered)
	w.tb.Logf("frozen %v; all of its work was done by the other server after %v; everything done %v after it woke",
		woke.Sub(frozen).Round(time.Millisecond), overtaken.Round(time.Millisecond), time.Since(woke).Round(time.Millisecond))
}
