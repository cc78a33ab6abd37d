package contracttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// eventStream is the type of an answer that is a stream of server-sent events. Its x-sse-events says what each kind of frame carries.
const eventStream = "text/event-stream"

// Frame is one server-sent event, or a block without data, whose Kind is then empty.
type Frame struct {
	Kind, ID, Data string
	Retry          string
	Comment        string
}

// ParseFrames reads complete blocks of a stream, as a browser would.
func ParseFrames(text string) ([]Frame, error) {
	blocks := strings.Split(text, "\n\n")
	if last := blocks[len(blocks)-1]; last != "" {
		return nil, fmt.Errorf("the stream is cut off in %q", last)
	}
	var frames []Frame
	for _, block := range blocks[:len(blocks)-1] {
		var f Frame
		for line := range strings.SplitSeq(block, "\n") {
			name, value, found := strings.Cut(line, ":")
			if !found {
				return nil, fmt.Errorf("a line without colon: %q", line)
			}
			field := map[string]*string{"": &f.Comment, "event": &f.Kind, "id": &f.ID, "data": &f.Data, "retry": &f.Retry}[name]
			if field == nil || *field != "" {
				return nil, fmt.Errorf("a field that is unknown or there twice: %q", line)
			}
			*field = strings.TrimPrefix(value, " ")
		}
		frames = append(frames, f)
	}
	return frames, nil
}

// CheckFrames checks every frame of a stream of an operation, everything at once.
func CheckFrames(operationID, text string) error {
	c, err := load()
	if err != nil {
		return err
	}
	for _, item := range c.doc.Paths.Map() {
		for _, operation := range item.Operations() {
			if operation.OperationID == operationID {
				return c.checkFrames(operation.Responses.Status(http.StatusOK).Value.Content[eventStream], text)
			}
		}
	}
	return fmt.Errorf("the contract has no operation %s", operationID)
}

func (c *contract) checkFrames(media *openapi3.MediaType, text string) error {
	encoded, err := json.Marshal(media.Extensions["x-sse-events"])
	if err != nil {
		return err
	}
	var kinds map[string]struct {
		Schema string `json:"schema"`
		ID     bool   `json:"id"`
	}
	if err := json.Unmarshal(encoded, &kinds); err != nil {
		return err
	}
	frames, err := ParseFrames(text)
	problems := []error{err}
	for _, f := range frames {
		if f.Kind == "" && f.Data == "" {
			continue
		}
		kind, known := kinds[f.Kind]
		schema := c.doc.Components.Schemas[kind.Schema]
		switch {
		case !known:
			problems = append(problems, fmt.Errorf("a frame of kind %q, which the contract does not have", f.Kind))
			continue
		case schema == nil:
			problems = append(problems, fmt.Errorf("the contract has no schema %q for %s", kind.Schema, f.Kind))
			continue
		case kind.ID != (f.ID != ""):
			problems = append(problems, fmt.Errorf("%s has the id %q", f.Kind, f.ID))
		}
		var value any
		if err := json.Unmarshal([]byte(f.Data), &value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", f.Kind, err))
			continue
		}
		if err := schema.Value.VisitJSON(value, openapi3.MultiErrors(), openapi3.VisitAsResponse()); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", f.Kind, err))
		}
	}
	return errors.Join(problems...)
}
