package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/redis"
	"hsi.home.arpa/server/list"
	"hsi.home.arpa/server/live"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/retention"
)

// retryAfter is what a 503 asks a client to wait.
const retryAfter = 5 * time.Second

// errNoResponse is a handler that returned neither an answer nor an error.
var errNoResponse = errors.New("the handler returned no response")

// problem is an error that knows its answer. Everything a client gets to read is in it; its cause
// is for the log.
type problem struct {
	status int
	// detail is the body's detail: a sentence, or the list of a 422.
	detail string
	items  []gen.ValidationErrorItem
	// header and value are one extra header, such as Allow.
	header, value string
	cause         error
}

func (p *problem) Error() string {
	if p.cause != nil {
		return p.cause.Error()
	}
	return p.detail
}

func (p *problem) Unwrap() error { return p.cause }

// invalid is a request that does not fit the contract. It names the first maxItems faults.
func invalid(items ...gen.ValidationErrorItem) *problem {
	return &problem{status: http.StatusUnprocessableEntity, items: items[:min(len(items), maxItems)], detail: "the request does not fit the contract"}
}

// notFound is a row that does not exist.
func notFound(kind string, id any) *problem {
	return &problem{status: http.StatusNotFound, detail: fmt.Sprintf("%s with id %v not found", kind, id)}
}

func unavailable(detail string, cause error) *problem {
	return &problem{
		status: http.StatusServiceUnavailable, detail: detail, cause: cause,
		header: "Retry-After", value: strconv.Itoa(int(retryAfter / time.Second)),
	}
}

// orNotFound gives the error of a missing row its sentence.
func orNotFound(err error, kind string, id any) error {
	if errors.Is(err, store.ErrNotFound) {
		return notFound(kind, id)
	}
	return err
}

// toProblem is the one place where an error becomes an answer. What it does not know is a fault of
// ours, and its text stays inside.
func toProblem(c echo.Context, err error) *problem {
	if known, ok := errors.AsType[*problem](err); ok {
		return known
	}
	if framework, ok := errors.AsType[*echo.HTTPError](err); ok {
		return fromFramework(c, framework)
	}
	if parameter, ok := errors.AsType[*list.ParameterError](err); ok {
		return invalid(fromParameter(parameter))
	}
	switch {
	case errors.Is(err, retention.ErrOutOfTime): // before the others: what was slow may be in it too
		return unavailable("The cleanup ran out of time; what is left is for the next one", err)
	case errors.Is(err, store.ErrUnavailable):
		return unavailable("Database unavailable", err)
	case errors.Is(err, latency.ErrUnavailable), errors.Is(err, redis.ErrUnavailable):
		return unavailable("Redis unavailable", err)
	case errors.Is(err, media.ErrUnavailable):
		return unavailable("Media storage unavailable", err)
	case errors.Is(err, live.ErrFull):
		return unavailable("Too many live clients", err)
	case errors.Is(err, retention.ErrRunning):
		return &problem{status: http.StatusConflict, detail: "A cleanup is already running", cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable("No answer in time", err)
	case errors.Is(err, context.Canceled): // the client left, or the server stops
		return unavailable("Stopped before the answer was ready", err)
	default:
		return &problem{status: http.StatusInternalServerError, detail: "Internal Server Error", cause: err}
	}
}

// fromParameter names a parameter that has the documented form and no meaning.
func fromParameter(err *list.ParameterError) gen.ValidationErrorItem {
	item := gen.ValidationErrorItem{
		Loc: []string{"query", err.Name}, Msg: err.Err.Error(), Type: "format",
	}
	if errors.Is(err, list.ErrForeignCursor) {
		item.Type = "foreign"
	}
	return item
}

// fromFramework gives the errors of the router and of the generated binder our shape.
func fromFramework(c echo.Context, err *echo.HTTPError) *problem {
	switch {
	case err.Code == http.StatusNotFound:
		return &problem{status: http.StatusNotFound, detail: "Not Found"}
	case err.Code == http.StatusMethodNotAllowed:
		known, _ := c.Get(echo.ContextKeyHeaderAllow).(string)
		return errMethodNotAllowed(allowHeader(strings.Split(known, ", ")))
	case err.Code >= 400 && err.Code < 500:
		// The binder is stricter than the validator in places; what it refuses does not fit the
		// contract.
		return invalid(gen.ValidationErrorItem{Loc: []string{"request"}, Msg: "cannot be read", Type: "parse"})
	default:
		return &problem{status: http.StatusInternalServerError, detail: "Internal Server Error", cause: err}
	}
}

func errMethodNotAllowed(allow string) *problem {
	return &problem{
		status: http.StatusMethodNotAllowed, detail: "Method Not Allowed", header: "Allow", value: allow,
	}
}

// allowHeader lists the methods of a path: HEAD goes wherever GET goes, OPTIONS nowhere.
func allowHeader(known []string) string {
	methods := make([]string, 0, len(known)+1)
	for _, method := range known {
		switch method {
		case http.MethodOptions, "":
		case http.MethodGet:
			methods = append(methods, http.MethodGet, http.MethodHead)
		default:
			methods = append(methods, method)
		}
	}
	return strings.Join(methods, ", ")
}

// body encodes the error body.
func (p *problem) body() ([]byte, error) {
	if p.items != nil {
		return json.Marshal(gen.ValidationError{Detail: p.items})
	}
	return json.Marshal(gen.Error{Detail: p.detail})
}

// write answers with the problem.
func (p *problem) write(c echo.Context) error {
	body, err := p.body()
	if err != nil {
		return err
	}
	if p.header != "" {
		c.Response().Header().Set(p.header, p.value)
	}
	return c.Blob(p.status, echo.MIMEApplicationJSON, body)
}
