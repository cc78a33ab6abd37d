package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// discarded is an answer that nobody reads.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header               { return d.header }
func (*discarded) Write(p []byte) (int, error)         { return len(p), nil }
func (*discarded) WriteHeader(int)                     {}
func (d *discarded) WriteString(s string) (int, error) { return len(s), nil }

// BenchmarkOperations is what the edge and the handlers cost, with dependencies that answer at
// once.
func BenchmarkOperations(b *testing.B) {
	f := newFakes(b)
	options := f.options()
	options.Log = slog.New(slog.DiscardHandler)
	s, err := New(options)
	require.NoError(b, err)
	handler := s.Handler()
	for _, path := range []string{
		"/health", "/ready", "/api/system/health", "/api/system/health/ready", "/api/system/gpu", "/api/system/config", "/api/system/stats",
		"/api/system/severity", "/api/system/storage", "/api/system/telemetry", "/api/system/pipeline-latency?window_minutes=60",
		"/api/system/gpu/history?limit=300",
	} {
		b.Run(strings.TrimPrefix(path, "/"), func(b *testing.B) {
			request := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "http://127.0.0.1:8000"+path, nil)
			b.ReportAllocs()
			for b.Loop() {
				handler.ServeHTTP(&discarded{header: http.Header{}}, request)
			}
		})
	}
}
