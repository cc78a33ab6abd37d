package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/store"
)

// askHistory asks for the GPU history and returns status, tag and body.
func (ts *testServer) askHistory(t *testing.T, query, ifNoneMatch string) (status int, etag, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ts.url+"/api/system/gpu/history"+query, nil)
	require.NoError(t, err)
	if ifNoneMatch != "" {
		request.Header.Set("If-None-Match", ifNoneMatch)
	}
	response, err := ts.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header.Get("Etag"), string(content)
}

func TestGPUHistory_IsKeptWhileNothingChanges(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	var revision, reads atomic.Int64
	f.revision = func(context.Context) (string, error) { return strconv.FormatInt(revision.Load(), 10), nil }
	f.samples = func(context.Context, *time.Time, int) ([]store.GPUSample, error) {
		reads.Add(1)
		return []store.GPUSample{{RecordedAt: at(t, "2025-12-23T10:00:00Z").Add(time.Duration(revision.Load()) * time.Second)}}, nil
	}
	ts := start(t, f)

	status, etag, body := ts.askHistory(t, "", "")
	require.Equal(t, http.StatusOK, status)
	require.NotEmpty(t, etag)
	_, again, same := ts.askHistory(t, "", "")
	require.Equal(t, etag, again)
	require.Equal(t, body, same)
	require.EqualValues(t, 1, reads.Load(), "asked again while nothing changed")

	for _, header := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
		status, tag, empty := ts.askHistory(t, "", header)
		require.Equal(t, http.StatusNotModified, status, header)
		require.Equal(t, etag, tag)
		require.Empty(t, empty)
	}
	status, _, _ = ts.askHistory(t, "", `"other"`)
	require.Equal(t, http.StatusOK, status)

	_, _, other := ts.askHistory(t, "?limit=7", "")
	require.NotEqual(t, body, other, "another question has another answer")
	_, _, other = ts.askHistory(t, "?since=2025-12-23T09:00:00Z", etag)
	require.EqualValues(t, 3, reads.Load())
	require.Empty(t, other, "it has the same answer, though")

	revision.Add(1)
	status, changed, fresh := ts.askHistory(t, "", etag)
	require.Equal(t, http.StatusOK, status)
	require.NotEqual(t, etag, changed)
	require.NotEqual(t, body, fresh)
}

// What was read before the revision moved must not be kept under the new one.
func TestHistories_ARevisionThatMovesMeanwhile(t *testing.T) {
	t.Parallel()
	h := newHistories()
	key := historyKeyOf(nil, 300)
	history := func(count int32) func() (gen.GPUHistory, error) {
		return func() (gen.GPUHistory, error) { return gen.GPUHistory{Count: count}, nil }
	}
	_, err := h.get(key, "2", history(2))
	require.NoError(t, err)
	_, err = h.get(key, "1", history(1)) // began earlier, ends later
	require.NoError(t, err)
	answer, err := h.get(key, "2", history(2))
	require.NoError(t, err)
	require.Contains(t, string(answer.body), `"count":2`)
	_, err = h.get(key, "3", func() (gen.GPUHistory, error) { return gen.GPUHistory{}, errors.New("database is away") })
	require.Error(t, err, "an old answer is not given for a new state")
}

func TestHistories_AreBounded(t *testing.T) {
	t.Parallel()
	h := newHistories()
	for limit := range int32(5000) {
		_, err := h.get(historyKeyOf(nil, limit), "1", func() (gen.GPUHistory, error) { return gen.GPUHistory{Limit: limit}, nil })
		require.NoError(t, err)
	}
	require.Equal(t, keptHistories, h.kept.Len())
}

func TestJoined_NeverAnswersWithAReadThatBeganBefore(t *testing.T) {
	t.Parallel()
	var state, reads atomic.Int64
	j := &joined[int64]{timeout: time.Minute, read: func(context.Context) (int64, error) {
		reads.Add(1)
		seen := state.Load()
		return seen, nil
	}}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 2000 {
				least := state.Add(1) // a write of our own
				got, err := j.get(t.Context())
				if err != nil || got < least {
					t.Errorf("got %d (%v), wrote %d before", got, err, least)
					return
				}
			}
		})
	}
	group.Wait()
	require.LessOrEqual(t, reads.Load(), int64(8*2000))
}

func TestJoined_SharesOneRead(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}, 10), make(chan struct{})
	var reads atomic.Int64
	j := &joined[int64]{timeout: time.Minute, read: func(context.Context) (int64, error) {
		n := reads.Add(1)
		begun <- struct{}{}
		<-release
		return n, nil
	}}
	results := make(chan int64, 11)
	ask := func() {
		value, err := j.get(t.Context())
		if err != nil {
			value = -1
		}
		results <- value
	}
	go ask()
	<-begun // the first read is under way: ten more wait for the second
	for range 10 {
		go ask()
	}
	release <- struct{}{}
	require.EqualValues(t, 1, <-results)
	<-begun
	close(release)
	for range 10 {
		require.GreaterOrEqual(t, <-results, int64(2))
	}
	require.LessOrEqual(t, reads.Load(), int64(11))
}

func TestJoined_WaitsNoLongerThanItsRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		j := &joined[int64]{timeout: time.Minute, read: func(context.Context) (int64, error) { <-release; return 1, nil }}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := j.get(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		close(release)
		value, err := j.get(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, value)
	})
}

func TestJoined_APanicIsAnError(t *testing.T) {
	t.Parallel()
	j := &joined[int64]{timeout: time.Minute, read: func(context.Context) (int64, error) { panic("broken") }}
	_, err := j.get(t.Context())
	require.ErrorContains(t, err, "broken")
}
