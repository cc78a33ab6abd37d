package server

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/media"
)

// TestDescription_Endpoints: the overview of the API's description, row by row.
func TestDescription_Endpoints(t *testing.T) {
	t.Parallel()
	doc, err := spec()
	require.NoError(t, err)
	s := start(t, newFakes(t))
	for _, row := range []struct{ method, path string }{
		{"GET", "/api/system/health"},
		{"GET", "/health"},
		{"GET", "/api/system/health/ready"},
		{"GET", "/api/system/gpu"},
		{"GET", "/api/system/gpu/history"},
		{"GET", "/api/system/stats"},
		{"GET", "/api/system/config"},
		{"PATCH", "/api/system/config"},
		{"GET", "/api/system/telemetry"},
		{"GET", "/api/system/pipeline-latency"},
		{"POST", "/api/system/cleanup"},
		{"GET", "/api/system/severity"},
		{"GET", "/api/system/storage"},
	} {
		item := doc.Paths.Value(row.path)
		require.NotNil(t, item, row.path)
		require.NotNil(t, item.GetOperation(row.method), "%s %s", row.method, row.path)
		body := ""
		if row.method == http.MethodPatch {
			body = "{}"
		}
		s.send(t, row.method, row.path, body).want(t, http.StatusOK)
	}
	s.get(t, "/api/system/health/live").want(t, http.StatusNotFound) // removed: /health is the one
}

// field is a row of a table of fields in the API's description.
type field struct {
	name, kind string // the kind in the words of the description
	nullable   bool
	min, max   *float64
}

func plain(kind string, names ...string) []field {
	fields := make([]field, len(names))
	for i, name := range names {
		fields[i] = field{name: name, kind: kind}
	}
	return fields
}

func nullable(kind string, names ...string) []field {
	fields := plain(kind, names...)
	for i := range fields {
		fields[i].nullable = true
	}
	return fields
}

func concat(lists ...[]field) (all []field) {
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// described are the tables of fields of the API's description, and what its examples show beyond them. "→" goes into an object, "[]" into an array.
var described = map[string][]field{
	"getLiveness": plain("string", "status"),
	"getHealth":   concat(plain("string", "status"), plain("object", "services"), plain("datetime", "timestamp")),
	"getReadiness": concat(plain("boolean", "ready"), plain("string", "status"), plain("object", "services"), plain("array", "workers"),
		plain("datetime", "timestamp"), plain("string", "workers[]→name"), plain("boolean", "workers[]→running"), nullable("string", "workers[]→message")),
	"getGPUStats": concat(nullable("string", "gpu_name"),
		[]field{{"utilization", "float", true, new(0.0), new(100.0)}},
		nullable("integer", "memory_used", "memory_total"), nullable("float", "temperature", "power_usage", "inference_fps")),
	"listGPUHistory": concat(plain("array", "samples"), plain("integer", "count", "limit"), plain("datetime", "samples[]→recorded_at"),
		nullable("string", "samples[]→gpu_name"), nullable("float", "samples[]→utilization", "samples[]→temperature", "samples[]→power_usage",
			"samples[]→inference_fps"), nullable("integer", "samples[]→memory_used", "samples[]→memory_total")),
	"getStats":           concat(plain("integer", "total_cameras", "total_events", "total_detections"), plain("float", "uptime_seconds")),
	"getSystemConfig":    configFields,
	"updateSystemConfig": configFields,
	"getTelemetry": concat(plain("integer", "queues→detection_queue", "queues→analysis_queue"),
		nullable("object", "latencies→watch", "latencies→detect", "latencies→batch", "latencies→analyze"),
		plain("float", "latencies→watch→avg_ms", "latencies→watch→min_ms", "latencies→watch→max_ms", "latencies→watch→p50_ms",
			"latencies→watch→p95_ms", "latencies→watch→p99_ms"), plain("integer", "latencies→watch→sample_count"), plain("datetime", "timestamp")),
	"getPipelineLatency": concat(nullable("object", "watch_to_detect", "detect_to_batch", "batch_to_analyze", "total_pipeline"),
		plain("float", "total_pipeline→avg_ms", "total_pipeline→p99_ms"), plain("integer", "window_minutes"), plain("datetime", "timestamp")),
	"runCleanup": concat(plain("integer", "events_deleted", "detections_deleted", "gpu_stats_deleted", "logs_deleted", "thumbnails_deleted",
		"images_deleted", "space_reclaimed", "retention_days"), plain("boolean", "dry_run"), plain("datetime", "timestamp")),
	"getSeverity": concat(plain("array", "definitions"), plain("string", "definitions[]→severity", "definitions[]→label", "definitions[]→description",
		"definitions[]→color"), plain("integer", "definitions[]→priority", "definitions[]→min_score", "definitions[]→max_score",
		"thresholds→low_max", "thresholds→medium_max", "thresholds→high_max")),
	"getStorage": concat(plain("integer", "disk_used_bytes", "disk_total_bytes", "disk_free_bytes"),
		[]field{{"disk_usage_percent", "float", false, new(0.0), new(100.0)}}, plain("object", "thumbnails", "images", "clips"),
		plain("integer", "thumbnails→file_count", "thumbnails→size_bytes", "images→file_count", "clips→size_bytes", "events_count", "detections_count",
			"gpu_stats_count", "logs_count"), plain("datetime", "timestamp")),
}

var configFields = concat(plain("string", "app_name", "version"), []field{{"retention_days", "integer", false, new(1.0), new(365.0)}},
	plain("integer", "batch_window_seconds", "batch_idle_timeout_seconds"), []field{{"detection_confidence_threshold", "float", false, new(0.0), new(1.0)}})

// updatable are the request fields of PATCH, none of them required.
var updatable = []field{
	{"retention_days", "integer", true, new(1.0), new(365.0)},
	{"batch_window_seconds", "integer", true, new(1.0), nil},
	{"batch_idle_timeout_seconds", "integer", true, new(1.0), nil},
	{"detection_confidence_threshold", "float", true, new(0.0), new(1.0)},
}

// TestDescription_Fields: every field of the tables is always there, with the type, nullability and bounds that they name.
func TestDescription_Fields(t *testing.T) {
	t.Parallel()
	doc, err := spec()
	require.NoError(t, err)
	require.Len(t, described, 13)
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			for _, row := range described[operation.OperationID] {
				checkField(t, operation.Responses.Status(200).Value.Content.Get("application/json").Schema.Value, row, true)
			}
		}
	}
	update := doc.Paths.Value("/api/system/config").Patch.RequestBody.Value.Content.Get("application/json").Schema.Value
	require.Empty(t, update.Required)
	require.Len(t, update.Properties, len(updatable))
	for _, row := range updatable {
		checkField(t, update, row, false)
	}
}

func checkField(t *testing.T, schema *openapi3.Schema, row field, required bool) {
	t.Helper()
	for name := range strings.SplitSeq(row.name, "→") {
		name, inArray := strings.CutSuffix(name, "[]")
		require.Contains(t, schema.Properties, name, row.name)
		require.Equal(t, required, slices.Contains(schema.Required, name), row.name)
		schema = schema.Properties[name].Value
		if len(schema.AllOf) == 1 { // a named schema that may be null
			inner := *schema.AllOf[0].Value
			inner.Nullable = schema.Nullable
			schema = &inner
		}
		if inArray {
			schema = schema.Items.Value
		}
	}
	kind, format := map[string]string{"float": "number", "datetime": "string"}[row.kind], map[string]string{"float": "double", "datetime": "date-time"}[row.kind]
	if kind == "" {
		kind = row.kind
	}
	require.True(t, schema.Type.Is(kind), "%s is %v and not %s", row.name, schema.Type, kind)
	if format != "" {
		require.Equal(t, format, schema.Format, row.name)
	}
	require.Equal(t, row.nullable, schema.Nullable, row.name)
	if row.min != nil {
		require.InDelta(t, *row.min, *schema.Min, 0, row.name)
	}
	if row.max != nil {
		require.InDelta(t, *row.max, *schema.Max, 0, row.name)
	}
}

// TestDescription_ExampleRequests: the command lines that the API's description shows, with their parameters, headers and bodies.
func TestDescription_ExampleRequests(t *testing.T) {
	t.Parallel()
	open, locked := start(t, newFakes(t)), start(t, newFakes(t), func(o *Options) { o.APIKeyEnabled, o.APIKeys = true, []string{"your-api-key"} })
	for _, s := range []*testServer{open, locked} {
		key := header("X-API-Key", "your-api-key")
		s.get(t, "/api/system/gpu/history?limit=100").want(t, http.StatusOK)
		s.get(t, "/api/system/gpu/history?since=2025-12-23T09:00:00Z").want(t, http.StatusOK)
		patched := s.send(t, http.MethodPatch, "/api/system/config", `{"retention_days": 14}`, key).want(t, http.StatusOK)
		require.EqualValues(t, 14, decoded(t, patched.body)["retention_days"])
		dry := s.send(t, http.MethodPost, "/api/system/cleanup?dry_run=true", "", key).want(t, http.StatusOK)
		require.Equal(t, true, decoded(t, dry.body)["dry_run"])
		deleted := s.send(t, http.MethodPost, "/api/system/cleanup", "", key).want(t, http.StatusOK)
		require.Equal(t, false, decoded(t, deleted.body)["dry_run"])
	}
}

// TestStats_UptimeIsThatOfTheServer: the clock of the server says how long it runs.
func TestStats_UptimeIsThatOfTheServer(t *testing.T) {
	t.Parallel()
	var passed atomic.Int64 // milliseconds
	began := at(t, "2025-12-23T10:30:00Z")
	s := start(t, newFakes(t), func(o *Options) {
		o.Now = func() time.Time { return began.Add(time.Duration(passed.Load()) * time.Millisecond) }
	})
	for _, milliseconds := range []int64{0, 1, 86_400_500} {
		passed.Store(milliseconds)
		body := decoded(t, s.get(t, "/api/system/stats").want(t, http.StatusOK).body)
		require.InDelta(t, float64(milliseconds)/1000, body["uptime_seconds"], 1e-9)
	}
}

// TestTimestamps_AreThoseOfTheAnswer: a snapshot has the time at which it was taken, and one of several parts that of the oldest.
func TestTimestamps_AreThoseOfTheAnswer(t *testing.T) {
	t.Parallel()
	const now, older = "2025-12-28T10:30:00Z", "2025-12-27T10:30:00Z"
	f := newFakes(t)
	report, err := f.media()
	require.NoError(t, err)
	s := start(t, f, func(o *Options) { o.Now = func() time.Time { return at(t, now).In(time.FixedZone("", 3600)) } })
	stamp := func(path string) any { return decoded(t, s.get(t, path).want(t, http.StatusOK).body)["timestamp"] }
	require.Equal(t, now, stamp("/api/system/telemetry"))
	require.Equal(t, now, stamp("/api/system/pipeline-latency"))

	for files, want := range map[string]string{older: older, "2025-12-30T10:30:00Z": now} {
		other := newFakes(t)
		report.At = at(t, files)
		kept := report
		other.media = func() (media.Report, error) { return kept, nil }
		s = start(t, other, func(o *Options) { o.Now = func() time.Time { return at(t, now) } })
		require.Equal(t, want, stamp("/api/system/storage"))
	}
}
