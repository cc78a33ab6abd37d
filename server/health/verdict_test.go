package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline"
)

func TestOverall(t *testing.T) {
	t.Parallel()
	states := []State{Healthy, Degraded, Unhealthy}
	for _, database := range states {
		for _, redis := range states {
			for _, ai := range states {
				for _, storage := range states {
					want := Healthy
					if redis != Healthy || ai != Healthy || storage != Healthy {
						want = Degraded
					}
					if database != Healthy {
						want = Unhealthy
					}
					services := Services{Database: Service{State: database}, Redis: Service{State: redis}, AI: Service{State: ai}, Storage: Service{State: storage}}
					require.Equal(t, want, overall(services), "%+v", services)
				}
			}
		}
	}
}

func TestReadinessVerdict(t *testing.T) {
	t.Parallel()
	workers := func(detection, analysis bool) []pipeline.WorkerStatus {
		return []pipeline.WorkerStatus{
			{Name: pipeline.GPUMonitor}, {Name: pipeline.DetectionWorker, Running: detection}, {Name: pipeline.AnalysisWorker, Running: analysis},
		}
	}
	both := workers(true, true)
	for name, test := range map[string]struct {
		database, redis State
		workers         []pipeline.WorkerStatus
		ready           bool
		state           ReadyState
	}{
		"all fine":                        {Healthy, Healthy, both, true, Ready},
		"detection stands":                {Healthy, Healthy, workers(false, true), false, NotReady},
		"analysis stands":                 {Healthy, Healthy, workers(true, false), false, NotReady},
		"no workers known":                {Healthy, Healthy, nil, false, NotReady},
		"redis down":                      {Healthy, Unhealthy, both, false, ReadyDegraded},
		"redis down, workers stand":       {Healthy, Unhealthy, nil, false, ReadyDegraded},
		"database down":                   {Unhealthy, Healthy, both, false, NotReady},
		"database and redis down":         {Unhealthy, Unhealthy, both, false, NotReady},
		"everything down":                 {Unhealthy, Unhealthy, nil, false, NotReady},
		"other workers change nothing":    {Healthy, Healthy, both, true, Ready},
		"database degraded counts as bad": {Degraded, Healthy, both, false, NotReady},
	} {
		ready, state := readiness(test.database, test.redis, test.workers)
		require.Equal(t, test.ready, ready, name)
		require.Equal(t, test.state, state, name)
	}
}

func TestAIService(t *testing.T) {
	t.Parallel()
	early, late := time.Unix(100, 0), time.Unix(200, 0)
	ok := finding{state: Healthy, text: "healthy"}
	embedded := finding{state: Healthy, text: "embedded"}
	busy := finding{state: Healthy, text: "busy"}
	refused := finding{state: Unhealthy, text: "connection refused"}
	loading := finding{state: Degraded, text: "loading model"}
	for name, test := range map[string]struct {
		detector, analyzer finding
		state              State
		message            string
	}{
		"both healthy":        {ok, ok, Healthy, "AI services operational"},
		"both embedded":       {embedded, embedded, Healthy, "AI services operational"},
		"one busy":            {busy, ok, Healthy, "AI services operational"},
		"detector down":       {refused, ok, Degraded, "RT-DETR service unavailable, Nemotron operational"},
		"analyzer down":       {embedded, refused, Degraded, "Nemotron service unavailable, RT-DETR operational"},
		"analyzer loading":    {ok, loading, Degraded, "Nemotron service degraded (loading model), RT-DETR operational"},
		"loading and refused": {refused, loading, Degraded, "RT-DETR service unavailable, Nemotron service degraded (loading model)"},
		"both down":           {refused, refused, Unhealthy, "All AI services unavailable"},
	} {
		service := aiService(aiPart{"rtdetr", "RT-DETR", test.detector, late}, aiPart{"nemotron", "Nemotron", test.analyzer, early})
		require.Equal(t, test.state, service.State, name)
		require.Equal(t, test.message, service.Message, name)
		require.Equal(t, map[string]string{"rtdetr": test.detector.text, "nemotron": test.analyzer.text}, service.Details, name)
		require.Equal(t, early, service.At, name)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		body   string
		state  State
		text   string
	}{
		"rtdetr loaded":          {200, `{"status":"healthy","model_loaded":true}`, Healthy, "healthy"},
		"rtdetr not loaded":      {200, `{"status":"degraded","model_loaded":false}`, Degraded, "model not loaded"},
		"llama ok":               {200, `{"status":"ok"}`, Healthy, "healthy"},
		"not JSON":               {200, `<html>`, Healthy, "healthy"},
		"llama loading":          {503, `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}`, Degraded, "loading model"},
		"llama loading, old":     {503, `{"status":"loading model"}`, Degraded, "loading model"},
		"another 503":            {503, `{"detail":"no"}`, Unhealthy, "returned HTTP 503"},
		"503 without JSON":       {503, `loading`, Unhealthy, "returned HTTP 503"},
		"500":                    {500, ``, Unhealthy, "returned HTTP 500"},
		"404":                    {404, ``, Unhealthy, "returned HTTP 404"},
		"the last of its kind":   {299, ``, Healthy, "healthy"},
		"a choice is no answer":  {300, ``, Unhealthy, "returned HTTP 300"},
		"informational":          {199, ``, Unhealthy, "returned HTTP 199"},
		"a redirect leads away":  {302, ``, Unhealthy, "returned HTTP 302"},
		"status of another type": {200, `{"status":1,"model_loaded":"yes"}`, Healthy, "healthy"},
	} {
		found := judge(test.status, []byte(test.body))
		require.Equal(t, test.state, found.state, name)
		require.Equal(t, test.text, found.text, name)
	}
}
