package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMutantsOf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.go")
	require.NoError(t, os.WriteFile(path, []byte(`package x

func f(a, b int) (int, error) {
	var err error
	if a < b && b > 0 {
		a++
		log.Info("not this", a+b)
	}
	mu.Lock()
	if err := h(a + b); err != nil {
		log.Warn("nor this")
	}
	g()
	if a == b {
		g()
	}
	for range 3 {
		continue
	}
	return a + b, err
}
`), 0o600))
	mutants, err := mutantsOf(path)
	require.NoError(t, err)
	var texts []string
	for _, m := range mutants {
		texts = append(texts, m.what)
		changed := m.changed()
		require.NotEqual(t, m.file.content, changed)
	}
	require.ElementsMatch(t, []string{
		"condition negated: `a < b && b > 0`", "|| for &&: `a < b && b > 0`", "<= for <: `a < b`", ">= for >: `b > 0`",
		"counts the other way: a++", "left out: `g()`", "left out: `g()`", "!= for ==: `a == b`", "break for continue", "- for +: `a + b`", "- for +: `a + b`", "error dropped: `return a + b, err`",
	}, texts)
	require.Contains(t, string(mutants[0].changed()), "if !(a < b && b > 0) {")
}
