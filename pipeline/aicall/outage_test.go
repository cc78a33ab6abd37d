package aicall_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/aicall"
)

// A dead service is not hammered, however often it is wanted, and is called again as soon as it may
// be.
func TestClient_LeavesAServiceThatFailsAlone(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	var mended atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		if !mended.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	open := func(openFor time.Duration) *aicall.Client {
		client, err := aicall.New(aicall.Options{URL: server.URL, OpenFor: openFor})
		require.NoError(t, err)
		t.Cleanup(client.CloseIdle)
		return client
	}
	wanted := func(client *aicall.Client) error { _, err := post(t.Context(), client, "/", nil); return err }

	client := open(time.Hour)
	for range 1000 {
		require.Equal(t, aicall.Away, kind(t, wanted(client)))
	}
	require.EqualValues(t, 4, calls.Load())
	require.Contains(t, client.Trouble(), "breaker open since ")

	client = open(time.Millisecond)
	calls.Store(0)
	await.True(t, func() bool {
		require.Equal(t, aicall.Away, kind(t, wanted(client)))
		return calls.Load() >= 6
	}, "it is not tried again and again")
	mended.Store(true)
	await.True(t, func() bool { return wanted(client) == nil })
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
