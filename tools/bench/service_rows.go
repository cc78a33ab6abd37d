package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// openLoop sends 1,000 requests per second at fixed times, whether or not earlier ones were
// answered.
func openLoop(ctx context.Context, w *world, t *table) error {
	s, err := w.site(ctx)
	if err != nil {
		return err
	}
	mixed := []string{
		"/health", "/api/system/health", "/api/system/health/ready", "/api/system/gpu", "/api/system/config", "/api/system/stats",
		"/api/system/severity", "/api/system/storage", "/api/system/telemetry", "/api/system/pipeline-latency", "/api/system/gpu/history?limit=300",
	}
	for _, each := range []struct {
		name  string
		paths []string
		rate  int
		limit time.Duration
	}{
		{"p99 at 1,000 requests/s, open loop, mixed", mixed, 1000, 5 * time.Millisecond},
		{"p99 of pipeline-latency of 1,440 min at 1,000/s", []string{"/api/system/pipeline-latency?window_minutes=1440"}, 1000, 5 * time.Millisecond},
		{"p99 of gpu/history, 5,000 rows, at 100/s", []string{"/api/system/gpu/history?limit=5000"}, 100, 25 * time.Millisecond},
	} {
		ours, theirs, err := w.attackBoth(ctx, s, each.paths, each.rate)
		if err != nil {
			return err
		}
		t.add(row{
			what: each.name, measured: short(median(ours)), compared: "bare server " + short(median(theirs)),
			target: "≤ " + short(each.limit), ok: median(ours) <= each.limit,
		})
	}
	return nil
}

// attackBoth attacks our server and the bare one in turn, which says how much of a p99 is the
// machine's.
func (w *world) attackBoth(ctx context.Context, s *site, paths []string, perSecond int) (ours, theirs []time.Duration, err error) {
	bare, _, err := s.startBareBodies(ctx, paths)
	if err != nil {
		return nil, nil, err
	}
	defer bare.close()
	for range w.rounds {
		for _, each := range []struct {
			baseURL string
			p99s    *[]time.Duration
		}{{s.baseURL, &ours}, {bare.baseURL, &theirs}} {
			p99, err := attack(ctx, each.baseURL, paths, perSecond, 2*w.seconds)
			if err != nil {
				return nil, nil, err
			}
			*each.p99s = append(*each.p99s, p99)
		}
	}
	return ours, theirs, nil
}

func attack(ctx context.Context, baseURL string, paths []string, perSecond int, d time.Duration) (p99 time.Duration, err error) {
	targets := make([]vegeta.Target, len(paths))
	for i, path := range paths {
		targets[i] = vegeta.Target{Method: http.MethodGet, URL: baseURL + path}
	}
	attacker := vegeta.NewAttacker(vegeta.Connections(64), vegeta.Timeout(10*time.Second))
	defer attacker.Stop()
	var times []time.Duration
	for result := range attacker.Attack(vegeta.NewStaticTargeter(targets...), vegeta.Rate{Freq: perSecond, Per: time.Second}, d, "bench") {
		if result.Code != http.StatusOK {
			return 0, fmt.Errorf("%s: status %d %s", result.URL, result.Code, result.Error)
		}
		times = append(times, result.Latency)
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	slices.Sort(times)
	return percentile(times, 0.99), nil
}

// idle is what the server costs when nothing happens, on an empty database.
func idle(ctx context.Context, w *world, t *table) error {
	s, err := w.newSite(ctx, "idle")
	if err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { _ = s.close(ctx) }()
	const settle, watched = 15 * time.Second, 30 * time.Second
	if err := wait(ctx, settle); err != nil {
		return err
	}
	before, err := cpuTime(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := wait(ctx, watched); err != nil {
		return err
	}
	after, err := cpuTime(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	rss, err := rssBytes(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	percent := 100 * (after - before).Seconds() / watched.Seconds()
	t.add(row{what: "idle: memory of the server (RSS)", measured: fmt.Sprintf("%.1f MB", float64(rss)/1e6), target: "≤ 40 MB", ok: rss <= 40e6})
	t.add(row{what: "idle: share of a core", measured: fmt.Sprintf("%.2f %%", percent), target: "≤ 0.5 %", ok: percent <= 0.5})
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cpuTime is what a process has used so far, of all cores. The kernel counts it in hundredths of a
// second.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text)[strings.LastIndex(string(text), ")")+1:])
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("cannot read /proc/%d/stat", pid)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}

func rssBytes(pid int) (int64, error) { return statusBytes(pid, "VmRSS:") }

// peakBytes is the largest RSS that the process ever had.
func peakBytes(pid int) (int64, error) { return statusBytes(pid, "VmHWM:") }

func statusBytes(pid int, name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, name); found {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kilobytes * 1024, err
		}
	}
	return 0, fmt.Errorf("no %s in /proc/%d/status", name, pid)
}

var benchLine = regexp.MustCompile(`(?m)^Benchmark\S*\s+\d+\s+([0-9.]+) ns/op`)

// goBenchmark runs Go benchmarks of a package and returns the time of one operation in each run.
func (w *world) goBenchmark(ctx context.Context, pattern, pkg string) ([]time.Duration, error) {
	output, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-count", strconv.Itoa(w.rounds),
		"hsi.home.arpa/"+pkg).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w: %s", err, output)
	}
	var times []time.Duration
	for _, found := range benchLine.FindAllSubmatch(output, -1) {
		ns, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			return nil, err
		}
		times = append(times, time.Duration(max(ns, 1)))
	}
	if len(times) == 0 {
		return nil, fmt.Errorf("no %s in: %s", pattern, output)
	}
	return times, nil
}

// sample runs the Go benchmark of reading the graphics card, with a driver library that answers at
// once.
func sample(ctx context.Context, w *world, t *table) error {
	times, err := w.goBenchmark(ctx, "^BenchmarkRead$", "gpu")
	if err != nil {
		return err
	}
	t.add(row{what: "GPU sample, our part (no card: a driver library that answers at once)", measured: short(median(times)), noTarget: true})
	return nil
}

// histogram runs the Go benchmark of recording one latency.
func histogram(ctx context.Context, w *world, t *table) error {
	times, err := w.goBenchmark(ctx, "^BenchmarkObserve", "pipeline/latency")
	if err != nil {
		return err
	}
	worst := slices.Max(times)
	t.add(row{what: "recording one latency (no Redis round trip)", measured: short(worst) + ", worst", target: "≤ 1 µs", ok: worst <= time.Microsecond})
	return nil
}
