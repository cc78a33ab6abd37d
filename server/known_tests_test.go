package server

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// quotedWord is a word between backquotes.
var quotedWord = regexp.MustCompile("`([^`]+)`")

// testName is a test with its package's folder in front, and perhaps its subtest behind.
var testName = regexp.MustCompile(`^([a-z][a-z0-9/]*)\.((?:Test|Fuzz)[A-Za-z0-9_]+)((?:/[^/]+)*)$`)

// knownTests are the test functions of each folder and the texts in its test files, which subtests
// may be named by.
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
