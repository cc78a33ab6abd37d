package child

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"sync"
)

// maxLineBytes is where a longer line of a server's output is cut.
const maxLineBytes = 4096

// forEachLine hands each line of r to output until r ends. It reads on whatever happens: a full
// pipe would freeze the server.
func forEachLine(r io.Reader, output func(string)) {
	reader := bufio.NewReaderSize(r, maxLineBytes)
	for {
		line, err := reader.ReadSlice('\n')
		text := strings.TrimRight(string(line), "\r\n")
		for errors.Is(err, bufio.ErrBufferFull) { // drop the rest of an overlong line
			_, err = reader.ReadSlice('\n')
		}
		if text != "" && output != nil {
			output(text)
		}
		if err != nil {
			return
		}
	}
}

// Tail keeps the last lines of a server's output. The zero value is not usable; see NewTail.
type Tail struct {
	mu    sync.Mutex
	lines []string // the newest last; guarded by mu
	limit int
}

// NewTail keeps at most limit lines.
func NewTail(limit int) *Tail { return &Tail{limit: limit} }

// Add appends a line and forgets the oldest when there are too many.
func (t *Tail) Add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == t.limit {
		copy(t.lines, t.lines[1:])
		t.lines = t.lines[:t.limit-1]
	}
	t.lines = append(t.lines, line)
}

// Lines returns a copy of what is kept, oldest first.
func (t *Tail) Lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines...)
}

// Reset forgets everything.
func (t *Tail) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = nil
}
