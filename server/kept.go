package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"hsi.home.arpa/server/health"
	"hsi.home.arpa/store"
)

// keepFigures is how long a figure of the database is answered again. The contract allows 1 s; a
// tenth of it makes the database answer each question at most ten times per second, however many
// clients ask.
const keepFigures = 100 * time.Millisecond

// kept gives the last read of a figure for a moment, and joins the requests that need a new one.
// What cannot be read again is an error, not the old figure.
type kept[T any] struct {
	joined  joined[figure[T]]
	timeout time.Duration // of a request that has to wait
	keep    time.Duration
	now     func() time.Time

	mu      sync.Mutex
	last    figure[T] // guarded by mu
	changes int       // guarded by mu; counts forget
}

// figure is what a read found.
type figure[T any] struct {
	value T
	at    time.Time // when the read began; zero: never
}

func newKept[T any](read func(ctx context.Context) (T, error), options *Options) *kept[T] {
	k := &kept[T]{timeout: options.RequestTimeout, keep: options.keepFigures, now: options.Now}
	k.joined = joined[figure[T]]{timeout: options.RequestTimeout, read: func(ctx context.Context) (figure[T], error) {
		k.mu.Lock()
		found, changes := figure[T]{at: k.now()}, k.changes
		k.mu.Unlock()
		var err error
		if found.value, err = read(ctx); err != nil {
			return figure[T]{}, err
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if changes == k.changes {
			k.last = found
		}
		return found, nil
	}}
	return k
}

// get returns a figure that was read at most a moment ago. It waits no longer than the timeout.
func (k *kept[T]) get(ctx context.Context) (figure[T], error) {
	k.mu.Lock()
	last := k.last
	k.mu.Unlock()
	if !last.at.IsZero() && k.now().Sub(last.at) < k.keep {
		return last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	return k.joined.get(ctx)
}

// forget is called after a change: no later request gets what was read before it.
func (k *kept[T]) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = figure[T]{}
	k.changes++
}

// encoding keeps the encoded form of the value that was answered last. The zero value is ready.
type encoding[T any] struct {
	last atomic.Pointer[encoded[T]]
}

type encoded[T any] struct {
	value T
	body  []byte
}

// bodies are the answers that are kept encoded. Each is a function of what it is made from.
type bodies struct {
	health    encoding[health.Report]
	readiness encoding[health.Readiness]
	severity  encoding[store.SeverityThresholds]
	config    encoding[store.SystemConfig]
	storage   encoding[storage]
}

func equal[T comparable](a, b T) bool { return a == b }

// of returns the body for the value, which is encoded only when it differs from the last one.
func (e *encoding[T]) of(value T, equal func(a, b T) bool, toAPI func(T) any) ([]byte, error) {
	if last := e.last.Load(); last != nil && equal(last.value, value) {
		return last.body, nil
	}
	body, err := json.Marshal(toAPI(value))
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	e.last.Store(&encoded[T]{value: value, body: body})
	return body, nil
}

// ready is an answer that is encoded already.
type ready struct {
	status int
	body   []byte
}

// readyParts is an answer of which a list is encoded already, in parts that others use too.
type readyParts [][]byte

// withParts puts the items of a list, of which each part has some, into an answer where the list
// of this name is empty.
func withParts(name string, parts [][]byte, answer any) (readyParts, error) {
	encoded, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	// Nothing else looks like it: within a text the quotes are escaped.
	before, after, found := bytes.Cut(encoded, []byte(`"`+name+`":[]`))
	if !found {
		return nil, fmt.Errorf("no empty list %q in the answer", name)
	}
	body := readyParts{slices.Concat(before, []byte(`"`+name+`":[`))}
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		if len(body) > 1 {
			body = append(body, []byte{','})
		}
		body = append(body, part)
	}
	return append(body, slices.Concat([]byte{']'}, after, []byte{'\n'})), nil
}

// items encodes some items of a list, without the brackets around them.
func items[T any](of []T) ([]byte, error) {
	encoded, err := json.Marshal(of)
	return bytes.TrimSuffix(bytes.TrimPrefix(encoded, []byte{'['}), []byte{']'}), err
}

func (r readyParts) write(w http.ResponseWriter) error {
	length := 0
	for _, part := range r {
		length += len(part)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(length))
	w.WriteHeader(http.StatusOK)
	for _, part := range r {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// VisitListEventsResponse implements gen.ListEventsResponseObject.
func (r readyParts) VisitListEventsResponse(w http.ResponseWriter) error { return r.write(w) }

// VisitGetEventSummaryResponse implements gen.GetEventSummaryResponseObject.
func (r readyParts) VisitGetEventSummaryResponse(w http.ResponseWriter) error { return r.write(w) }

func (r ready) write(w http.ResponseWriter) error {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
	_, err := w.Write(r.body)
	return err
}

// VisitGetHealthResponse implements gen.GetHealthResponseObject.
func (r ready) VisitGetHealthResponse(w http.ResponseWriter) error { return r.write(w) }

// VisitGetReadinessResponse implements gen.GetReadinessResponseObject.
func (r ready) VisitGetReadinessResponse(w http.ResponseWriter) error { return r.write(w) }

// VisitGetSeverityResponse implements gen.GetSeverityResponseObject.
func (r ready) VisitGetSeverityResponse(w http.ResponseWriter) error { return r.write(w) }

// VisitGetStorageResponse implements gen.GetStorageResponseObject.
func (r ready) VisitGetStorageResponse(w http.ResponseWriter) error { return r.write(w) }

// VisitGetSystemConfigResponse implements gen.GetSystemConfigResponseObject.
func (r ready) VisitGetSystemConfigResponse(w http.ResponseWriter) error { return r.write(w) }
