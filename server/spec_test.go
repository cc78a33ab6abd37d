package server

import (
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

// TestSpec_IsValidWithItsExamples: every example in the contract fits its schema.
func TestSpec_IsValidWithItsExamples(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join("..", "openapi.yaml"))
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context(), openapi3.EnableExamplesValidation()))
}

// TestSpec_Rules: what makes a good contract and good clients.
func TestSpec_Rules(t *testing.T) {
	t.Parallel()
	doc, err := spec()
	require.NoError(t, err)
	camel := regexp.MustCompile(`^[a-z][A-Za-z]+$`)
	tags := map[string]bool{}
	for _, tag := range doc.Tags {
		tags[tag.Name] = true
	}
	ids := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			id := operation.OperationID
			require.Regexp(t, camel, id)
			require.False(t, ids[id], "operationId %s twice", id)
			ids[id] = true
			require.NotEmpty(t, operation.Summary, id)
			require.Len(t, operation.Tags, 1, id)
			require.True(t, tags[operation.Tags[0]], "%s: tag %s is not described", id, operation.Tags[0])
			require.Nil(t, operation.Responses.Default(), "%s: a default response hides undocumented ones", id)
			require.Equal(t, method != "GET" || isPrivate(path), operation.Security != nil, "%s: writes and what is private need a key", id)
			if operation.Security != nil {
				for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests} {
					require.NotNil(t, operation.Responses.Status(status), "%s: without %d", id, status)
				}
				require.Equal(t, id != "createSession", takesCookie(operation), "%s: a session does instead of the key", id)
			}
			for code, response := range operation.Responses.Map() {
				content := response.Value.Content
				if code == "304" { // it never has a body
					require.Empty(t, content, id)
					continue
				}
				if content.Get("image/jpeg") != nil || content.Get("text/csv") != nil {
					continue
				}
				require.Len(t, content, 1, "%s %s", id, code)
				media := content.Get("application/json")
				if stream := content["text/event-stream"]; stream != nil {
					require.NotEmpty(t, stream.Examples, id)
					require.Contains(t, stream.Extensions, "x-sse-events", id)
					continue
				}
				require.NotNil(t, media, "%s %s", id, code)
				require.NotEmpty(t, media.Schema.Ref, "%s %s: a body without a name", id, code)
				require.NotEmpty(t, media.Examples, "%s %s: no example", id, code)
				checkErrorBody(t, id, code, path, media.Schema.Ref)
			}
		}
	}
	sent := map[*openapi3.Schema]bool{}
	for _, operation := range operationsByID(t) {
		if operation.RequestBody != nil {
			addSchemas(sent, operation.RequestBody.Value.Content.Get("application/json").Schema)
		}
	}
	for name, schema := range doc.Components.Schemas {
		checkSchema(t, name, schema.Value)
		checkKeys(t, name, schema.Value, sent[schema.Value])
	}
	answered := map[*openapi3.Schema]bool{}
	for path, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			for _, response := range operation.Responses.Map() {
				if media := response.Value.Content.Get("application/json"); media != nil {
					addSchemas(answered, media.Schema)
				}
			}
			parameters := slices.Concat(item.Parameters, operation.Parameters)
			for _, parameter := range parameters {
				checkParameter(t, operation.OperationID, parameter.Value)
			}
			for _, name := range pathParameter.FindAllStringSubmatch(path, -1) {
				require.NotNil(t, parameters.GetByInAndName(openapi3.ParameterInPath, name[1]), path)
			}
		}
	}
	for name, schema := range doc.Components.Schemas {
		if schema.Value.Type.Is(openapi3.TypeObject) {
			require.False(t, sent[schema.Value] && answered[schema.Value], "%s: what is sent is closed, what is answered is open: make two", name)
		}
	}
	for name, parameter := range doc.Components.Parameters {
		checkParameter(t, name, parameter.Value)
	}
}

// addSchemas adds a schema and everything in it.
func addSchemas(all map[*openapi3.Schema]bool, ref *openapi3.SchemaRef) {
	if ref == nil || all[ref.Value] {
		return
	}
	all[ref.Value] = true
	for _, property := range ref.Value.Properties {
		addSchemas(all, property)
	}
	for _, part := range ref.Value.AllOf {
		addSchemas(all, part)
	}
	addSchemas(all, ref.Value.Items)
	addSchemas(all, ref.Value.AdditionalProperties.Schema)
}

// checkKeys: a request has no keys but its own; an answer may get more, unless it is a map. The
// tests refuse undocumented keys all the same: server/contracttest closes the answers.
func checkKeys(t *testing.T, name string, schema *openapi3.Schema, isSent bool) {
	t.Helper()
	if !schema.Type.Is(openapi3.TypeObject) {
		return
	}
	if isSent {
		require.True(t, isClosed(schema), "%s: a request with additionalProperties: false refuses unknown keys", name)
		return
	}
	require.Nil(t, schema.AdditionalProperties.Has, "%s: an answer without additionalProperties may get more keys", name)
	require.True(t, len(schema.Properties) > 0 || schema.AdditionalProperties.Schema != nil, "%s: neither keys nor a map", name)
}

// checkParameter: every value has bounds, everybody writes it in the same way, and a list cannot be
// taken for something else.
func checkParameter(t *testing.T, place string, parameter *openapi3.Parameter) {
	t.Helper()
	place += " " + parameter.Name
	require.NotEmpty(t, parameter.Description, place)
	if parameter.In == openapi3.ParameterInHeader { // any text will do; the server bounds the headers
		return
	}
	require.Regexp(t, `^[a-z][a-z_]*$`, parameter.Name)
	schema := parameter.Schema.Value
	if schema.Type.Is(openapi3.TypeArray) {
		require.True(t, parameter.Explode != nil && !*parameter.Explode, "%s: a list is written with commas", place)
		require.Equal(t, uint64(1), schema.MinItems, "%s: an empty list is no list", place)
		require.NotNil(t, schema.MaxItems, place)
		require.True(t, schema.UniqueItems, place)
		item := schema.Items.Value
		require.True(t, len(item.Enum) > 0 || item.Pattern != "" || !item.Type.Is(openapi3.TypeString), "%s: an item could have a comma", place)
		for _, text := range []string{"a,b", ",", "1,2"} {
			require.False(t, item.Pattern != "" && regexp.MustCompile(item.Pattern).MatchString(text), "%s: an item could have a comma", place)
		}
		schema = item
	}
	switch {
	case len(schema.Enum) > 0, schema.Type.Is(openapi3.TypeBoolean):
	case schema.Type.Is(openapi3.TypeInteger), schema.Type.Is(openapi3.TypeNumber):
		require.True(t, schema.Min != nil && schema.Max != nil, "%s: no bounds", place)
	case schema.Type.Is(openapi3.TypeString):
		require.NotNil(t, schema.MaxLength, "%s: no bounds", place)
		require.True(t, parameter.In == openapi3.ParameterInQuery || schema.Pattern != "", "%s: in a path only a pattern keeps out what is no value", place)
	default:
		require.Fail(t, place+": neither enum, boolean, number nor string")
	}
	if parameter.Required {
		require.NotNil(t, firstExample(parameter.Example, parameter.Examples), "%s: no example", place)
	}
}

// checkErrorBody: errors share one shape, except the verdicts of the probes.
func checkErrorBody(t *testing.T, id, code, path, ref string) {
	t.Helper()
	switch {
	case strings.HasPrefix(code, "2"), code == "503" && isProbe(path):
	case code == "422":
		require.Equal(t, "#/components/schemas/ValidationError", ref, id)
	default:
		require.Equal(t, "#/components/schemas/Error", ref, "%s %s", id, code)
	}
}

// checkSchema: nothing is nested without a name, and numbers have a width.
func checkSchema(t *testing.T, name string, schema *openapi3.Schema) {
	t.Helper()
	require.NotEmpty(t, schema.Description, name)
	for key, property := range schema.Properties {
		if property.Ref != "" {
			continue
		}
		place := name + "." + key
		value := property.Value
		require.Empty(t, value.Properties, "%s: a nested object without a name", place)
		switch {
		case value.Type.Is("integer"):
			require.Contains(t, []string{"int32", "int64"}, value.Format, place)
			require.NotNil(t, value.Min, place)
		case value.Type.Is("number"):
			require.Equal(t, "double", value.Format, place)
		case value.Type.Is("array"):
			require.NotNil(t, value.Items, place)
			require.True(t, value.Items.Ref != "" || value.Items.Value.Type.Is("string") || value.Items.Value.Type.Is("integer") && value.Items.Value.Min != nil, place)
		}
	}
}
