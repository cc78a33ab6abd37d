//go:build e2e

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/store/storetest"
)

// counting is a server that counts its requests.
func counting(tb testing.TB, answer http.HandlerFunc) (*httptest.Server, *atomic.Int64) {
	tb.Helper()
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		answer(w, r)
	}))
	tb.Cleanup(server.Close)
	return server, &count
}

// API7. An AI service that answers with a redirect to another machine is not followed, whatever the
// method, and gets none of the other's answer; a proxy from the environment is not used either.
func TestSecurity_AIServicesCannotSendUsElsewhere(t *testing.T) {
	t.Parallel()
	inside, reached := counting(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"status":"healthy","model_loaded":true,"detections":[],"content":"{}"}`)
	})
	var code atomic.Int64
	code.Store(http.StatusFound)
	leading, asked := counting(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside.URL+"/latest/meta-data", int(code.Load()))
	})
	cameras := t.TempDir()
	env := append(slices.Clone(quick), hasteEnv(20), "DATABASE_URL="+storetest.NewEmptyURL(t), "REDIS_URL="+embeddedtest.NewRedis(t).URL(), "FOSCAM_BASE_PATH="+cameras,
		"AI_HEALTH_TIMEOUT=1", "AI_CONNECT_TIMEOUT=1")
	p := serve(t, append(env, "RTDETR_URL="+leading.URL, "NEMOTRON_URL="+leading.URL)...)
	p.eventually("ready", p.isReady)
	require.NoError(t, os.Mkdir(filepath.Join(cameras, "gate"), 0o755))
	for i, status := range []int64{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect, http.StatusSeeOther, http.StatusMovedPermanently} {
		code.Store(status)
		before := asked.Load()
		require.NoError(t, os.WriteFile(filepath.Join(cameras, "gate", fmt.Sprintf("%d.jpg", i)), aitest.Picture(uint64(i)), 0o644))
		p.eventually("asked again", func() bool { return asked.Load() >= before+3 })
	}
	p.eventually("both are missed", func() bool { return p.look().services["ai"].Status == "unhealthy" })
	require.Zero(t, reached.Load(), "the machine that the redirect names was asked")
	p.stop()

	// The images wait still. A name that does not exist would be asked for through a proxy, if
	// there were one.
	p = serve(t, append(env, "RTDETR_URL=http://rtdetr.invalid:8090", "NEMOTRON_URL=http://nemotron.invalid:8091", "HTTP_PROXY="+inside.URL, "http_proxy="+inside.URL)...)
	asks := regexp.MustCompile(`"msg":"worker waits".*"queue":"detect".*rtdetr\.invalid`)
	p.eventually("the detector was looked for", func() bool { return asks.MatchString(p.output.String()) })
	p.eventually("both are missed", func() bool { return p.look().services["ai"].Status == "unhealthy" })
	require.Zero(t, reached.Load(), "the proxy of the environment was asked")
	p.stop()
}

// API10. What the AI services answer is not believed: too much, too little, another language,
// markup and numbers that cannot be are refused; nothing of it becomes an event, and hostile text
// in a good answer stays text.
func TestOWASP_API10_UnsafeConsumptionOfAPIs(t *testing.T) {
	t.Parallel()
	const box = `"bbox":{"x":10,"y":10,"width":50,"height":90}`
	var answer atomic.Pointer[string]
	set := func(text string) { answer.Store(&text) }
	set("")
	var flooded atomic.Int64 // the most bytes that the server took of one answer without end
	detector, detected := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			_, _ = fmt.Fprint(w, `{"status":"healthy","model_loaded":true}`)
			return
		}
		if *answer.Load() == "flood" {
			taken := int64(0)
			for taken < 100<<20 {
				n, err := w.Write([]byte(strings.Repeat("[", 64<<10)))
				taken += int64(n)
				if err != nil {
					break // the server has hung up
				}
			}
			flooded.Store(max(flooded.Load(), taken))
			return
		}
		_, _ = fmt.Fprint(w, *answer.Load())
	})
	cameras, url := t.TempDir(), storetest.NewEmptyURL(t)
	p := serve(t, append(quick, hasteEnv(20), "DATABASE_URL="+url, "REDIS_URL="+embeddedtest.NewRedis(t).URL(), "FOSCAM_BASE_PATH="+cameras, "RTDETR_URL="+detector.URL)...)
	p.eventually("ready", p.isReady)
	folder := filepath.Join(cameras, "gate")
	require.NoError(t, os.Mkdir(folder, 0o755))
	for i, hostile := range []string{
		"", "null", "<html><script>alert(1)</script></html>", `{"detections":[`, `{"detections":[]} {"detections":[]}`,
		`{"detections":[{"class":"person","confidence":NaN,` + box + `}]}`, `{"detections":[{"class":"person","confidence":17,` + box + `}]}`,
		`{"detections":[{"class":"person","confidence":0.9,"bbox":{"x":1e308,"y":0,"width":1,"height":1}}]}`,
		`{"detections":[{"class":"` + strings.Repeat("x", 5000) + `","confidence":0.9,` + box + `}]}`,
		`{"detections":[{"class":"a\u0000b","confidence":0.9,` + box + `}]}`, strings.Repeat("[", 500_000), "flood",
	} {
		set(hostile)
		before := detected.Load()
		require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%03d.jpg", i)), aitest.Picture(uint64(i)), 0o644))
		p.eventually("the detector was asked", func() bool { return detected.Load() > before })
	}
	require.Zero(t, queryInt(t, url, "SELECT count(*) FROM detections"))
	require.Zero(t, queryInt(t, url, "SELECT count(*) FROM events"))
	status, body := p.get("/health")
	require.Equal(t, http.StatusOK, status, "%s", body)
	p.eventually("the answer without end is cut off", func() bool { return flooded.Load() > 0 })
	t.Logf("%d kB taken of an answer without end; memory after the hostile answers: %s", flooded.Load()>>10, memoryOf(t, p.PID()))
	require.Less(t, flooded.Load(), int64(32<<20), "one MiB is read, the rest lies in buffers of the system")

	const markup = `<img src=x onerror=alert(1)>'; DROP TABLE events; --`
	set(`{"detections":[{"class":"` + markup + `","confidence":0.9,` + box + `}]}`)
	p.eventually("the images are tried again and become events", func() bool { return queryInt(t, url, "SELECT count(*) FROM events") > 0 })
	require.Positive(t, queryInt(t, url, "SELECT count(*) FROM detections WHERE object_type LIKE '<img src=x onerror=alert(1)>%'"))
	p.stop()
}

// memoryOf is the resident memory of a process, in the words of the kernel.
func memoryOf(tb testing.TB, pid int) string {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(tb, err)
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			return strings.TrimSpace(rest)
		}
	}
	return "unknown"
}
