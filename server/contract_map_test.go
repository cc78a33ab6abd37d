package server

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

// contractSection is what docs/CONTRACT.md says about one operation.
type contractSection struct {
	text string
	rows [][2]string // what is promised, and the tests
}

// quotedWord is a word between backquotes.
var quotedWord = regexp.MustCompile("`([^`]+)`")

// testName is a test with its package's folder in front, and perhaps its subtest behind.
var testName = regexp.MustCompile(`^([a-z][a-z0-9/]*)\.((?:Test|Fuzz)[A-Za-z0-9_]+)((?:/[^/]+)*)$`)

// TestContractMap: docs/CONTRACT.md has every operation of the contract with all its fields and parameters, and every test that it names
// exists.
func TestContractMap(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "docs", "CONTRACT.md"))
	require.NoError(t, err)
	sections := readContractMap(t, string(raw))
	tests := readTests(t, "..")
	doc, err := spec()
	require.NoError(t, err)
	known := 0
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			known++
			heading := method + " " + path
			section := sections[heading]
			require.NotNil(t, section, "docs/CONTRACT.md lacks %s", heading)
			require.NotEmpty(t, section.rows, heading)
			for _, name := range namesOf(operation) {
				require.Contains(t, section.text, "`"+name+"`", "%s: a field or parameter is missing", heading)
			}
		}
	}
	require.Len(t, sections, known, "docs/CONTRACT.md has operations that the contract does not have")
	for heading, section := range sections {
		for _, row := range section.rows {
			names := quotedWord.FindAllStringSubmatch(row[1], -1)
			require.NotEmpty(t, names, "%s: %q names no test", heading, row[0])
			for _, name := range names {
				tests.require(t, heading, name[1])
			}
		}
	}
	for _, name := range quotedWord.FindAllStringSubmatch(string(raw), -1) { // outside of the tables too
		if testName.MatchString(name[1]) {
			tests.require(t, "the introduction", name[1])
		}
	}
}

// readContractMap splits the map at its headings.
func readContractMap(t *testing.T, text string) map[string]*contractSection {
	t.Helper()
	sections := map[string]*contractSection{}
	var current *contractSection
	for line := range strings.SplitSeq(text, "\n") {
		if heading, found := strings.CutPrefix(line, "## "); found {
			current = &contractSection{}
			require.NotContains(t, sections, heading, "twice")
			sections[heading] = current
			continue
		}
		if current == nil || !strings.HasPrefix(line, "|") {
			continue
		}
		current.text += line + "\n"
		cells := strings.Split(strings.Trim(line, "|"), "|")
		require.Len(t, cells, 2, line)
		if strings.HasSuffix(strings.TrimSpace(cells[0]), "says") || strings.HasPrefix(cells[0], "---") {
			continue
		}
		current.rows = append(current.rows, [2]string{strings.TrimSpace(cells[0]), cells[1]})
	}
	return sections
}

// namesOf lists the parameters of an operation, the keys of its body and the fields of its answer, down to the last.
func namesOf(operation *openapi3.Operation) (names []string) {
	for _, parameter := range operation.Parameters {
		names = append(names, parameter.Value.Name)
	}
	if operation.RequestBody != nil {
		names = append(names, fieldsOf(operation.RequestBody.Value.Content.Get("application/json").Schema.Value)...)
	}
	return append(names, fieldsOf(operation.Responses.Status(200).Value.Content.Get("application/json").Schema.Value)...)
}

func fieldsOf(schema *openapi3.Schema) (names []string) {
	for name, property := range schema.Properties {
		names = append(append(names, name), fieldsOf(property.Value)...)
	}
	for _, part := range schema.AllOf {
		names = append(names, fieldsOf(part.Value)...)
	}
	if schema.Items != nil {
		names = append(names, fieldsOf(schema.Items.Value)...)
	}
	return names
}

// knownTests are the test functions of each folder and the texts in its test files, which subtests may be named by.
type knownTests struct {
	functions map[string]map[string]bool
	texts     map[string]map[string]bool
}

// readTests parses all test files below root.
func readTests(t *testing.T, root string) *knownTests {
	t.Helper()
	known := &knownTests{map[string]map[string]bool{}, map[string]map[string]bool{}}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != root || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		return known.read(filepath.ToSlash(folder), path)
	})
	require.NoError(t, err)
	return known
}

func (k *knownTests) read(folder, path string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	if k.functions[folder] == nil {
		k.functions[folder], k.texts[folder] = map[string]bool{}, map[string]bool{}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.FuncDecl:
			if node.Recv == nil {
				k.functions[folder][node.Name.Name] = true
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(node.Value); node.Kind == token.STRING && err == nil {
				k.texts[folder][text] = true
			}
		}
		return true
	})
	return nil
}

// require fails unless the test exists.
func (k *knownTests) require(t *testing.T, where, name string) {
	t.Helper()
	parts := testName.FindStringSubmatch(name)
	require.NotNil(t, parts, "%s: %s is not the name of a test", where, name)
	require.True(t, k.functions[parts[1]][parts[2]], "%s: the test %s does not exist", where, name)
	for subtest := range strings.SplitSeq(strings.TrimPrefix(parts[3], "/"), "/") {
		spaced := strings.ReplaceAll(subtest, "_", " ") // as it may be written in the source
		require.True(t, subtest == "" || k.texts[parts[1]][subtest] || k.texts[parts[1]][spaced], "%s: the subtest of %s does not exist", where, name)
	}
}
