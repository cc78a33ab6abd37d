package aicall_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aicall"
)

// A dead service is not hammered, however often it is wanted, and is called again as soon as it may be.
func TestClient_LeavesAServiceThatFailsAlone(t *testing.T) {
	t.Parallel()
	const openFor = 300 * time.Millisecond
	var calls atomic.Int64
	var mended atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		if !mended.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	client, err := aicall.New(aicall.Options{URL: server.URL, OpenFor: openFor})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdle)
	startedAt := time.Now()
	for time.Since(startedAt) < 4*openFor {
		_, err := post(t.Context(), client, "/", nil)
		require.Equal(t, aicall.Away, kind(t, err))
	}
	most := 4 + int64(time.Since(startedAt)/openFor)
	require.LessOrEqual(t, calls.Load(), most)
	require.GreaterOrEqual(t, calls.Load(), int64(6), "it is tried again and again")
	require.Contains(t, client.Trouble(), "breaker open since ")

	mended.Store(true)
	require.Eventually(t, func() bool {
		_, err := post(t.Context(), client, "/", nil)
		return err == nil
	}, 20*openFor, time.Millisecond)
	require.Empty(t, client.Trouble())
}

// A panic of the reader is a failure like any other, and the call is over.
func TestClient_APanicEndsTheCall(t *testing.T) {
	t.Parallel()
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "reply") })
	for range 4 {
		require.Panics(t, func() {
			_ = client.Call(t.Context(), "/", "text/plain", nil, func([]byte) error { panic("the reader fell over") })
		})
	}
	_, busy := client.BusySince()
	require.False(t, busy)
	require.NotEmpty(t, client.Trouble())
}
