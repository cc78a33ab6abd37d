// Package generate makes requests from the contract: right ones, and ones with known faults, each
// with the answer that the contract promises. What is expected follows from the contract and never
// from the server's code. The same seed makes the same requests.
package generate

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// Settings are what the contract leaves to the settings of the server.
type Settings struct {
	// APIKey is the key that the server asks for; empty when it asks for none.
	APIKey string
	// Session is a cookie, name=value, that stands for the key; empty when there is none.
	Session string
	// AllowedHost is an extra name that the server answers for.
	AllowedHost string
	// TrustedOrigin is an origin that browsers may write from.
	TrustedOrigin string
}

// Request is a generated request and what must become of it.
type Request struct {
	// OperationID is the operation that it was made from.
	OperationID string
	Method      string
	// Path and Query are as they are sent, percent-encoded.
	Path, Query string
	// Host is empty for that of the address.
	Host    string
	Header  http.Header
	Body    []byte
	Chunked bool // sent without saying how long the body is

	// Faults name what is wrong; there is none in a right request.
	Faults []string
	// Statuses are the allowed answers.
	Statuses []int
	// Field is the field that a 422 must name, its place first: path, query or body. Empty when
	// several are wrong.
	Field []string
	// Allow are the methods that a 405 must name.
	Allow []string
	// Writes is set for a right request that may change something.
	Writes bool
}

// IsValid tells whether nothing is wrong with the request.
func (r *Request) IsValid() bool { return len(r.Faults) == 0 }

// Target is path and query.
func (r *Request) Target() string {
	if r.Query == "" {
		return r.Path
	}
	return r.Path + "?" + r.Query
}

// String shows the request shortly.
func (r *Request) String() string {
	return fmt.Sprintf("%s %.300q, host %q, header %.300q, body of %d bytes %.300q; wrong: %q, expected: %v", r.Method, r.Target(), r.Host,
		fmt.Sprint(r.Header), len(r.Body), r.Body, r.Faults, r.Statuses)
}

// Generator makes requests. It is safe for concurrent use.
type Generator struct {
	settings   Settings
	operations []*operation
	chances    []*operation // those with more that can be wrong several times
}

// operation is what requests are made from.
type operation struct {
	id, method, path string   // the path with its parameters in braces
	methods          []string // of the path; HEAD where there is GET
	paths            []string // of the contract
	inPath, query    []*openapi3.Parameter
	body             *openapi3.Schema // nil: takes no body
	needsKey, reads  bool
	private          bool         // without keys it is refused to others than this machine
	statuses         map[int]bool // documented
	success          []int        // answers to a right request

	takesSession bool // instead of the key, and it does not end it
	records      bool // it leaves an audit entry, also where it only reads
	isSpan       bool // its two times must not be far apart
}

// New reads the contract. It fails on something that it cannot make requests for.
func New(doc *openapi3.T, settings Settings) (*Generator, error) {
	g := &Generator{settings: settings}
	var problems []error
	for path, item := range doc.Paths.Map() {
		methods := slices.Sorted(maps.Keys(item.Operations()))
		if item.Get != nil {
			methods = append(methods, http.MethodHead)
		}
		for method, specified := range item.Operations() {
			if good := specified.Responses.Status(http.StatusOK); good != nil && good.Value.Content["text/event-stream"] != nil {
				continue // its answer has no end
			}
			op, err := newOperation(method, path, item, specified)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", specified.OperationID, err))
				continue
			}
			op.methods, op.paths = methods, doc.Paths.Keys()
			g.operations = append(g.operations, op)
		}
	}
	slices.SortFunc(g.operations, func(a, b *operation) int { return strings.Compare(a.id, b.id) })
	for _, op := range g.operations {
		chances := 1
		switch {
		case op.body != nil:
			chances = 4
		case len(op.query)+len(op.inPath) > 0 || op.needsKey:
			chances = 2
		}
		g.chances = append(g.chances, slices.Repeat([]*operation{op}, chances)...)
	}
	return g, errors.Join(problems...)
}

func newOperation(method, path string, item *openapi3.PathItem, specified *openapi3.Operation) (*operation, error) {
	op := &operation{
		id: specified.OperationID, method: method, path: path, reads: method == http.MethodGet,
		needsKey: specified.Security != nil && len(*specified.Security) > 0, statuses: map[int]bool{},
	}
	op.private = op.needsKey && !strings.HasPrefix(path, "/api/system/") && path != "/api/session"
	for code := range specified.Responses.Map() {
		var status int
		if _, err := fmt.Sscanf(code, "%d", &status); err != nil {
			return nil, fmt.Errorf("status %q: %w", code, err)
		}
		op.statuses[status] = true
		if status < 300 {
			op.success = append(op.success, status)
		}
	}
	slices.Sort(op.success)
	// A 503 with the body of the 200 is a verdict, and no failure to answer.
	good, bad := specified.Responses.Status(http.StatusOK), specified.Responses.Status(http.StatusServiceUnavailable)
	if good != nil && bad != nil && schemaOf(good) != "" && schemaOf(good) == schemaOf(bad) {
		op.success = append(op.success, http.StatusServiceUnavailable)
	}
	for _, parameter := range slices.Concat(item.Parameters, specified.Parameters) {
		if err := op.addParameter(parameter.Value); err != nil {
			return nil, fmt.Errorf("parameter %s: %w", parameter.Value.Name, err)
		}
	}
	if len(op.inPath) > 0 && op.statuses[http.StatusNotFound] { // the right id of nothing
		op.success = append(op.success, http.StatusNotFound)
	}
	if op.statuses[http.StatusCreated] && op.statuses[http.StatusConflict] { // it may be there already
		op.success = append(op.success, http.StatusConflict)
	}
	op.readWords(specified)
	if specified.RequestBody != nil {
		op.body = specified.RequestBody.Value.Content.Get("application/json").Schema.Value
		if !op.body.Type.Is(openapi3.TypeObject) {
			return nil, errors.New("cannot make bodies other than objects")
		}
		for key, property := range op.body.Properties {
			if property.Value.Pattern != "" && formOf(key, property.Value) == nil {
				return nil, fmt.Errorf("key %s: cannot make texts of the form %s", key, property.Value.Pattern)
			}
		}
	}
	return op, nil
}

// readWords notes what the contract says about an operation in other ways than by schemas.
func (op *operation) readWords(specified *openapi3.Operation) {
	if specified.Security != nil {
		for _, way := range *specified.Security {
			_, withSession := way["SessionCookie"]
			op.takesSession = op.takesSession || withSession && op.id != "deleteSession"
		}
	}
	op.records = op.id == "exportEvents"
	op.isSpan = op.id == "getEventSummary"
}

// addParameter refuses what the maker cannot make.
func (op *operation) addParameter(parameter *openapi3.Parameter) error {
	schema := parameter.Schema.Value
	if schema.Items != nil {
		schema = schema.Items.Value
	}
	if schema.Pattern != "" && formOf(parameter.Name, schema) == nil && len(parameter.Examples) == 0 && parameter.Example == nil {
		return fmt.Errorf("cannot make texts of the form %s, and there is no example", schema.Pattern)
	}
	switch {
	case parameter.In == openapi3.ParameterInPath && canMake(parameter):
		op.inPath = append(op.inPath, parameter)
	case parameter.In == openapi3.ParameterInQuery && (canMake(parameter) || !parameter.Required):
		op.query = append(op.query, parameter)
	default:
		return fmt.Errorf("cannot make it in %s, required: %t", parameter.In, parameter.Required)
	}
	return nil
}

func schemaOf(response *openapi3.ResponseRef) string {
	media := response.Value.Content.Get("application/json")
	if media == nil {
		return "" // a file
	}
	return media.Schema.Ref
}

// Request makes the request of a number.
func (g *Generator) Request(seed, number uint64) Request {
	d := &draft{
		maker:    maker{rand.New(rand.NewPCG(seed, number))}, //nolint:gosec // to be repeated is the point
		settings: g.settings,
	}
	d.op = choose(d.maker, g.chances)
	d.start()
	wrong := 0
	switch d.IntN(20) {
	case 0, 1, 2, 3, 4:
	case 5, 6:
		wrong = 2
	case 7:
		wrong = 3
	default:
		wrong = 1
	}
	for range wrong {
		d.breakSomething()
	}
	d.finish()
	return d.Request
}

// Operations lists the ids of the operations that requests are made for.
func (g *Generator) Operations() []string {
	ids := make([]string, len(g.operations))
	for i, op := range g.operations {
		ids[i] = op.id
	}
	return ids
}
