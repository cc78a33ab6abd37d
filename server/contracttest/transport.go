package contracttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// Transport checks every response against the contract. A response that breaks it is returned as an
// error, so that no test can overlook it.
type Transport struct {
	// Base carries the requests. Defaults to http.DefaultTransport.
	Base http.RoundTripper
}

// RoundTrip sends the request and checks what comes back.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	response, err := base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read the response: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	if err := Check(request, response, body); err != nil {
		return nil, fmt.Errorf("contract broken by %s %s → %d: %w\nbody: %.400s", request.Method, request.URL.RequestURI(), response.StatusCode, err, body)
	}
	return response, nil
}

// Client returns a client of the server at baseURL whose every response is checked. Relative
// addresses are taken below baseURL. It follows no redirects and its connections end with the test.
func Client(tb testing.TB, baseURL string) *http.Client {
	tb.Helper()
	base := &http.Transport{MaxIdleConnsPerHost: 32}
	tb.Cleanup(base.CloseIdleConnections)
	return &http.Client{
		Transport:     &below{baseURL: baseURL, next: &Transport{Base: base}},
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// below completes relative addresses.
type below struct {
	baseURL string
	next    http.RoundTripper
}

func (b *below) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Host == "" {
		full, err := request.URL.Parse(strings.TrimRight(b.baseURL, "/") + request.URL.RequestURI())
		if err != nil {
			return nil, fmt.Errorf("complete the address: %w", err)
		}
		request = request.Clone(request.Context())
		request.URL = full
	}
	return b.next.RoundTrip(request)
}

// Check tells how a response breaks the contract, everything at once, or returns nil and counts it
// for the gate. body is the whole body.
func Check(request *http.Request, response *http.Response, body []byte) error {
	c, err := load()
	if err != nil {
		return err
	}
	problems := []error{checkHeaders(request, response)}
	route := c.find(request)
	if route == nil {
		problems = append(problems, c.checkForeign(request, response, body))
	} else {
		problems = append(problems, c.checkOperation(route, request, response, body))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	if route != nil {
		seen.add(point{route.Operation.OperationID, response.StatusCode})
	}
	return nil
}

// checkHeaders checks what every answer carries.
func checkHeaders(request *http.Request, response *http.Response) error {
	var problems []error
	id := response.Header.Values("X-Request-Id")
	if len(id) != 1 || id[0] == "" || len(id[0]) > 64 {
		problems = append(problems, fmt.Errorf("X-Request-ID is %q", id))
	}
	if got := response.Header.Get("X-Content-Type-Options"); got != "nosniff" {
		problems = append(problems, fmt.Errorf("X-Content-Type-Options is %q", got))
	}
	isPage := !strings.HasPrefix(request.URL.Path, "/api/")
	wanted := "no-store"
	if response.Header.Get("ETag") != "" {
		wanted = "private, no-cache" // may be kept, and is asked about each time
		if strings.HasSuffix(response.Header.Get("Cache-Control"), ", immutable") {
			wanted = "private, max-age=31536000, immutable"
		}
	}
	if got := response.Header.Get("Cache-Control"); got != wanted && !isPage {
		problems = append(problems, fmt.Errorf("Cache-Control is %q", got))
	}
	return errors.Join(problems...)
}

// checkForeign checks the answer to a request that belongs to no operation: a page, or an error in
// the shared shape.
func (c *contract) checkForeign(request *http.Request, response *http.Response, body []byte) error {
	if response.StatusCode < 400 {
		if strings.HasPrefix(request.URL.Path, "/api/") && response.StatusCode != http.StatusNoContent {
			return errors.New("the contract has no such operation, and it succeeded")
		}
		return nil
	}
	if response.StatusCode >= 500 {
		return errors.New("a request that belongs to no operation cannot fail on our side")
	}
	if response.StatusCode == http.StatusMethodNotAllowed && response.Header.Get("Allow") == "" {
		return errors.New("405 without Allow")
	}
	if request.Method == http.MethodHead {
		return checkEmpty(body)
	}
	return c.checkError(response, body)
}

// checkError checks an error that no operation documents.
func (c *contract) checkError(response *http.Response, body []byte) error {
	value, err := decode(response, body)
	if err != nil {
		return err
	}
	return c.doc.Components.Schemas["Error"].Value.VisitJSON(value, openapi3.MultiErrors(), openapi3.VisitAsResponse())
}

func (c *contract) checkOperation(route *routers.Route, request *http.Request, response *http.Response, body []byte) error {
	if route.Operation.Responses.Status(response.StatusCode) == nil {
		return fmt.Errorf("%s does not document status %d", route.Operation.OperationID, response.StatusCode)
	}
	if request.Method == http.MethodHead {
		return checkEmpty(body)
	}
	if response.StatusCode == http.StatusNotModified {
		if response.Header.Get("ETag") == "" {
			return errors.New("304 without ETag")
		}
		return checkEmpty(body)
	}
	documented := route.Operation.Responses.Status(response.StatusCode).Value.Content
	isStream := documented[eventStream] != nil
	if sent := response.Header.Get("Content-Type"); documented.Get("application/json") == nil {
		if documented.Get(sent) == nil {
			return fmt.Errorf("Content-Type is %q", sent)
		}
		if isStream {
			if err := c.checkFrames(documented[eventStream], string(body)); err != nil {
				return err
			}
		}
	} else if _, err := decode(response, body); err != nil {
		return err
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, Route: route},
		Status:                 response.StatusCode,
		Header:                 response.Header,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true,
			ExcludeResponseBody:   isStream, // its frames were checked
			MultiError:            true,
			AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc,
		},
	}
	input.SetBodyBytes(body)
	return openapi3filter.ValidateResponse(request.Context(), input)
}

func checkEmpty(body []byte) error {
	if len(body) > 0 {
		return errors.New("answered with a body where none belongs")
	}
	return nil
}

// decode reads a JSON body strictly: the type says so, it is one value, and nothing comes after it.
func decode(response *http.Response, body []byte) (any, error) {
	if media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, fmt.Errorf("Content-Type is %q", response.Header.Get("Content-Type"))
	}
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8")
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil { // also refuses bytes after the value
		return nil, fmt.Errorf("the body is not JSON: %w", err)
	}
	return value, nil
}
