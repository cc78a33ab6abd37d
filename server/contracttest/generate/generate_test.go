package generate

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hsi.home.arpa/server/contracttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var locked = Settings{APIKey: "correct-horse", Session: "hsi_session_1=x", AllowedHost: "cams.example.net", TrustedOrigin: "https://dash.example.com"}

// newGenerator makes requests from the contract and from the operations of the tests.
func newGenerator(t *testing.T, settings Settings) (*openapi3.T, *Generator) {
	t.Helper()
	doc := contracttest.WithThings(t)
	g, err := New(doc, settings)
	require.NoError(t, err)
	return doc, g
}

const tried = 16_000

// TestRequest_IsRepeated: seed and number say everything.
func TestRequest_IsRepeated(t *testing.T) {
	t.Parallel()
	_, one := newGenerator(t, locked)
	_, other := newGenerator(t, locked)
	for number := range uint64(2000) {
		require.Equal(t, one.Request(7, number), other.Request(7, number))
	}
	a, b := one.Request(7, 1), one.Request(8, 1)
	require.NotEqual(t, a.String(), b.String())
}

// TestRequest_ReachesEverything: each operation gets right requests and each of the answers that
// depend on the request alone, and every parameter and key of the contract is tried with right and
// with wrong values.
func TestRequest_ReachesEverything(t *testing.T) {
	t.Parallel()
	doc, g := newGenerator(t, locked)
	_, open := newGenerator(t, Settings{AllowedHost: locked.AllowedHost, TrustedOrigin: locked.TrustedOrigin})
	answers := map[string]map[int]int{}
	fields := map[string]int{}
	for number := range uint64(2 * tried) {
		r := g.Request(1, number)
		if number >= tried {
			r = open.Request(1, number)
		}
		if answers[r.OperationID] == nil {
			answers[r.OperationID] = map[int]int{}
		}
		for _, status := range r.Statuses {
			answers[r.OperationID][status]++
		}
		if len(r.Field) > 1 {
			fields[r.OperationID+" "+strings.Join(r.Field[:2], ".")]++
		}
		isDone := slices.ContainsFunc(r.Statuses, func(status int) bool { return status < 400 && status != 204 })
		require.Equal(t, r.IsValid(), isDone, r.String())
		require.False(t, r.Writes && !r.IsValid())
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			got := answers[operation.OperationID]
			if operation.OperationID == "streamEvents" { // no request is made for it: its answer has no end
				require.Empty(t, got)
				continue
			}
			for code := range operation.Responses.Map() {
				switch code {
				case "500":
				case "409": // of a cleanup, while another one runs
					require.Equal(t, operation.OperationID == "createCamera", got[409] > 0, operation.OperationID)
				case "503":
					require.Equal(t, strings.Contains(path, "health") || path == "/ready", got[503] > 0, operation.OperationID)
				default:
					var status int
					_, err := fmt.Sscan(code, &status)
					require.NoError(t, err)
					require.Positive(t, got[status], "%s %d", operation.OperationID, status)
				}
			}
			for _, status := range []int{204, 404, 405} {
				require.Positive(t, got[status], "%s %s %d", method, path, status)
			}
			for _, parameter := range slices.Concat(item.Parameters, operation.Parameters) {
				field := operation.OperationID + " " + parameter.Value.In + "." + parameter.Value.Name
				require.Positive(t, fields[field], field)
			}
			if operation.RequestBody != nil {
				for key := range operation.RequestBody.Value.Content.Get("application/json").Schema.Value.Properties {
					require.Positive(t, fields[operation.OperationID+" body."+key], key)
				}
			}
		}
	}
	t.Logf("answers: %v", answers)
}

// TestRequest_AgreesWithAnotherReader: a reader of schemas that did not make the values finds those
// right that are said to be right, and finds a fault in those with one, as far as it looks.
func TestRequest_AgreesWithAnotherReader(t *testing.T) {
	t.Parallel()
	doc, g := newGenerator(t, Settings{AllowedHost: "cams.example.net", TrustedOrigin: "https://dash.example.com"})
	operations := map[string]*openapi3.Operation{}
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			operations[operation.OperationID] = operation
		}
	}
	right, wrong := 0, 0
	for number := range uint64(tried) {
		r := g.Request(2, number)
		operation := operations[r.OperationID]
		hasBodyFault := len(r.Faults) == 1 && r.Faults[0] == "body" && operation.RequestBody != nil
		if !r.Writes && !hasBodyFault {
			continue
		}
		if r.Writes {
			values, err := url.ParseQuery(r.Query)
			require.NoError(t, err, r.String())
			require.LessOrEqual(t, len(values), len(operation.Parameters))
		}
		if operation.RequestBody == nil {
			continue
		}
		var value any
		err := json.Unmarshal(r.Body, &value)
		if err == nil {
			err = operation.RequestBody.Value.Content.Get("application/json").Schema.Value.VisitJSON(value)
		}
		if r.Writes {
			require.NoError(t, err, r.String())
			right++
			continue
		}
		inWords := len(r.Field) == 2 && (r.Field[1] == "time_zone" || r.Field[1] == "folder_path") // no schema says it
		require.True(t, err != nil || onlyInTheText(r.Body) || inWords, "nothing is wrong with it: %s", r.String())
		wrong++
	}
	t.Logf("%d right bodies, %d wrong ones", right, wrong)
	require.Greater(t, right, 100)
	require.Greater(t, wrong, 150)
}

// onlyInTheText tells faults that are gone once the text is read: a number written as no integer
// is, a key twice, bytes that are no UTF-8.
func onlyInTheText(body []byte) bool {
	text := string(body)
	keys := map[string]bool{}
	decoder := json.NewDecoder(strings.NewReader(text))
	for depth := 0; ; {
		token, err := decoder.Token()
		if err != nil {
			break
		}
		switch token := token.(type) {
		case json.Delim:
			if token == '{' || token == '[' {
				depth++
			} else {
				depth--
			}
		case string:
			if depth == 1 && keys[token] {
				return true
			}
			keys[token] = true
		}
	}
	return strings.ContainsAny(text, ".eE") || strings.Contains(text, "\xff")
}
