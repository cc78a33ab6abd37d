package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gen"
)

func configValidator(tb testing.TB) *validator {
	tb.Helper()
	doc, err := spec()
	require.NoError(tb, err)
	found, err := operations(doc)
	require.NoError(tb, err)
	return found["updateSystemConfig"].validator
}

// FuzzBody: whatever the bytes, the validator does not fail on our side, answers shortly, and what
// it lets pass means the same to a strict reader as to the generated binder.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"retention_days":14}`, `{"retention_days":14.0}`, `{"retention_days":null}`, `{"retention_days":1,"retention_days":2}`,
		`{"retention_days":1,"RETENTION_DAYS":2}`, `{"detection_confidence_threshold":1e-1}`, `{"batch_window_seconds":2147483648}`,
		`[]`, `null`, ``, `{`, `{}x`, "\xff", `{"a":{"b":[1,2,{"c":null}]}}`, `{"retention\u005fdays":7}`, `{"\ud800":1}`, "{\"\u212aey\":1}",
	} {
		f.Add([]byte(seed))
	}
	v := configValidator(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, "http://localhost/api/system/config", bytes.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		err = v.check(request, nil)
		if err != nil {
			p := toProblem(nil, err)
			require.Contains(t, []int{413, 422}, p.status)
			encoded, err := p.body()
			require.NoError(t, err)
			require.True(t, utf8.Valid(encoded))
			require.Less(t, len(encoded), 20_000)
			return
		}
		require.True(t, utf8.Valid(body))
		strict := json.NewDecoder(bytes.NewReader(body))
		strict.DisallowUnknownFields()
		var update gen.SystemConfigUpdate
		require.NoError(t, strict.Decode(&update))
		require.False(t, strict.More())
		var keys map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(body, &keys))
		require.NotNil(t, keys)
		for key, value := range keys {
			text := string(value)
			if key != "detection_confidence_threshold" && text != "null" {
				require.Regexp(t, `^[0-9]+$`, text)
			}
		}
		// As many keys as the text has: none was given twice.
		require.Equal(t, len(keys), countKeys(t, body))
	})
}

// countKeys counts the keys of a flat object, by the colons outside of texts.
func countKeys(t *testing.T, body []byte) int {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(body))
	count := -1 // the opening brace
	for decoder.More() || count < 0 {
		_, err := decoder.Token()
		require.NoError(t, err)
		count++
	}
	return count / 2
}

// FuzzQuery: whatever the query, the validator does not fail on our side, and what it lets pass has
// each known parameter once.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "limit=5", "limit=5&limit=6", "since=2025-12-23T09:00:00Z", "x=1", "%zz", "a;b", "limit=%ff", "limit=+5", "limit=007"} {
		f.Add(seed)
	}
	doc, err := spec()
	require.NoError(f, err)
	found, err := operations(doc)
	require.NoError(f, err)
	v := found["listGPUHistory"].validator
	f.Fuzz(func(t *testing.T, query string) {
		request := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/api/system/gpu/history", RawQuery: query}, Header: http.Header{}, Body: http.NoBody}
		if err := v.check(request, nil); err != nil {
			p := toProblem(nil, err)
			require.Equal(t, 422, p.status)
			encoded, err := p.body()
			require.NoError(t, err)
			require.Less(t, len(encoded), 20_000)
			return
		}
		values, err := url.ParseQuery(request.URL.RawQuery)
		require.NoError(t, err)
		require.Len(t, values["limit"], 1)
		for name, sent := range values {
			require.Contains(t, []string{"limit", "since"}, name)
			require.Len(t, sent, 1)
		}
		if since := values.Get("since"); since != "" {
			at, err := fromAPISince(&since)
			if err == nil {
				require.GreaterOrEqual(t, at.Year(), 1)
			} else {
				require.Equal(t, 422, toProblem(nil, err).status)
			}
		}
	})
}

func TestCheckJSON_DepthIsBounded(t *testing.T) {
	t.Parallel()
	items, readable := checkJSON([]byte(strings.Repeat("[", maxJSONDepth+1)+strings.Repeat("]", maxJSONDepth+1)), nil)
	require.False(t, readable)
	require.Contains(t, items[0].Msg, "nested deeper")
	_, readable = checkJSON([]byte(strings.Repeat("[", maxJSONDepth-1)+strings.Repeat("]", maxJSONDepth-1)), nil)
	require.True(t, readable)
}

func BenchmarkValidator_Patch(b *testing.B) {
	v := configValidator(b)
	body := []byte(`{"retention_days":14,"batch_window_seconds":60,"batch_idle_timeout_seconds":20,"detection_confidence_threshold":0.6}`)
	b.ReportAllocs()
	for b.Loop() {
		request, err := http.NewRequestWithContext(b.Context(), http.MethodPatch, "/api/system/config", bytes.NewReader(body))
		require.NoError(b, err)
		request.Header.Set("Content-Type", "application/json")
		require.NoError(b, v.check(request, nil))
	}
}

// A body of 64 kB can have tens of thousands of faults: each is compared with those that are kept,
// not with all before it.
func TestMergeItems_KeepsAFew(t *testing.T) {
	t.Parallel()
	many := make([]gen.ValidationErrorItem, 1000)
	for i := range many {
		many[i] = gen.ValidationErrorItem{Loc: []string{"body", strconv.Itoa(i)}, Msg: "too small", Type: "minimum"}
	}
	require.Equal(t, many[:maxItems], mergeItems(nil, many))
	require.Equal(t, many[:maxItems], mergeItems(many[:3], many))
}
