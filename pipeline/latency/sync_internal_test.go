package latency

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
)

// These tests turn the loop of Run by hand, with a clock of their own and a real Redis.

// clock is a clock that stands still until it is moved.
type clock struct{ nanos atomic.Int64 }

func newClock(at time.Time) *clock {
	c := new(clock)
	c.nanos.Store(at.UnixNano())
	return c
}

func (c *clock) now() time.Time        { return time.Unix(0, c.nanos.Load()) }
func (c *clock) move(by time.Duration) { c.nanos.Add(int64(by)) }

// connectTo returns a Connect like the one of pipeline/redis: it connects when it is first used.
func connectTo(tb testing.TB, url string) Connect {
	tb.Helper()
	option, err := rueidis.ParseURL(url)
	require.NoError(tb, err)
	option.DisableCache, option.DisableRetry, option.ForceSingleClient = true, true, true
	var client rueidis.Client
	tb.Cleanup(func() {
		if client != nil {
			client.Close()
		}
	})
	return func(context.Context) (rueidis.Client, error) {
		if client == nil {
			var err error
			if client, err = rueidis.NewClient(option); err != nil {
				client = nil
				return nil, err
			}
		}
		return client, nil
	}
}

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newRecorder(tb testing.TB, url string, c *clock) *Recorder {
	tb.Helper()
	return New(connectTo(tb, url), Options{Log: discardLog(), Now: c.now})
}

func count(tb testing.TB, r *Recorder, stage Stage, window int) int64 {
	tb.Helper()
	s, err := r.Summary(stage, window)
	require.NoError(tb, err)
	return s.Count
}

// heal refreshes until Redis answers again: the first call after a restart may still meet the dead
// connection.
func heal(t *testing.T, r *Recorder) {
	t.Helper()
	await.True(t, func() bool { r.refresh(t.Context()); return !r.sync.failing })
}

func TestRecorder_SeveralWritersAndARestartAgreeWithSortedSamples(t *testing.T) {
	t.Parallel()
	for name, next := range distributions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := embeddedtest.NewRedis(t)
			c := newClock(time.Now().Truncate(time.Hour))
			random := rand.New(rand.NewPCG(5, 6))
			writers := []*Recorder{newRecorder(t, redis.URL(), c), newRecorder(t, redis.URL(), c), newRecorder(t, redis.URL(), c)}
			var samples []time.Duration
			for step := range 120 { // an hour
				for _, w := range writers {
					for range random.IntN(40) {
						d := next(random)
						samples = append(samples, d)
						w.Observe(Analyze, d)
					}
					w.refresh(t.Context())
				}
				if step%40 == 20 { // one dies and comes back under another name, inside a minute
					writers[step/40] = newRecorder(t, redis.URL(), c)
				}
				c.move(30 * time.Second)
			}
			fresh := newRecorder(t, redis.URL(), c)
			for _, r := range append(writers, fresh) {
				r.refresh(t.Context())
				got, err := r.Summary(Analyze, 60)
				require.NoError(t, err)
				requireExact(t, samples, got)
			}
		})
	}
}

func TestRecorder_IsUnavailableUntilReadAndWhenStale(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	c := newClock(time.Now())
	r := newRecorder(t, redis.URL(), c)
	r.Observe(Watch, time.Second)
	_, err := r.Summary(Watch, 1)
	require.ErrorIs(t, err, ErrUnavailable)

	r.refresh(t.Context())
	require.EqualValues(t, 1, count(t, r, Watch, 1))
	require.Zero(t, count(t, r, Detect, 1))

	redis.Stop(t)
	r.refresh(t.Context())
	require.EqualValues(t, 1, count(t, r, Watch, 1), "one missed answer is no outage")
	c.move(staleAfter + time.Millisecond)
	r.Observe(Watch, 2*time.Second)
	r.refresh(t.Context())
	_, err = r.Summary(Watch, 1)
	require.ErrorIs(t, err, ErrUnavailable)

	redis.Start(t)
	heal(t, r)
	require.EqualValues(t, 2, count(t, r, Watch, 1), "what was observed meanwhile is there, once")
	other := newRecorder(t, redis.URL(), c)
	other.refresh(t.Context())
	require.EqualValues(t, 2, count(t, other, Watch, 1))
}

func TestRecorder_SurvivesFlushAll(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	c := newClock(time.Now().Truncate(time.Hour))
	r := newRecorder(t, redis.URL(), c)
	r.Observe(Batch, time.Second)
	r.refresh(t.Context())
	c.move(5 * time.Minute)
	flush(t, r)
	r.refresh(t.Context())
	r.Observe(Batch, time.Second)
	r.refresh(t.Context())

	restarted := newRecorder(t, redis.URL(), c)
	restarted.refresh(t.Context())
	require.EqualValues(t, 1, count(t, restarted, Batch, 60), "history restarts")
	require.EqualValues(t, 2, count(t, r, Batch, 60), "what this process measured is still true")
}

func flush(t *testing.T, r *Recorder) {
	t.Helper()
	client, err := r.connect(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.Do(t.Context(), client.B().Flushall().Build()).Error())
}

// TestRecorder_FrozenRedisCountsNothingTwice lets a write run into its deadline while its bytes
// wait in the socket of a frozen server, which takes them when it wakes up.
func TestRecorder_FrozenRedisCountsNothingTwice(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	c := newClock(time.Now())
	r := newRecorder(t, redis.URL(), c)
	r.refresh(t.Context())
	redis.Pause(t)
	for range 10 {
		r.Observe(Analyze, time.Second)
	}
	refreshed := make(chan struct{})
	go func() { defer close(refreshed); r.refresh(t.Context()) }()
	await.Value(t, refreshed, "it waits for the server")
	redis.Resume(t)
	for range 3 {
		r.Observe(Analyze, time.Second)
		heal(t, r)
	}
	r.refresh(t.Context())
	require.EqualValues(t, 13, count(t, r, Analyze, 1))
	other := newRecorder(t, redis.URL(), c)
	other.refresh(t.Context())
	require.EqualValues(t, 13, count(t, other, Analyze, 1))
}

// TestRecorder_WritesTwiceAfterAFailure is the defence against the stale bytes above arriving last.
func TestRecorder_WritesTwiceAfterAFailure(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	c := newClock(time.Now())
	r := newRecorder(t, redis.URL(), c)
	r.refresh(t.Context())
	r.Observe(Watch, time.Second)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.refresh(ended)
	require.True(t, r.sync.unsure)
	require.False(t, r.sync.failing, "being told to stop is no failure")
	r.Observe(Watch, time.Second)
	r.refresh(t.Context())
	client, err := r.connect(t.Context())
	require.NoError(t, err)
	key, field := minuteKey(c.now().Unix()/60), fieldName(Watch, r.writer)
	stale := client.B().Hset().Key(key).FieldValue().FieldValue(field, rueidis.BinaryString(encode(oneSample(time.Second)))).Build()
	require.NoError(t, client.Do(t.Context(), stale).Error())
	r.refresh(t.Context())
	other := newRecorder(t, redis.URL(), c)
	other.refresh(t.Context())
	require.EqualValues(t, 2, count(t, other, Watch, 1))
}

func TestRecorder_FindsWhatAnotherWriterWroteLate(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	c := newClock(time.Now().Truncate(time.Hour))
	reader, late := newRecorder(t, redis.URL(), c), newRecorder(t, redis.URL(), c)
	late.Observe(Watch, time.Second)
	c.move(4 * time.Hour)
	reader.refresh(t.Context())
	late.refresh(t.Context()) // it was frozen for four hours
	require.Zero(t, count(t, reader, Watch, MaxWindowMinutes))
	for range MaxWindowMinutes/recheckMinutes + 1 {
		reader.refresh(t.Context())
	}
	require.EqualValues(t, 1, count(t, reader, Watch, MaxWindowMinutes))
}

func TestRecorder_WindowEndsAreWholeMinutes(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	c := newClock(time.Date(2026, 3, 29, 0, 59, 59, 0, time.UTC))
	r := newRecorder(t, redis.URL(), c)
	r.Observe(Watch, time.Second)
	for _, step := range []struct {
		move    time.Duration
		window  int
		present bool
	}{
		{0, 1, true},
		{time.Minute, 1, true},       // 01:00:59: the window reaches back to 00:59:00
		{time.Second, 1, false},      // 01:01:00
		{0, 2, true},                 //
		{58 * time.Minute, 60, true}, // 01:59:00
		{time.Minute, 60, false},     // 02:00:00: reaches back to 01:00:00
		{0, MaxWindowMinutes, true},
		{23 * time.Hour, MaxWindowMinutes, false}, // 01:00:00 the next day
	} {
		c.move(step.move)
		r.refresh(t.Context())
		require.Equal(t, step.present, count(t, r, Watch, step.window) == 1, "%s, window %d", c.now().UTC(), step.window)
	}
}

func TestRecorder_KeysExpireAndForeignFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	c := newClock(time.Now())
	r := newRecorder(t, redis.URL(), c)
	r.Observe(TotalPipeline, time.Minute)
	r.refresh(t.Context())
	client, err := r.connect(t.Context())
	require.NoError(t, err)

	keys, err := client.Do(t.Context(), client.B().Keys().Pattern("*").Build()).AsStrSlice()
	require.NoError(t, err)
	number := c.now().Unix() / 60
	require.Equal(t, []string{"hsi:latency:" + strconv.FormatInt(number, 10)}, keys)
	expiry, err := client.Do(t.Context(), client.B().Expiretime().Key(keys[0]).Build()).AsInt64()
	require.NoError(t, err)
	require.Equal(t, (number+1)*60+25*3600, expiry)

	good := rueidis.BinaryString(encode(oneSample(time.Second)))
	set := client.B().Hset().Key(keys[0]).FieldValue().
		FieldValue("total_pipeline:other", good).
		FieldValue("total_pipeline:broken", good[:len(good)-1]).
		FieldValue("total_pipeline", good).
		FieldValue("a_stage_of_tomorrow:other", good)
	require.NoError(t, client.Do(t.Context(), set.Build()).Error())
	r.refresh(t.Context())
	require.EqualValues(t, 2, count(t, r, TotalPipeline, 1))
}

func TestRecorder_ClockStepsLoseNoSample(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	c := newClock(time.Now())
	r := newRecorder(t, redis.URL(), c)
	for _, step := range []time.Duration{0, time.Hour, -time.Hour, 0, -time.Hour, 10 * time.Minute} {
		c.move(step)
		r.Observe(Detect, time.Second)
		r.refresh(t.Context())
	}
	c.move(50 * time.Minute)
	r.refresh(t.Context())
	require.EqualValues(t, 5, count(t, r, Detect, MaxWindowMinutes), "all but the one an hour ahead")
	c.move(time.Hour)
	r.refresh(t.Context())
	require.EqualValues(t, 6, count(t, r, Detect, MaxWindowMinutes))
	restarted := newRecorder(t, redis.URL(), c)
	restarted.refresh(t.Context())
	require.EqualValues(t, 6, count(t, restarted, Detect, MaxWindowMinutes))
}

func TestRecorder_DropsNegativeDurations(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	r := newRecorder(t, redis.URL(), newClock(time.Now()))
	r.Observe(Detect, -time.Second)
	r.Observe(Detect, 0)
	r.refresh(t.Context())
	s, err := r.Summary(Detect, 1)
	require.NoError(t, err)
	require.Equal(t, Summary{Count: 1}, s)
}

func TestRecorder_RefusesBadWindowsAndStages(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	r := newRecorder(t, redis.URL(), newClock(time.Now()))
	r.refresh(t.Context())
	for _, window := range []int{-1, 0, MaxWindowMinutes + 1} {
		_, err := r.Summary(Detect, window)
		require.Error(t, err)
		require.NotErrorIs(t, err, ErrUnavailable)
	}
	_, err := r.Summary(stageCount, 1)
	require.Error(t, err)
}
