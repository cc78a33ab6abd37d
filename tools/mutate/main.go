// Command mutate asks whether the tests would notice wrong code: it changes the code in one place
// at a time, lets the package's tests run, and lists the changes that no test noticed. Nothing on
// disk is changed: the compiler is given the changed file by an overlay.
//
//	bin/mutate -per 40 -seed 1 ./server ./gpu …
//	bin/mutate -only gpu/nvml.go:92 ./gpu
//
// It is called in the folder of the server's module, whose packages and tests it names and runs.
//
// The places are drawn at random, as many in each package; -only takes those of the lines that are
// named instead. A change that does not compile is drawn again. One that makes the tests hang
// counts as noticed, and the table says how many did: the limit is five times the time that the
// tests take without a change, so that a busy machine is no reason. While it runs, each change is
// told with the test that noticed it.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// timesPlain and minTimeout bound a run of the tests with a change, measured by the run without
	// one.
	timesPlain   = 5
	minTimeout   = time.Minute
	firstTimeout = 10 * time.Minute
)

type settings struct {
	per     int
	seed    uint64
	timeout time.Duration // 0: timesPlain
	only    []string      // path:line; empty: all
	tests   string        // which tests to run, a regular expression; empty: all
	skip    string        // which of them not to, likewise; empty: none
}

func main() { os.Exit(command()) }

func command() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) //nolint:forbidigo // the program's own
	defer stop()
	var s settings
	flag.IntVar(&s.per, "per", 40, "changes to try in each package")
	flag.Uint64Var(&s.seed, "seed", 1, "which changes are drawn")
	flag.DurationVar(&s.timeout, "timeout", 0, "of one run of a package's tests (default five times the run without a change)")
	only := flag.String("only", "", "try just the changes in these lines, as gpu/nvml.go:92,gpu/monitor.go:114")
	flag.StringVar(&s.tests, "run", "", "run just the tests that this regular expression matches")
	flag.StringVar(&s.skip, "skip", "", "run all but the tests that this regular expression matches")
	flag.Parse()
	s.only = strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })
	if flag.NArg() == 0 {
		_, _ = fmt.Fprintln(os.Stderr, "mutate: name the packages, as ./server ./gpu")
		return 2
	}
	if err := run(ctx, s, flag.Args(), os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "mutate:", err)
		return 1
	}
	return 0
}

// tally is what became of the changes in one package.
type tally struct {
	tried, noticed int
	hung           int // of those noticed
	survivors      []string
}

func run(ctx context.Context, s settings, dirs []string, out io.Writer) error {
	var total tally
	_, _ = fmt.Fprintf(out, "seed %d, up to %d changes in each package\n\n| package | tried | noticed | of them by hanging | |\n|---|---|---|---|---|\n", s.seed, s.per)
	for _, dir := range dirs {
		t, err := mutatePackage(ctx, s, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		_, _ = fmt.Fprintf(out, "| `%s` | %d | %d | %d | %.0f %% |\n", strings.TrimPrefix(dir, "./"), t.tried, t.noticed, t.hung, percent(t))
		total.tried += t.tried
		total.noticed += t.noticed
		total.hung += t.hung
		total.survivors = append(total.survivors, t.survivors...)
	}
	_, _ = fmt.Fprintf(out, "| all | %d | %d | %d | %.1f %% |\n\nNot noticed:\n\n", total.tried, total.noticed, total.hung, percent(total))
	for _, survivor := range total.survivors {
		_, _ = fmt.Fprintf(out, "- %s\n", survivor)
	}
	return nil
}

func percent(t tally) float64 { return 100 * float64(t.noticed) / float64(max(t.tried, 1)) }

// mutatePackage tries changes in the package of a folder.
func mutatePackage(ctx context.Context, s settings, dir string) (tally, error) {
	binary, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return tally{}, err
	}
	defer func() { _ = os.RemoveAll(binary) }()
	files, err := sources(ctx, dir)
	if err != nil {
		return tally{}, err
	}
	var mutants []mutant
	for _, file := range files {
		found, err := mutantsOf(file)
		if err != nil {
			return tally{}, err
		}
		mutants = append(mutants, found...)
	}
	if len(s.only) > 0 {
		mutants = slices.DeleteFunc(mutants, func(m mutant) bool { return !slices.Contains(s.only, m.place()) })
		s.per = len(mutants)
	}
	random := rand.New(rand.NewPCG(s.seed, uint64(len(mutants)))) //nolint:gosec // not for secrets
	random.Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
	runner := runner{dir: dir, temp: binary, tests: s.tests, skip: s.skip, timeout: cmp.Or(s.timeout, firstTimeout)}
	began := time.Now()
	if verdict, output, err := runner.test(ctx, nil); err != nil || verdict != survived {
		return tally{}, errors.Join(fmt.Errorf("the tests fail without any change: %s", tail(output)), err)
	}
	if s.timeout == 0 {
		runner.timeout = max(minTimeout, timesPlain*time.Since(began))
	}
	return tryEach(ctx, &runner, mutants, s.per)
}

// tryEach tries changes one by one until there were enough that compile.
func tryEach(ctx context.Context, r *runner, mutants []mutant, enough int) (tally, error) {
	var t tally
	for _, m := range mutants {
		if t.tried == enough {
			break
		}
		verdict, output, err := r.test(ctx, &m)
		if err != nil {
			return t, err
		}
		switch verdict {
		case doesNotCompile:
			continue
		case killed:
			t.noticed++
		case hung:
			t.noticed++
			t.hung++
		case survived:
			t.survivors = append(t.survivors, m.String())
		}
		t.tried++
		_, _ = fmt.Fprintf(os.Stderr, "%s %s %s\n", verdict, m, failing(output))
	}
	return t, nil
}

// sources are the package's hand-written files for this machine, without tests.
func sources(ctx context.Context, dir string) ([]string, error) {
	output, err := exec.CommandContext(ctx, "go", "list", "-f", `{{range .GoFiles}}{{.}}{{"\n"}}{{end}}{{range .CgoFiles}}{{.}}{{"\n"}}{{end}}`, dir).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var files []string
	for name := range strings.FieldsSeq(string(output)) {
		if !strings.HasSuffix(name, ".gen.go") {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files, nil
}

type verdict string

const (
	killed         verdict = "noticed"
	hung           verdict = "noticed by hanging"
	survived       verdict = "NOT NOTICED"
	doesNotCompile verdict = "does not compile"
)

// runner runs the tests of one package.
type runner struct {
	dir, temp, tests, skip string
	timeout                time.Duration
}

// test builds the tests with the change and runs them.
func (r *runner) test(ctx context.Context, m *mutant) (verdict, []byte, error) {
	args := []string{"test", "-c", "-ldflags=-s -w", "-o", filepath.Join(r.temp, "t.test")}
	if m != nil {
		changed := filepath.Join(r.temp, "changed.go")
		if err := os.WriteFile(changed, m.changed(), 0o600); err != nil {
			return "", nil, err
		}
		original, err := filepath.Abs(m.file.path)
		if err != nil {
			return "", nil, err
		}
		overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
		if err != nil {
			return "", nil, err
		}
		path := filepath.Join(r.temp, "overlay.json")
		if err := os.WriteFile(path, overlay, 0o600); err != nil {
			return "", nil, err
		}
		args = append(args, "-overlay", path)
	}
	if output, err := exec.CommandContext(ctx, "go", append(args, r.dir)...).CombinedOutput(); err != nil { //nolint:gosec // the packages of this project
		if ctx.Err() != nil {
			return "", nil, ctx.Err()
		}
		return doesNotCompile, output, nil
	}
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	tests := exec.CommandContext(limited, filepath.Join(r.temp, "t.test"), "-test.failfast", "-test.timeout", "0", "-test.run", r.tests, "-test.skip", r.skip) //nolint:gosec // just built
	tests.Dir = r.dir
	tests.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tests.Cancel = func() error { return syscall.Kill(-tests.Process.Pid, syscall.SIGKILL) }
	tests.WaitDelay = 5 * time.Second
	output := &watched{failed: cancel}
	tests.Stdout, tests.Stderr = output, output
	err := tests.Run()
	switch {
	case ctx.Err() != nil:
		return "", nil, ctx.Err()
	case err != nil && failure.Match(output.text.Bytes()):
		return killed, output.text.Bytes(), nil
	case limited.Err() != nil:
		return hung, output.text.Bytes(), nil
	case err != nil:
		return killed, output.text.Bytes(), nil
	default:
		return survived, output.text.Bytes(), nil
	}
}

// watched is the output of tests, which ends them as soon as one has failed: others may hang then.
type watched struct {
	failed func()
	text   bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.text.Write(p)
	if failure.Match(w.text.Bytes()) {
		w.failed()
	}
	return n, err
}

// failing names the first test that failed, or how the tests ended otherwise.
func failing(output []byte) string {
	if found := failure.FindSubmatch(output); found != nil {
		return "by " + string(bytes.Join(found[1:], nil))
	}
	return ""
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^(panic: .{0,80}|fatal error: .{0,80})`)

func tail(output []byte) string {
	const most = 2000
	return string(output[max(0, len(output)-most):])
}
