package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
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

// nullable are the fields of which the API's description says so, by operation. "→" goes into an
// object, "[]" into an array. All others are never null.
var nullable = map[string][]string{
	"getReadiness": {"workers[]→message"},
	"getGPUStats":  {"gpu_name", "utilization", "memory_used", "memory_total", "temperature", "power_usage", "inference_fps"},
	"listGPUHistory": {
		"samples[]→gpu_name", "samples[]→utilization", "samples[]→memory_used", "samples[]→memory_total", "samples[]→temperature",
		"samples[]→power_usage", "samples[]→inference_fps",
	},
	"getTelemetry":       {"latencies→watch", "latencies→detect", "latencies→batch", "latencies→analyze"},
	"getPipelineLatency": {"watch_to_detect", "detect_to_batch", "batch_to_analyze", "total_pipeline"},
	// Absent and null mean the same there: unchanged.
	"updateSystemConfig request": {
		"retention_days", "batch_window_seconds", "batch_idle_timeout_seconds", "detection_confidence_threshold",
	},
}

// bounds are those that the API's description names.
var bounds = map[string]map[string][2]*float64{
	"getGPUStats": {"utilization": {new(0.0), new(100.0)}},
	"getStorage":  {"disk_usage_percent": {new(0.0), new(100.0)}},
	"getSystemConfig": {
		"retention_days": {new(1.0), new(365.0)}, "detection_confidence_threshold": {new(0.0), new(1.0)},
	},
	"updateSystemConfig request": {
		"retention_days": {new(1.0), new(365.0)}, "batch_window_seconds": {new(1.0), nil},
		"batch_idle_timeout_seconds": {new(1.0), nil}, "detection_confidence_threshold": {new(0.0), new(1.0)},
	},
}

// TestDescription_Fields: what the API's description shows stays, field for field and value for
// value: testdata/description.json has its examples and changes with it alone. Each is an example
// of the contract, which TestExamples lets the server answer, and each field of it is always there,
// with the type, nullability and bounds that the description names. What came later is in the
// contract only.
func TestDescription_Fields(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("testdata", "description.json"))
	require.NoError(t, err)
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // 65.0 is no integer
	var described map[string]map[string]any
	require.NoError(t, decoder.Decode(&described))
	require.Len(t, described, 13)
	operations := operationsByID(t)
	for name, example := range described {
		id, isRequest := strings.CutSuffix(name, " request")
		media := operations[id].Responses.Status(http.StatusOK).Value.Content.Get("application/json")
		if isRequest {
			media = operations[id].RequestBody.Value.Content.Get("application/json")
		}
		shown := false
		for _, each := range media.Examples {
			shown = shown || contains(plainJSON(t, each.Value.Value), plainJSON(t, example))
		}
		require.True(t, shown, "%s: the contract has no such example", name)
		check := fieldCheck{operation: name, required: !isRequest, seen: map[string]bool{}}
		check.object(t, media.Schema.Value, example, "")
		for _, row := range nullable[name] {
			require.True(t, check.seen[row], "%s: %s is in no example", name, row)
		}
		for row := range bounds[name] {
			require.True(t, check.seen[row], "%s: %s is in no example", name, row)
		}
		if isRequest {
			require.Empty(t, media.Schema.Value.Required)
			require.Len(t, media.Schema.Value.Properties, len(example))
		}
	}
	answerTo := func(id string) string {
		return operations[id].Responses.Status(http.StatusOK).Value.Content.Get("application/json").Schema.Ref
	}
	require.Equal(t, answerTo("getSystemConfig"), answerTo("updateSystemConfig"), "PATCH answers in the format of GET")
}

// contains tells whether a value has everything of another one: objects may have more keys.
func contains(all, part any) bool {
	switch part := part.(type) {
	case map[string]any:
		all, ok := all.(map[string]any)
		for key, value := range part {
			ok = ok && contains(all[key], value)
		}
		return ok
	case []any:
		all, ok := all.([]any)
		return ok && slices.EqualFunc(all, part, contains)
	default:
		return all == part
	}
}

// fieldCheck compares the fields of an example of the description with the contract.
type fieldCheck struct {
	operation string
	required  bool
	seen      map[string]bool
}

func (c *fieldCheck) object(t *testing.T, schema *openapi3.Schema, example map[string]any, place string) {
	t.Helper()
	for name, value := range example {
		if schema.AdditionalProperties.Schema != nil && schema.Properties[name] == nil {
			continue // a key of a map
		}
		require.Contains(t, schema.Properties, name, c.operation)
		require.Equal(t, c.required, slices.Contains(schema.Required, name), "%s: %s", c.operation, place+name)
		c.field(t, schema.Properties[name].Value, value, place+name)
	}
}

func (c *fieldCheck) field(t *testing.T, schema *openapi3.Schema, value any, place string) {
	t.Helper()
	c.seen[place] = true
	where := c.operation + ": " + place
	if len(schema.AllOf) == 1 { // a named schema that may be null
		inner := *schema.AllOf[0].Value
		inner.Nullable = schema.Nullable
		schema = &inner
	}
	if !strings.HasPrefix(place, "services→") { // the description shows only examples of these
		require.Equal(t, slices.Contains(nullable[c.operation], place), schema.Nullable, where)
	}
	if limits, bounded := bounds[c.operation][place]; bounded {
		require.Equal(t, limits[0], schema.Min, where)
		require.True(t, limits[1] == nil || *limits[1] == *schema.Max, where)
	}
	kind := openapi3.TypeString
	switch value := value.(type) {
	case nil:
		require.True(t, schema.Nullable, where)
		return
	case bool:
		kind = openapi3.TypeBoolean
	case json.Number:
		if kind = openapi3.TypeInteger; strings.Contains(value.String(), ".") {
			kind = openapi3.TypeNumber
			require.Equal(t, "double", schema.Format, where)
		}
	case string:
		_, err := time.Parse(time.RFC3339, value)
		require.Equal(t, err == nil, schema.Format == "date-time", where)
	case map[string]any:
		kind = openapi3.TypeObject
		c.object(t, schema, value, place+"→")
	case []any:
		kind = openapi3.TypeArray
		for _, item := range value {
			c.object(t, schema.Items.Value, item.(map[string]any), place+"[]→")
		}
	}
	require.True(t, schema.Type.Is(kind), "%s is %v and not %s", where, schema.Type, kind)
}

// TestDescription_ExampleRequests: the command lines that the API's description shows, with their
// parameters, headers and bodies.
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

// TestTimestamps_AreThoseOfTheAnswer: a snapshot has the time at which it was taken, and one of
// several parts that of the oldest.
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
