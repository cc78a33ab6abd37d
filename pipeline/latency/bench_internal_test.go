package latency

import (
	"math/rand/v2"
	"testing"
	"time"

	"hsi.home.arpa/embedded/embeddedtest"
)

func BenchmarkObserve(b *testing.B) {
	r := New(nil, Options{Log: discardLog()})
	b.ReportAllocs()
	d := 35 * time.Millisecond
	for b.Loop() {
		r.Observe(Detect, d)
		d += 12345
	}
}

func BenchmarkObserve_Parallel(b *testing.B) {
	r := New(nil, Options{Log: discardLog()})
	b.RunParallel(func(pb *testing.PB) {
		d := 35 * time.Millisecond
		for pb.Next() {
			r.Observe(Detect, d)
			d += 12345
		}
	})
}

// fullHistory has 100 log-normal samples in each minute of a day, for all stages.
func fullHistory(newest int64) *history {
	h := new(history)
	random := rand.New(rand.NewPCG(8, 9))
	next := distributions()["log-normal"]
	for number := newest - MaxWindowMinutes; number <= newest; number++ {
		for stage := range Stage(stageCount) {
			var a accumulator
			for range 100 {
				a.observe(uint64(next(random)))
			}
			h.observed(stage, number, a.histogram())
		}
	}
	return h
}

// BenchmarkSummary_1440MinutesFirstAsked is the first request after the figures were renewed, four
// stages as the API asks.
func BenchmarkSummary_1440MinutesFirstAsked(b *testing.B) {
	const newest = int64(29_400_017)
	h := fullHistory(newest)
	f := h.figures(newest)
	b.ReportAllocs()
	for b.Loop() {
		clear(f.summaries)
		for stage := WatchToDetect; stage <= TotalPipeline; stage++ {
			f.summary(stage, MaxWindowMinutes)
		}
	}
}

func BenchmarkSummary_60MinutesAskedAgain(b *testing.B) {
	const newest = int64(29_400_017)
	h := fullHistory(newest)
	r := New(nil, Options{Log: discardLog()})
	r.view.Store(&view{figures: h.figures(newest), refreshedAt: time.Now().Add(time.Hour)})
	b.ReportAllocs()
	for b.Loop() {
		for stage := WatchToDetect; stage <= TotalPipeline; stage++ {
			if _, err := r.Summary(stage, 60); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkFigures is what each refresh costs while all stages get samples, without Redis.
func BenchmarkFigures(b *testing.B) {
	const newest = int64(29_400_017)
	h := fullHistory(newest)
	b.ReportAllocs()
	for b.Loop() {
		for stage := range Stage(stageCount) {
			h.observed(stage, newest, oneSample(time.Second))
		}
		h.figures(newest)
	}
}

// BenchmarkRefresh_Idle is one turn of Run while nothing happens, and BenchmarkRefresh_FirstRead
// the first one of a new process with a full day in Redis.
func BenchmarkRefresh_Idle(b *testing.B) {
	redis := embeddedtest.NewRedis(b)
	r := newRecorder(b, redis.URL(), newClock(time.Now()))
	for b.Loop() {
		r.refresh(b.Context())
	}
}

func BenchmarkRefresh_FirstRead(b *testing.B) {
	redis := embeddedtest.NewRedis(b)
	c := newClock(time.Now())
	old := newRecorder(b, redis.URL(), c)
	old.history = *fullHistory(c.now().Unix() / 60)
	for range 3 {
		old.refresh(b.Context())
	}
	for b.Loop() {
		r := newRecorder(b, redis.URL(), c)
		r.refresh(b.Context())
		if n := count(b, r, Watch, MaxWindowMinutes); n != (MaxWindowMinutes+1)*100 {
			b.Fatal(n)
		}
	}
}
