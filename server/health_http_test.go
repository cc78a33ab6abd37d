package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline"
	"hsi.home.arpa/server/health"
)

// blackHole is a dependency that never answers and does not care about contexts.
type blackHole struct{ closed chan struct{} }

func (b blackHole) Ping(context.Context) error { <-b.closed; return nil }

func (b blackHole) Migrated() <-chan struct{} { return b.closed }

func (b blackHole) Version(context.Context) (string, error) { <-b.closed; return "", nil }

func (b blackHole) RoundTrip(r *http.Request) (*http.Response, error) {
	<-b.closed
	return nil, r.Context().Err()
}

func (b blackHole) storage(context.Context) (string, error) { <-b.closed; return "", nil }

func (b blackHole) Workers() []pipeline.WorkerStatus { return nil }

// In this test time passes only while all wait, so an answer that waits for anything shows.
func TestProbes_AnswerAtOnceWhenEverythingHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, probesAnswerAtOnce)
}

func probesAnswerAtOnce(t *testing.T) {
	t.Helper()
	hole := blackHole{make(chan struct{})}
	f := newFakes(t)
	monitor, err := health.New(health.Options{
		Database: hole, Redis: hole, Storage: hole.storage, Workers: hole, AITransport: hole,
		Detector: health.AIService{URL: "http://a.test"}, Analyzer: health.AIService{URL: "http://b.test"}, Log: f.options().Log,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- monitor.Run(ctx) }()
	defer func() {
		cancel()
		close(hole.closed)
		require.NoError(t, <-done)
	}()
	f.health, f.readiness = monitor.Health, monitor.Readiness
	s, err := New(f.options())
	require.NoError(t, err)
	handler := s.Handler()
	for target, status := range map[string]int{"/health": 200, "/ready": 503, "/api/system/health": 503, "/api/system/health/ready": 503} {
		for range 100 {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
			recorder := httptest.NewRecorder()
			startedAt := time.Now()
			handler.ServeHTTP(recorder, request)
			require.Equal(t, startedAt, time.Now(), target)
			require.Equal(t, status, recorder.Code)
		}
		<-time.After(time.Second) // the checks go on meanwhile
	}
}

func BenchmarkHandler(b *testing.B) {
	for _, target := range []string{"/health", "/api/system/health", "/api/system/gpu", "/api/system/stats", "/api/system/gpu/history?limit=5"} {
		b.Run(target, func(b *testing.B) {
			f := newFakes(b)
			options := f.options()
			options.Log = discard()
			s, err := New(options)
			require.NoError(b, err)
			handler := s.Handler()
			b.ReportAllocs()
			for b.Loop() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(b.Context(), http.MethodGet, "http://localhost"+target, http.NoBody))
			}
		})
	}
}
