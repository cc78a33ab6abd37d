package server

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
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

// TestSpec_HasEveryExample: what the API's description shows, and the example of each later operation, is in the contract, value for value.
func TestSpec_HasEveryExample(t *testing.T) {
	t.Parallel()
	doc, err := spec()
	require.NoError(t, err)
	files, err := os.ReadDir(filepath.Join("testdata", "examples"))
	require.NoError(t, err)
	require.Len(t, files, 16)
	byID := map[string]*openapi3.Operation{}
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			byID[operation.OperationID] = operation
		}
	}
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".json")
		id, isRequest := strings.CutSuffix(name, ".request")
		var content openapi3.Content
		if isRequest {
			content = byID[id].RequestBody.Value.Content
		} else {
			content = byID[id].Responses.Status(200).Value.Content
		}
		media := content.Get("application/json")
		var want any
		require.NoError(t, json.Unmarshal([]byte(example(t, name)), &want))
		require.NoError(t, media.Schema.Value.VisitJSON(want), name)
		found := false
		for _, each := range media.Examples {
			encoded, err := json.Marshal(each.Value.Value)
			require.NoError(t, err)
			var got any
			require.NoError(t, json.Unmarshal(encoded, &got))
			found = found || json.Valid(encoded) && equalJSON(want, got)
		}
		require.True(t, found, "%s: the contract has no such example", name)
	}
}

func equalJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
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
			require.Equal(t, method != "GET", operation.Security != nil, "%s: only writes need a key", id)
			for code, response := range operation.Responses.Map() {
				content := response.Value.Content
				if code == "304" { // it never has a body
					require.Empty(t, content, id)
					continue
				}
				require.Len(t, content, 1, "%s %s", id, code)
				media := content.Get("application/json")
				require.NotNil(t, media, "%s %s", id, code)
				require.NotEmpty(t, media.Schema.Ref, "%s %s: a body without a name", id, code)
				require.NotEmpty(t, media.Examples, "%s %s: no example", id, code)
				checkErrorBody(t, id, code, path, media.Schema.Ref)
			}
		}
	}
	for name, schema := range doc.Components.Schemas {
		checkSchema(t, name, schema.Value)
	}
}

// checkErrorBody: errors share one shape, except the verdicts of the probes.
func checkErrorBody(t *testing.T, id, code, path, ref string) {
	t.Helper()
	switch {
	case code == "200", code == "503" && isProbe(path):
	case code == "422":
		require.Equal(t, "#/components/schemas/ValidationError", ref, id)
	default:
		require.Equal(t, "#/components/schemas/Error", ref, "%s %s", id, code)
	}
}

// checkSchema: objects say whether they may grow, nothing is nested without a name, and numbers have a width.
func checkSchema(t *testing.T, name string, schema *openapi3.Schema) {
	t.Helper()
	require.NotEmpty(t, schema.Description, name)
	if schema.Type.Is("object") {
		require.True(t, schema.AdditionalProperties.Has != nil || schema.AdditionalProperties.Schema != nil, "%s: additionalProperties is not decided", name)
	}
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
