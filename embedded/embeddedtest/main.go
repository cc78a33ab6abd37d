package embeddedtest

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// Main is the body of a package's TestMain: it runs the tests, stops and removes every server that
// they started, looks for goroutines that were left running, and exits. Options are passed to
// goleak.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	RemoveAll()
	if code == 0 {
		if err := goleak.Find(options...); err != nil {
			_, _ = fmt.Fprintf(os.Stderr, "goroutines left running: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// beforeRemoval is what uses the servers until the end of the test process.
var beforeRemoval struct {
	sync.Mutex
	ends []func()
}

// BeforeRemoval has f called once, before the servers of this process are stopped.
func BeforeRemoval(f func()) {
	beforeRemoval.Lock()
	defer beforeRemoval.Unlock()
	beforeRemoval.ends = append(beforeRemoval.ends, f)
}

// RemoveAll stops and removes every server that this process started. Main calls it; a program that
// is no test has to.
func RemoveAll() {
	beforeRemoval.Lock()
	defer beforeRemoval.Unlock()
	for _, f := range beforeRemoval.ends {
		f()
	}
	beforeRemoval.ends = nil
	if shared.server != nil {
		shared.server.discard()
	}
	removeBase()
}
