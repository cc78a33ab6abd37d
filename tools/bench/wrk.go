package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// errNoWrk says how to get the load generator.
var errNoWrk = errors.New("wrk is missing; type: scripts/deps.sh wrk")

var (
	wrkRate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkBad  = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)`)
)

// wrkPath finds the load generator.
func (w *world) wrkPath() (string, error) {
	if path, err := exec.LookPath("wrk"); err == nil {
		return path, nil
	}
	path := filepath.Join(w.deps, "wrk/usr/bin/wrk")
	if _, err := exec.LookPath(path); err == nil {
		return path, nil
	}
	return "", errNoWrk
}

// wrk loads one address with 1 thread and 16 connections and returns the answers per second. All of
// them must be good.
func (w *world) wrk(ctx context.Context, url string, header ...string) (float64, error) {
	path, err := w.wrkPath()
	if err != nil {
		return 0, err
	}
	args := []string{"-t1", "-c16", fmt.Sprintf("-d%ds", int(w.seconds.Seconds()))}
	for _, h := range header {
		args = append(args, "-H", h)
	}
	command := exec.CommandContext(ctx, path, append(args, url)...)
	// An unpacked one finds its LuaJIT only there; without a match it is the machine's own.
	libraries, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "../lib/*-linux-gnu*"))
	if strings.HasPrefix(path, w.deps) {
		command.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	}
	output, err := command.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk %s: %w: %s", url, err, output)
	}
	if bad := wrkBad.FindSubmatch(output); bad != nil {
		return 0, fmt.Errorf("%s: %s", url, bad[0])
	}
	found := wrkRate.FindSubmatch(output)
	if found == nil {
		return 0, fmt.Errorf("wrk says no rate: %s", output)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// answer is what the server said.
type answer struct {
	body []byte
	etag string
}

func get(ctx context.Context, url string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	if response.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("%s: status %d: %.200s", url, response.StatusCode, body)
	}
	return answer{body: body, etag: response.Header.Get("ETag")}, nil
}

// endpoint is one address that is compared with the bare server.
type endpoint struct {
	name, path string
	percent    float64 // the target
}

// served is what a server did under load.
type served struct {
	perSecond float64
	// cpu is the processor time of the server's process for each answer. Other programs on the
	// machine disturb it less than perSecond.
	cpu time.Duration
}

// load loads one address of the process with wrk.
func (w *world) load(ctx context.Context, pid int, url string) (served, error) {
	before, err := cpuTime(pid)
	if err != nil {
		return served{}, err
	}
	began := time.Now()
	perSecond, err := w.wrk(ctx, url)
	if err != nil {
		return served{}, err
	}
	took := time.Since(began)
	after, err := cpuTime(pid)
	return served{perSecond: perSecond, cpu: time.Duration(float64(after-before) / (perSecond * took.Seconds()))}, err
}

// compare loads our address and the bare server's in turn and adds a row with the median of the
// rounds' ratios.
func (w *world) compare(ctx context.Context, t *table, e endpoint, s *site, bare *bareServer) error {
	var ratios, rates, bareRates []float64
	var cpu, bareCPU []time.Duration
	for range w.rounds {
		ours, err := w.load(ctx, s.cmd.Process.Pid, s.baseURL+e.path)
		if err != nil {
			return err
		}
		theirs, err := w.load(ctx, bare.cmd.Process.Pid, bare.baseURL+e.path)
		if err != nil {
			return err
		}
		ratios, rates, bareRates = append(ratios, 100*ours.perSecond/theirs.perSecond), append(rates, ours.perSecond), append(bareRates, theirs.perSecond)
		cpu, bareCPU = append(cpu, ours.cpu), append(bareCPU, theirs.cpu)
	}
	ratio := median(ratios)
	t.add(row{
		what:     e.name,
		measured: fmt.Sprintf("%s, %.0f %%, CPU %s", rate(median(rates)), ratio, short(median(cpu))),
		compared: fmt.Sprintf("bare server %s, CPU %s", rate(median(bareRates)), short(median(bareCPU))),
		target:   fmt.Sprintf("≥ %.0f %%", e.percent),
		ok:       ratio >= e.percent,
	})
	return nil
}

// endpoints are those that answer from memory or from kept figures.
func endpoints() []endpoint {
	return []endpoint{
		{"GET /health", "/health", 65},
		{"GET /ready", "/ready", 50},
		{"GET /api/system/health", "/api/system/health", 50},
		{"GET /api/system/health/ready", "/api/system/health/ready", 50},
		{"GET /api/system/gpu", "/api/system/gpu", 50},
		{"GET /api/system/config", "/api/system/config", 50},
		{"GET /api/system/stats", "/api/system/stats", 50},
		{"GET /api/system/severity", "/api/system/severity", 50},
		{"GET /api/system/storage", "/api/system/storage", 50},
		{"GET /api/system/telemetry", "/api/system/telemetry", 50},
		{"GET /api/system/pipeline-latency, 60 min", "/api/system/pipeline-latency?window_minutes=60", 50},
	}
}

// httpRows compares the endpoints with the bare server.
func httpRows(ctx context.Context, w *world, t *table) error {
	s, err := w.site(ctx)
	if err != nil {
		return err
	}
	var paths []string
	for _, e := range endpoints() {
		paths = append(paths, e.path)
	}
	bareServer, _, err := s.startBareBodies(ctx, paths)
	if err != nil {
		return err
	}
	defer bareServer.close()
	for _, e := range endpoints() {
		if err := w.compare(ctx, t, e, s, bareServer); err != nil {
			return err
		}
	}
	return nil
}

// startBareBodies starts a bare server that answers these paths with what our server answers now.
func (s *site) startBareBodies(ctx context.Context, paths []string) (*bareServer, map[string][]byte, error) {
	bodies := map[string][]byte{}
	for _, path := range paths {
		if err := s.await(ctx, path, func() bool { return status(ctx, s.baseURL+path) == http.StatusOK }); err != nil {
			return nil, nil, err
		}
		a, err := get(ctx, s.baseURL+path)
		if err != nil {
			return nil, nil, err
		}
		bodies[path] = a.body
	}
	bare, err := startBare(ctx, bareBodies, bodies)
	return bare, bodies, err
}

// historyRows are GPU history, fresh and asked again.
func historyRows(ctx context.Context, w *world, t *table) error {
	s, err := w.site(ctx)
	if err != nil {
		return err
	}
	sqlProgram, err := startBare(ctx, bareHistory, s.dbURL)
	if err != nil {
		return err
	}
	defer sqlProgram.close()
	var paths []string
	for _, limit := range []int{300, 5000} {
		if err := w.freshHistory(ctx, t, s, sqlProgram, limit); err != nil {
			return err
		}
		paths = append(paths, fmt.Sprintf("/api/system/gpu/history?limit=%d", limit))
	}
	bareServer, bodies, err := s.startBareBodies(ctx, paths)
	if err != nil {
		return err
	}
	defer bareServer.close()
	for _, limit := range []int{300, 5000} {
		path := fmt.Sprintf("/api/system/gpu/history?limit=%d", limit)
		e := endpoint{name: fmt.Sprintf("gpu/history, %d rows, asked again (%d kB)", limit, len(bodies[path])/1000), path: path, percent: 25}
		if err := w.compare(ctx, t, e, s, bareServer); err != nil {
			return err
		}
		if err := w.notModified(ctx, t, s, path); err != nil {
			return err
		}
	}
	return nil
}

// notModified asks again with the ETag: for information.
func (w *world) notModified(ctx context.Context, t *table, s *site, path string) error {
	a, err := get(ctx, s.baseURL+path)
	if err != nil || a.etag == "" {
		return err
	}
	perSecond, err := w.wrk(ctx, s.baseURL+path, "If-None-Match: "+a.etag)
	if err != nil {
		return err
	}
	t.add(row{what: strings.TrimPrefix(path, "/api/system/") + " with If-None-Match (304)", measured: rate(perSecond), noTarget: true})
	return nil
}

// freshHistory compares the time of requests that were never asked before, one after the other, in
// turn with the bare program.
func (w *world) freshHistory(ctx context.Context, t *table, s *site, theirs *bareServer, limit int) error {
	const requests = 150
	var ours, bare []time.Duration
	since := time.Now().UTC().Add(-28 * 24 * time.Hour).Truncate(time.Second)
	for i := range requests {
		at := since.Add(time.Duration(i) * time.Microsecond).Format("2006-01-02T15:04:05.000000Z")
		for _, side := range []struct {
			url   string
			times *[]time.Duration
		}{
			{fmt.Sprintf("%s/api/system/gpu/history?limit=%d&since=%s", s.baseURL, limit, at), &ours},
			{fmt.Sprintf("%s/?limit=%d&since=%s", theirs.baseURL, limit, at), &bare},
		} {
			began := time.Now()
			if _, err := get(ctx, side.url); err != nil {
				return err
			}
			*side.times = append(*side.times, time.Since(began))
		}
	}
	ratio := float64(median(ours)) / float64(median(bare))
	t.add(row{
		what:     fmt.Sprintf("gpu/history, %d rows, fresh", limit),
		measured: fmt.Sprintf("%s, %.2f×", short(median(ours)), ratio),
		compared: "bare SQL and encoding " + short(median(bare)),
		target:   "≤ 1.3×", ok: ratio <= 1.3,
	})
	return nil
}
