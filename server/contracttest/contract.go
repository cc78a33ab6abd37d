// Package contracttest proves that what the server really sends is what the contract says. A
// Transport checks every response that passes through it; Main fails the test run when an operation
// or a documented status was never seen.
package contracttest

import (
	_ "embed" // for the operations of the tests
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"

	"hsi.home.arpa/gen"
)

// contract is the specification, ready to look up requests in.
type contract struct {
	doc *openapi3.T
}

// load reads the embedded specification once per process: parsing it for every client would be most
// of the test time.
var load = sync.OnceValues(func() (*contract, error) {
	doc, err := gen.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("read the embedded contract: %w", err)
	}
	return newContract(doc), nil
})

// things are operations with what no operation of the contract has yet.
//
//go:embed testdata/things.yaml
var things string

// WithThings returns the contract with more operations, all below /test/: they have parameters in
// their paths, lists with commas and the vocabulary of lists, for the tests of what handles these.
func WithThings(tb testing.TB) *openapi3.T {
	tb.Helper()
	const end = "\ncomponents:\n" // of the paths
	text := strings.Replace(string(gen.SpecYAML), end, "\n"+things+end, 1)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		tb.Fatalf("read the contract: %v", err)
	}
	if err := doc.Validate(tb.Context(), openapi3.EnableExamplesValidation()); err != nil {
		tb.Fatalf("the contract is not valid: %v", err)
	}
	return doc
}

// newContract takes over the specification: it closes the schemas of the answers. The published
// ones are open, so that a client that validates lives with a key that comes later; here a key that
// is not documented is a fault.
func newContract(doc *openapi3.T) *contract {
	closed := map[*openapi3.Schema]bool{}
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			for _, response := range operation.Responses.Map() {
				for _, media := range response.Value.Content {
					closeSchema(media.Schema, closed)
				}
			}
		}
	}
	for _, schema := range doc.Components.Schemas { // errors that belong to no operation
		closeSchema(schema, closed)
	}
	return &contract{doc: doc}
}

// closeSchema lets no object of the schema have other keys than its own. A map stays one.
func closeSchema(ref *openapi3.SchemaRef, closed map[*openapi3.Schema]bool) {
	if ref == nil || closed[ref.Value] {
		return
	}
	schema := ref.Value
	closed[schema] = true
	if len(schema.Properties) > 0 && schema.AdditionalProperties.Schema == nil {
		schema.AdditionalProperties = openapi3.AdditionalProperties{Has: new(false)}
	}
	for _, property := range schema.Properties {
		closeSchema(property, closed)
	}
	for _, part := range slices.Concat(schema.AllOf, schema.AnyOf, schema.OneOf) {
		closeSchema(part, closed)
	}
	closeSchema(schema.Items, closed)
	closeSchema(schema.AdditionalProperties.Schema, closed)
}

// find returns the operation that a request belongs to; HEAD belongs to GET. It is nil for a path
// or method that the contract does not have. It does not ask the server's router: what that gets
// wrong must show.
func (c *contract) find(request *http.Request) *routers.Route {
	method := request.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	segments := segmentsOf(request.URL)
	found := ""
	for template := range c.doc.Paths.Map() {
		// A literal segment is more than a parameter, and "{" comes behind every letter.
		if fits(template, segments) && (found == "" || template < found) {
			found = template
		}
	}
	item := c.doc.Paths.Value(found)
	if item == nil || item.GetOperation(method) == nil {
		return nil
	}
	return &routers.Route{Spec: c.doc, Path: found, PathItem: item, Method: method, Operation: item.GetOperation(method)}
}

// segmentsOf splits a path where it was sent with a slash, not where one is part of a value, and
// then decodes the segments.
func segmentsOf(address *url.URL) []string {
	segments := strings.Split(address.EscapedPath(), "/")
	for i, segment := range segments {
		if decoded, err := url.PathUnescape(segment); err == nil {
			segments[i] = decoded
		}
	}
	return segments
}

func fits(template string, segments []string) bool {
	return slices.EqualFunc(strings.Split(template, "/"), segments, func(want, got string) bool {
		return want == got || strings.HasPrefix(want, "{") && got != ""
	})
}

// point is one thing that the contract promises: a status of an operation.
type point struct {
	operation string
	status    int
}

// promised lists everything that the contract promises.
func (c *contract) promised() []point {
	var points []point
	for _, item := range c.doc.Paths.Map() {
		for _, operation := range item.Operations() {
			for code := range operation.Responses.Map() {
				var status int
				if _, err := fmt.Sscanf(code, "%d", &status); err == nil {
					points = append(points, point{operation.OperationID, status})
				}
			}
		}
	}
	return points
}

// coverage remembers which promises were seen. It belongs to the process, as the test run does.
type coverage struct {
	mu   sync.Mutex
	seen map[point]int // guarded by mu
}

// seen is the coverage of this test process. All clients of all tests add to it and Main reads it
// when they are done.
var seen = &coverage{seen: map[point]int{}}

func (c *coverage) add(p point) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[p]++
}

// missing lists the promises that were not seen, one line each, sorted.
func (c *coverage) missing(promised []point) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lines []string
	for _, p := range promised {
		if c.seen[p] == 0 {
			lines = append(lines, fmt.Sprintf("%s %d", p.operation, p.status))
		}
	}
	slices.SortFunc(lines, strings.Compare)
	return lines
}
