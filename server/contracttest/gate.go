package contracttest

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// Main is the body of a TestMain: it runs the tests and then fails, with exit code 1, when a
// documented status of an operation was not seen by any client of this package, or when a goroutine
// is left over. The gate stays open when only some tests run.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 && wholeSuite() {
		code = gate(os.Stderr)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// gate reports what is missing and returns the exit code.
func gate(out interface{ WriteString(s string) (int, error) }) int {
	c, err := load()
	if err != nil {
		_, _ = out.WriteString(err.Error() + "\n")
		return 1
	}
	promised := c.promised()
	missing := seen.missing(promised)
	if len(missing) == 0 {
		return 0
	}
	_, _ = out.WriteString(fmt.Sprintf("contract gate: %d of %d documented statuses were not exercised:\n  %s\n",
		len(missing), len(promised), strings.Join(missing, "\n  ")))
	return 1
}

// wholeSuite tells whether all tests ran: nothing was selected, left out, listed, or fuzzed.
func wholeSuite() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz", "test.fuzzworker"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" && f.Value.String() != "false" {
			return false
		}
	}
	return !testing.Short()
}
