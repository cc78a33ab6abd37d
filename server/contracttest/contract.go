// Package contracttest proves that what the server really sends is what the contract says. A Transport checks every response that
// passes through it; Main fails the test run when an operation or a documented status was never seen.
package contracttest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"hsi.home.arpa/gen"
)

// contract is the specification, ready to look up requests in.
type contract struct {
	doc    *openapi3.T
	router routers.Router
}

// load reads the embedded specification once per process: parsing it for every client would be most of the test time.
var load = sync.OnceValues(func() (*contract, error) {
	doc, err := gen.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("read the embedded contract: %w", err)
	}
	doc.Servers = nil // the tests listen on ports of their own
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("read the paths of the contract: %w", err)
	}
	return &contract{doc: doc, router: router}, nil
})

// find returns the operation that a request belongs to; HEAD belongs to GET. It is nil for a path or method that the contract does
// not have.
func (c *contract) find(request *http.Request) *routers.Route {
	asked := request.Clone(request.Context())
	if asked.Method == http.MethodHead {
		asked.Method = http.MethodGet
	}
	asked.Host, asked.URL.Host, asked.URL.RawPath = "", "", ""
	route, _, err := c.router.FindRoute(asked)
	if err != nil {
		return nil
	}
	return route
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

// seen is the coverage of this test process. All clients of all tests add to it and Main reads it when they are done.
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
