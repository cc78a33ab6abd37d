package child

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForEachLine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*maxLineBytes)
	var lines []string
	forEachLine(strings.NewReader("one\r\n\n"+long+"\ntwo\nthree"), func(line string) { lines = append(lines, line) })
	require.Equal(t, []string{"one", long[:maxLineBytes], "two", "three"}, lines)
	forEachLine(strings.NewReader("read\nanyway\n"), nil)
}

func TestTail(t *testing.T) {
	t.Parallel()
	tail := NewTail(2)
	require.Empty(t, tail.Lines())
	for _, line := range []string{"a", "b", "c"} {
		tail.Add(line)
	}
	require.Equal(t, []string{"b", "c"}, tail.Lines())
	tail.Reset()
	require.Empty(t, tail.Lines())
}
