package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReliabilityMap: every fault in docs/RELIABILITY.md names a test, and every test that is named
// there exists.
func TestReliabilityMap(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "docs", "RELIABILITY.md"))
	require.NoError(t, err)
	tests := readTests(t, "..")
	faults := 0
	for line := range strings.SplitSeq(string(raw), "\n") {
		named := 0
		for _, word := range quotedWord.FindAllStringSubmatch(line, -1) {
			if testName.MatchString(word[1]) {
				tests.require(t, line, word[1])
				named++
			}
		}
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| fault |") {
			require.Positive(t, named, "no test: %s", line)
			faults++
		}
	}
	require.Greater(t, faults, 40)
}
