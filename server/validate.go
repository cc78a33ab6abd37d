package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"hsi.home.arpa/gen"
)

// maxBodyBytes bounds a request body.
const maxBodyBytes = 64 << 10

// Bounds of what a 422 says, so that a hostile request does not make a long answer.
const (
	maxItems    = 20
	maxLocRunes = 64
)

// plainInteger is how an integer in the query is written.
var plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// validator checks the requests of one operation against the contract.
type validator struct {
	route *routers.Route
	// path and query are the parameters.
	path, query map[string]*openapi3.Schema
	body        *openapi3.Schema // nil when the operation has no body
	// limitsBody: the contract has an answer for a body that is too large.
	limitsBody bool
	// refusesBody: the operation changes something and has no body, so that one that is sent would
	// mean something that is not done.
	refusesBody bool
}

func newValidator(doc *openapi3.T, path, method string, item *openapi3.PathItem, operation *openapi3.Operation) (*validator, error) {
	v := &validator{
		route:      &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: operation},
		path:       map[string]*openapi3.Schema{},
		query:      map[string]*openapi3.Schema{},
		limitsBody: operation.Responses.Status(http.StatusRequestEntityTooLarge) != nil,

		refusesBody: operation.RequestBody == nil && method != http.MethodGet,
	}
	for _, parameter := range slices.Concat(item.Parameters, operation.Parameters) {
		if err := v.addParameter(parameter.Value); err != nil {
			name := operation.OperationID + ": parameter " + parameter.Value.Name
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if operation.RequestBody != nil {
		content := operation.RequestBody.Value.Content["application/json"]
		if content == nil || len(operation.RequestBody.Value.Content) != 1 {
			return nil, fmt.Errorf("%s: the validator knows only JSON bodies", operation.OperationID)
		}
		v.body = content.Schema.Value
	}
	return v, nil
}

// addParameter refuses what check cannot validate, so that the contract cannot outgrow it
// unnoticed.
func (v *validator) addParameter(parameter *openapi3.Parameter) error {
	schema := parameter.Schema.Value
	isList := schema.Type.Is(openapi3.TypeArray)
	switch {
	case schema.Type.Is(openapi3.TypeObject):
		return errors.New("the validator knows no objects here")
	case parameter.In == openapi3.ParameterInPath && !isList:
		v.path[parameter.Name] = schema
	case parameter.In == openapi3.ParameterInQuery:
		if isList && (parameter.Explode == nil || *parameter.Explode) {
			return errors.New("the validator knows only lists with commas, explode: false")
		}
		v.query[parameter.Name] = schema
	case parameter.In == openapi3.ParameterInHeader && schema.Type.Is(openapi3.TypeString) && schema.Pattern == "":
		// Any text will do.
	default:
		return fmt.Errorf("the validator does not know it in %s", parameter.In)
	}
	return nil
}

// check validates the request, whose path parameters the router found, and fills in the defaults of
// absent parameters. It puts back the body that it reads.
func (v *validator) check(r *http.Request, path map[string]string) error {
	body, err := v.readBody(r)
	if err != nil {
		return err
	}
	items := checkPath(path, v.path)
	query, found := checkQuery(r.URL.RawQuery, v.query)
	items = append(items, found...)
	switch {
	case v.refusesBody && len(body) > 0:
		items = append(items, gen.ValidationErrorItem{Loc: []string{"body"}, Msg: "this operation takes no body; parameters go into the query", Type: "unexpected"})
	case v.body != nil:
		found, readable := checkJSON(body, v.body)
		items = append(items, found...)
		if !readable {
			return invalid(items...)
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	if len(items) == 0 && len(v.path) == 0 && len(v.query) == 0 && v.body == nil {
		return nil
	}
	err = openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request:     r,
		Route:       v.route,
		PathParams:  path,
		QueryParams: query,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, // the key was checked before
			KeepValidatedValue: true,
			MultiError:         true,
		},
	})
	if err != nil {
		items = mergeItems(items, toItems(nil, err))
	}
	if len(items) > 0 {
		return invalid(items...)
	}
	return nil
}

// readBody checks size, encoding and type of the body, in this order, and reads it.
func (v *validator) readBody(r *http.Request) ([]byte, error) {
	if v.limitsBody && r.ContentLength > maxBodyBytes {
		return nil, errTooLarge()
	}
	switch {
	case v.refusesBody: // whatever its type, it is only looked at whether there is one
	case v.body == nil:
		return nil, nil
	case isEncoded(r.Header.Values("Content-Encoding")):
		return nil, &problem{status: http.StatusUnsupportedMediaType, detail: "Content-Encoding is not supported", header: "Accept-Encoding", value: "identity"}
	case !isJSON(r.Header.Values("Content-Type")):
		return nil, &problem{status: http.StatusUnsupportedMediaType, detail: "Content-Type must be application/json"}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes+1))
	switch {
	case len(body) > maxBodyBytes:
		return nil, errTooLarge()
	case err != nil: // cut off, or too slow
		return nil, invalid(gen.ValidationErrorItem{Loc: []string{"body"}, Msg: "ended before it was complete", Type: "truncated"})
	}
	return body, nil
}

func errTooLarge() *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, detail: "Request body is larger than 64 kB"}
}

// isEncoded looks for an encoding other than identity, in all lines of the header.
func isEncoded(contentEncoding []string) bool {
	for _, line := range contentEncoding {
		for encoding := range strings.SplitSeq(line, ",") {
			if encoding = strings.TrimSpace(encoding); encoding != "" && !strings.EqualFold(encoding, "identity") {
				return true
			}
		}
	}
	return false
}

// isJSON accepts application/json, also with charset=utf-8.
func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	media, parameters, err := mime.ParseMediaType(contentType[0])
	charset, given := parameters["charset"]
	return err == nil && media == "application/json" && (!given || strings.EqualFold(charset, "utf-8"))
}

// checkPath finds what openapi3filter lets pass in the parameters of the path.
func checkPath(sent map[string]string, known map[string]*openapi3.Schema) []gen.ValidationErrorItem {
	var items []gen.ValidationErrorItem
	for _, name := range slices.Sorted(maps.Keys(known)) {
		items = append(items, checkText(known[name], sent[name], openapi3.ParameterInPath, name)...)
	}
	return items
}

// checkQuery finds what openapi3filter lets pass: unknown, repeated and unreadable parameters, and
// other ways to write a value. It returns the parameters too, so that they are read once.
func checkQuery(raw string, known map[string]*openapi3.Schema) (url.Values, []gen.ValidationErrorItem) {
	if raw == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil || !utf8.ValidString(raw) {
		return values, []gen.ValidationErrorItem{{Loc: []string{"query"}, Msg: "cannot be read: wrong percent encoding or separator", Type: "parse"}}
	}
	var items []gen.ValidationErrorItem
	for name, sent := range values {
		item := gen.ValidationErrorItem{Loc: []string{openapi3.ParameterInQuery, shorten(name)}}
		schema, ok := known[name]
		switch {
		case !ok:
			item.Msg, item.Type = "unknown parameter", "unknown"
		case len(sent) > 1:
			item.Msg, item.Type = "given more than once", "duplicate"
		default:
			items = append(items, checkText(schema, sent[0], item.Loc...)...)
			continue
		}
		items = append(items, item)
	}
	slices.SortStableFunc(items, func(a, b gen.ValidationErrorItem) int {
		return slices.Compare(a.Loc, b.Loc)
	})
	return values, items
}

// checkText finds what openapi3filter lets pass in one value: text that is not UTF-8, and other
// ways to write a boolean or an integer, such as 1 or True and +5 or 007. Of a list it names the
// item.
func checkText(schema *openapi3.Schema, text string, loc ...string) []gen.ValidationErrorItem {
	item := gen.ValidationErrorItem{Loc: loc}
	switch {
	case !utf8.ValidString(text):
		item.Msg, item.Type = "is not UTF-8", "parse"
	case text == "":
		return nil // openapi3filter says that it is missing
	case schema.Type.Is(openapi3.TypeBoolean) && text != "true" && text != "false":
		item.Msg, item.Type = "must be true or false", "type"
	case schema.Type.Is(openapi3.TypeInteger) && !plainInteger.MatchString(text):
		item.Msg, item.Type = "must be an integer in plain decimal digits", "type"
	case schema.Type.Is(openapi3.TypeArray):
		return checkList(schema, text, loc)
	default:
		return nil
	}
	return []gen.ValidationErrorItem{item}
}

// checkList checks the items of a list with commas, up to one more than it may have.
func checkList(schema *openapi3.Schema, text string, loc []string) []gen.ValidationErrorItem {
	var items []gen.ValidationErrorItem
	i := 0
	for part := range strings.SplitSeq(text, ",") {
		place := append(slices.Clone(loc), strconv.Itoa(i))
		if part == "" {
			items = append(items, gen.ValidationErrorItem{
				Loc: place, Msg: "must not be empty", Type: "missing",
			})
		}
		items = append(items, checkText(schema.Items.Value, part, place...)...)
		if i++; len(items) >= maxItems {
			break
		}
	}
	return items
}

// toItems words the errors of openapi3filter, one item per field. loc is where the error was found
// so far.
func toItems(loc []string, err error) []gen.ValidationErrorItem {
	// The errors come as a tree of lists, of which errors.As would show only the first branch.
	switch found := err.(type) { //nolint:errorlint // see above
	case openapi3.MultiError:
		var items []gen.ValidationErrorItem
		for _, each := range found {
			items = append(items, toItems(loc, each)...)
		}
		return items
	case *openapi3filter.RequestError:
		if found.Parameter != nil {
			return withExample(found.Parameter, toItems([]string{found.Parameter.In, found.Parameter.Name}, found.Err))
		}
		return toItems([]string{"body"}, found.Err)
	case *openapi3.SchemaError:
		item := gen.ValidationErrorItem{Loc: slices.Concat(loc, found.JSONPointer()), Msg: found.Reason, Type: found.SchemaField}
		switch found.SchemaField {
		case "pattern":
			item.Msg = "does not have the documented form"
		case "minProperties", "maxProperties":
			item.Msg = "has too few or too many of the keys " + strings.Join(slices.Sorted(maps.Keys(found.Schema.Properties)), ", ")
			if found.Schema.MinProps == 1 && found.Schema.MaxProps != nil && *found.Schema.MaxProps == 1 {
				item.Msg = "needs exactly one of the keys " + strings.Join(slices.Sorted(maps.Keys(found.Schema.Properties)), ", ")
			}
		}
		return []gen.ValidationErrorItem{tidy(item)}
	case *openapi3filter.ParseError:
		for { // of an item of a list
			inner, isInner := found.Cause.(*openapi3filter.ParseError) //nolint:errorlint // see above
			if !isInner {
				break
			}
			loc, found = append(slices.Clone(loc), fmt.Sprint(found.Path()[0])), inner
		}
		return []gen.ValidationErrorItem{{Loc: orRequest(loc), Msg: "must be " + parseReason(found.Reason), Type: "type"}}
	}
	item := gen.ValidationErrorItem{Loc: orRequest(loc), Msg: "does not fit the contract", Type: "invalid"}
	switch {
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		item.Msg, item.Type = "is required", "missing"
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		item.Msg, item.Type = "must not be empty", "missing"
	}
	return []gen.ValidationErrorItem{item}
}

// withExample says what a parameter of the wrong form looks like when it is right: a pattern tells
// a person nothing.
func withExample(parameter *openapi3.Parameter, items []gen.ValidationErrorItem) []gen.ValidationErrorItem {
	names := slices.Sorted(maps.Keys(parameter.Examples))
	if len(names) == 0 || parameter.Examples[names[0]].Value == nil {
		return items
	}
	for i := range items {
		if items[i].Type == "pattern" {
			items[i].Msg += fmt.Sprintf(", such as %v", parameter.Examples[names[0]].Value.Value)
		}
	}
	return items
}

// parseReason turns "an invalid integer" into "a valid integer".
func parseReason(reason string) string {
	if kind, ok := strings.CutPrefix(reason, "an invalid "); ok {
		return "a valid " + kind
	}
	return "readable"
}

func orRequest(loc []string) []string {
	if len(loc) == 0 {
		return []string{"request"}
	}
	return loc
}

// tidy shortens what a client made long.
func tidy(item gen.ValidationErrorItem) gen.ValidationErrorItem {
	item.Loc = orRequest(item.Loc)
	for i := range item.Loc {
		item.Loc[i] = shorten(item.Loc[i])
	}
	return item
}

func shorten(text string) string { return shortenTo(text, maxLocRunes) }

func shortenTo(text string, runes int) string {
	if utf8.RuneCountInString(text) <= runes {
		return text
	}
	return string([]rune(text)[:runes]) + "…"
}

// mergeItems adds the items of fields that are not named yet, up to maxItems: a body of 64 kB can
// have tens of thousands of faults.
func mergeItems(items, more []gen.ValidationErrorItem) []gen.ValidationErrorItem {
	for _, item := range more {
		if len(items) >= maxItems {
			break
		}
		if item.Type == "properties" { // an unknown key: named already, with its place
			continue
		}
		if !slices.ContainsFunc(items, func(known gen.ValidationErrorItem) bool { return slices.Equal(known.Loc, item.Loc) }) {
			items = append(items, item)
		}
	}
	return items
}
