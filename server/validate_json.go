package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"hsi.home.arpa/gen"
)

// maxJSONDepth bounds how deep a body may be nested. No body of the contract is deeper than two.
const maxJSONDepth = 32

// checkJSON finds in a body what the schema check behind it lets pass, because it sees decoded
// values only: keys that are given twice, numbers such as 14.0 for an integer, bytes after the
// value, text that is not UTF-8. It also names unknown keys by their place; a key that differs only
// in case is one. readable is false when the body is no JSON at all and nothing else can be said
// about it.
func checkJSON(body []byte, schema *openapi3.Schema) (items []gen.ValidationErrorItem, readable bool) {
	unreadable := func(message string) ([]gen.ValidationErrorItem, bool) {
		return []gen.ValidationErrorItem{{Loc: []string{"body"}, Msg: message, Type: "json"}}, false
	}
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return []gen.ValidationErrorItem{{Loc: []string{"body"}, Msg: "is required", Type: "missing"}}, false
	case !utf8.Valid(body):
		return unreadable("is not UTF-8")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil { // one value and nothing after it
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return unreadable("is not valid JSON, at byte " + strconv.FormatInt(syntax.Offset, 10))
		}
		return unreadable("is not valid JSON")
	}
	walk := &jsonWalk{decoder: json.NewDecoder(bytes.NewReader(body))}
	walk.decoder.UseNumber()
	if err := walk.value(schema, []string{"body"}); err != nil {
		return unreadable(err.Error())
	}
	return walk.items, true
}

// jsonWalk goes through a valid JSON text token by token, beside the schema.
type jsonWalk struct {
	decoder *json.Decoder
	items   []gen.ValidationErrorItem
}

func (w *jsonWalk) found(loc []string, message, kind string) {
	if len(w.items) < maxItems {
		w.items = append(w.items, tidy(gen.ValidationErrorItem{Loc: slices.Clone(loc), Msg: message, Type: kind}))
	}
}

// value walks one value. schema is nil where the contract says nothing about it.
func (w *jsonWalk) value(schema *openapi3.Schema, loc []string) error {
	if len(loc) > maxJSONDepth {
		return fmt.Errorf("is nested deeper than %d", maxJSONDepth)
	}
	token, err := w.decoder.Token()
	if err != nil {
		return errors.New("is not valid JSON")
	}
	switch token := token.(type) {
	case json.Number:
		if schema != nil && schema.Type.Is(openapi3.TypeInteger) && strings.ContainsAny(token.String(), ".eE") {
			w.found(loc, "must be an integer, written without fraction or exponent", "type")
		}
	case json.Delim:
		if token == '{' {
			return w.object(schema, loc)
		}
		return w.array(schema, loc)
	}
	return nil
}

func (w *jsonWalk) object(schema *openapi3.Schema, loc []string) error {
	seen := map[string]struct{}{}
	for w.decoder.More() {
		token, err := w.decoder.Token()
		if err != nil {
			return errors.New("is not valid JSON")
		}
		key, _ := token.(string)
		place := append(slices.Clone(loc), key)
		if _, twice := seen[key]; twice {
			w.found(place, "given more than once", "duplicate")
		}
		seen[key] = struct{}{}
		property := propertyOf(schema, key)
		if property == nil && schema != nil && isClosed(schema) {
			w.found(place, "unknown key", "unknown")
		}
		if err := w.value(property, place); err != nil {
			return err
		}
	}
	_, err := w.decoder.Token() // the closing brace
	return err
}

func (w *jsonWalk) array(schema *openapi3.Schema, loc []string) error {
	var items *openapi3.Schema
	if schema != nil && schema.Items != nil {
		items = schema.Items.Value
	}
	for i := 0; w.decoder.More(); i++ {
		if err := w.value(items, append(slices.Clone(loc), strconv.Itoa(i))); err != nil {
			return err
		}
	}
	_, err := w.decoder.Token() // the closing bracket
	return err
}

func propertyOf(schema *openapi3.Schema, key string) *openapi3.Schema {
	if schema == nil || schema.Properties[key] == nil {
		return nil
	}
	return schema.Properties[key].Value
}

// isClosed tells whether the schema allows no keys but its own.
func isClosed(schema *openapi3.Schema) bool {
	return schema.AdditionalProperties.Has != nil && !*schema.AdditionalProperties.Has
}
