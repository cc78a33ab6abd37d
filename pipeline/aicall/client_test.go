package aicall_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hsi.home.arpa/pipeline/aicall"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, handler http.HandlerFunc) *aicall.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return open(t, server.URL+"/prefix/")
}

func open(t *testing.T, url string) *aicall.Client {
	t.Helper()
	client, err := aicall.New(aicall.Options{URL: url, APIKey: "key", ConnectTimeout: time.Second, ReadTimeout: 200 * time.Millisecond, MaxReplyBytes: 1000})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdle)
	return client
}

// post makes a call whose reply makes sense whatever it is.
func post(ctx context.Context, client *aicall.Client, path string, body []byte) (reply []byte, err error) {
	err = client.Call(ctx, path, "text/plain", body, func(r []byte) error {
		reply = r
		return nil
	})
	return reply, err
}

func kind(t *testing.T, err error) aicall.Kind {
	t.Helper()
	failure, ok := errors.AsType[*aicall.Failure](err)
	require.True(t, ok, "%v", err)
	return failure.Kind
}

func TestClient_Post(t *testing.T) {
	t.Parallel()
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write([]byte(r.Method + " " + r.URL.Path + " " + r.Header.Get("X-API-Key") + " " + r.Header.Get("Content-Type") + " " + string(body)))
	})
	reply, err := post(t.Context(), client, "/detect", []byte("hello"))
	require.NoError(t, err)
	require.Equal(t, "POST /prefix/detect key text/plain hello", string(reply))
	require.Equal(t, 1200*time.Millisecond, client.Limit())
}

// Services differ in where they look for the key. A login that is part of the address belongs to
// something in front of the service.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, key, apiKey, authorization string }{
		{"http://ai", "", "", ""},
		{"http://ai", "the-key", "the-key", "Bearer the-key"},
		{"http://user:hunter2@ai", "the-key", "the-key", ""}, // net/http adds the login when it sends
		{"http://user:hunter2@ai", "", "", ""},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.url, http.NoBody)
		require.NoError(t, err)
		aicall.Authorize(request, test.key)
		require.Equal(t, []string{test.apiKey, test.authorization}, []string{request.Header.Get("X-API-Key"), request.Header.Get("Authorization")}, test)
	}
}

func TestClient_BoundsTheReply(t *testing.T) {
	t.Parallel()
	size := make(chan int, 1)
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", <-size)) })
	size <- 1000
	reply, err := post(t.Context(), client, "/", nil)
	require.NoError(t, err)
	require.Len(t, reply, 1000)
	size <- 1001
	_, err = post(t.Context(), client, "/", nil)
	require.Equal(t, aicall.Suspect, kind(t, err))
}

func TestClient_DoesNotFollowRedirects(t *testing.T) {
	t.Parallel()
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/elsewhere" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}
	})
	_, err := post(t.Context(), client, "/", nil)
	require.Equal(t, aicall.Away, kind(t, err))
}

func TestClient_TheCallerGivesUp(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	client := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		if _, busy := client.BusySince(); busy {
			cancel()
		}
	}()
	_, err := post(ctx, client, "/", nil)
	require.ErrorIs(t, err, context.Canceled)
	_, isFailure := errors.AsType[*aicall.Failure](err)
	require.False(t, isFailure, "giving up is no fault of the service")
	_, busy := client.BusySince()
	require.False(t, busy)
}

func TestClient_ADeadlineIsASlowService(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"nothing": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"half a reply": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		client := serve(t, answer)
		for i := range 4 {
			// The caller's deadline is the nearer one, and does not change whose fault it is.
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			_, err := post(ctx, client, "/", nil)
			cancel()
			want := aicall.Suspect
			if i >= 3 {
				want = aicall.Away
			}
			require.Equal(t, want, kind(t, err), "%s, call %d", name, i)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	}
}

func TestClient_KeepsSecretsAndControlCharactersOutOfErrors(t *testing.T) {
	t.Parallel()
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "no\x1b[31m\n\nway \xff"+strings.Repeat("y", 900))
	})
	_, err := post(t.Context(), client, "/", nil)
	require.Equal(t, aicall.Refused, kind(t, err))
	require.Contains(t, err.Error(), "status 400: no[31m way \uFFFDyyy")
	require.Less(t, len(err.Error()), 300)

	_, err = post(t.Context(), open(t, "http://user:hunter2@127.0.0.1:1"), "/", nil)
	require.Equal(t, aicall.Away, kind(t, err))
	require.NotContains(t, err.Error(), "hunter2")

	// A service that repeats what it was sent, at the end of what is kept of its reply too.
	for _, padding := range []int{0, 150, 195, 790, 799} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, password, _ := r.BasicAuth()
			_, _ = io.WriteString(w, strings.Repeat("y", padding)+password+" "+r.Header.Get("X-Api-Key")+" "+r.Header.Get("Authorization"))
		}))
		t.Cleanup(server.Close)
		client, err := aicall.New(aicall.Options{URL: strings.Replace(server.URL, "http://", "http://user:hunter2@", 1), APIKey: "the-key-itself"})
		require.NoError(t, err)
		t.Cleanup(client.CloseIdle)
		_, err = post(t.Context(), client, "/", nil)
		require.Equal(t, aicall.Refused, kind(t, err))
		for _, part := range []string{"hunt", "the-k", "dXNlcjpodW50ZXIy"} {
			require.NotContains(t, err.Error(), part, "after %d characters", padding)
		}
	}
}
