package aitest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Behaviour is what a service does instead of giving the honest answer. The zero value gives the
// honest answer.
type Behaviour struct {
	// Name is recorded with the call.
	Name string
	// Answer answers one call. It must return soon after the request's context has ended.
	Answer func(http.ResponseWriter, *Exchange)
}

// Exchange is one call as a Behaviour sees it.
type Exchange struct {
	Request *http.Request
	// Subject is the file name of an image, or the prompt; empty for a health check.
	Subject string
	// Honest is the answer by the contract.
	Honest Reply
	// Loading is the answer of this service while its model is not loaded.
	Loading Reply
	// Fail makes an error answer in the form of this service.
	Fail func(status int, message string) Reply
}

// Reply is an HTTP answer with a JSON body.
type Reply struct {
	Status int
	Body   []byte
}

// Send writes the reply.
func (r Reply) Send(w http.ResponseWriter) { r.send(w, "application/json") }

func (r Reply) send(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(r.Body)))
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.Body) // the client may be gone
}

// jsonReply makes a reply of a value.
func jsonReply(status int, value any) Reply {
	body, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("encode a reply: %v", err)) // a mistake in this package
	}
	return Reply{Status: status, Body: body}
}

// Delay gives the honest answer after a time.
func Delay(d time.Duration) Behaviour {
	return Behaviour{Answer: func(w http.ResponseWriter, x *Exchange) { // no name: the answer is honest
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			x.Honest.Send(w)
		case <-x.Request.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}}
}

// Hold gives the honest answer when release is closed.
func Hold(release <-chan struct{}) Behaviour {
	return Behaviour{Answer: func(w http.ResponseWriter, x *Exchange) { // no name: the answer is honest
		select {
		case <-release:
			x.Honest.Send(w)
		case <-x.Request.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}}
}

// Hang takes the request and never answers.
func Hang() Behaviour {
	return Behaviour{Name: "hang", Answer: func(_ http.ResponseWriter, x *Exchange) {
		<-x.Request.Context().Done()
		panic(http.ErrAbortHandler)
	}}
}

// Drip sends the honest answer one byte at a time.
func Drip(interval time.Duration) Behaviour {
	return Behaviour{Name: "drip", Answer: func(w http.ResponseWriter, x *Exchange) {
		flusher := http.NewResponseController(w)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(x.Honest.Status)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for i := range x.Honest.Body {
			_, _ = w.Write(x.Honest.Body[i : i+1])
			_ = flusher.Flush()
			select {
			case <-ticker.C:
			case <-x.Request.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
	}}
}

// Status answers with an error in the form of the service.
func Status(status int) Behaviour {
	return Behaviour{Name: fmt.Sprintf("status %d", status), Answer: func(w http.ResponseWriter, x *Exchange) {
		x.Fail(status, cmp.Or(http.StatusText(status), "error")).Send(w)
	}}
}

// Loading answers as the service does while its model is not loaded.
func Loading() Behaviour {
	return Behaviour{Name: "loading", Answer: func(w http.ResponseWriter, x *Exchange) { x.Loading.Send(w) }}
}

// HTML answers 200 with a page, as a wrong address or a proxy does.
func HTML() Behaviour {
	return Behaviour{Name: "html", Answer: func(w http.ResponseWriter, _ *Exchange) {
		Reply{Status: http.StatusOK, Body: []byte("<!DOCTYPE html><html><body><h1>It works!</h1></body></html>")}.send(w, "text/html")
	}}
}

// Empty answers 200 with no body.
func Empty() Behaviour {
	return Behaviour{Name: "empty", Answer: func(w http.ResponseWriter, _ *Exchange) { Reply{Status: http.StatusOK}.Send(w) }}
}

// Truncated answers 200 with the first half of the honest body, as if that were all.
func Truncated() Behaviour {
	return Behaviour{Name: "truncated", Answer: func(w http.ResponseWriter, x *Exchange) {
		Reply{Status: http.StatusOK, Body: x.Honest.Body[:len(x.Honest.Body)/2]}.Send(w)
	}}
}

// Cut announces the whole honest body, sends the first half and closes the connection.
func Cut() Behaviour {
	return Behaviour{Name: "cut", Answer: func(w http.ResponseWriter, x *Exchange) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(x.Honest.Body)))
		w.WriteHeader(x.Honest.Status)
		_, _ = w.Write(x.Honest.Body[:len(x.Honest.Body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}}
}

// Huge answers 200 with the honest object made longer than size bytes by one more member.
func Huge(size int64) Behaviour {
	return Behaviour{Name: "huge", Answer: func(w http.ResponseWriter, x *Exchange) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		padding := io.LimitReader(repeated('x'), size)
		_, _ = io.Copy(w, io.MultiReader(strings.NewReader(`{"padding":"`), padding, strings.NewReader(`",`), bytes.NewReader(x.Honest.Body[1:])))
	}}
}

// Endless answers 200 with a JSON object that never ends.
func Endless() Behaviour {
	return Behaviour{Name: "endless", Answer: func(w http.ResponseWriter, x *Exchange) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_, _ = io.Copy(w, io.MultiReader(strings.NewReader(`{"content":"`), repeated(' '))) // until the client hangs up
		panic(http.ErrAbortHandler)
	}}
}

// repeated is a reader of one byte over and over.
type repeated byte

func (c repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

// answer answers a call and returns the status that was sent, 0 for none. It passes a panic that
// closes the connection on, after ended was called.
func answer(w http.ResponseWriter, x *Exchange, b Behaviour, ended func(status int)) {
	recorder := &statusRecorder{ResponseWriter: w}
	defer func() { ended(recorder.status) }()
	if b.Answer == nil {
		x.Honest.Send(recorder)
		return
	}
	b.Answer(recorder, x)
}

// statusRecorder remembers the status.
type statusRecorder struct {
	http.ResponseWriter

	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController flush.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
