package health

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxHealthBody is how much of an AI service's answer is read, in bytes.
const maxHealthBody = 64 << 10

// busyReporter is the client of an AI service. Its own calls explain a health check that gets no answer: both services work on one
// request at a time.
type busyReporter interface {
	// BusySince returns when the call that is under way began; false when there is none.
	BusySince() (time.Time, bool)
}

// AIService is one AI service to watch.
type AIService struct {
	// URL is the base address of the service; /health is added to it. Empty means that the built-in part is used: always healthy.
	URL string
	// APIKey is sent as X-API-Key. Empty sends none.
	APIKey string
	// ReadTimeout is how long one of our own calls may take; until then silence counts as busy.
	ReadTimeout time.Duration
	// Busy tells of our own calls. Nil means that there are never any.
	Busy busyReporter
}

func (s AIService) validate(name string) error {
	if s.URL == "" {
		return nil
	}
	parsed, err := url.Parse(s.URL)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return fmt.Errorf("the address of %s must be an http or https URL", name)
	}
	return nil
}

// silent: the service is busy while a call of our own is under way and within its time. Otherwise silence counts at once, because
// an AI service has longer than a second to answer.
func (s AIService) silent(now time.Time) finding {
	if s.Busy != nil {
		if since, busy := s.Busy.BusySince(); busy && now.Sub(since) < s.ReadTimeout {
			return finding{state: Healthy, text: "busy"}
		}
	}
	found := failed(context.DeadlineExceeded)
	found.atOnce = true
	return found
}

// probe asks GET /health. The status decides; the body only tells a service that is loading from one that is broken.
func (s AIService) probe(client *http.Client) func(ctx context.Context) finding {
	address := strings.TrimRight(s.URL, "/") + "/health"
	return func(ctx context.Context) finding {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return failed(err)
		}
		if s.APIKey != "" {
			request.Header.Set("X-API-Key", s.APIKey)
		}
		response, err := client.Do(request)
		if err != nil {
			return failed(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(io.LimitReader(response.Body, maxHealthBody))
		if err != nil {
			return failed(err)
		}
		return judge(response.StatusCode, body)
	}
}

// judge reads an answer. RT-DETR answers 200 also without a model; llama.cpp answers 503 while it loads one.
func judge(status int, body []byte) finding {
	var answer struct {
		ModelLoaded *bool `json:"model_loaded"`
		Status      any   `json:"status"`
		Error       any   `json:"error"`
	}
	parsed := json.Unmarshal(body, &answer) == nil
	switch {
	case status >= 200 && status < 300:
		if parsed && answer.ModelLoaded != nil && !*answer.ModelLoaded {
			return finding{state: Degraded, text: "model not loaded"}
		}
		return finding{state: Healthy, text: "healthy"}
	case status == http.StatusServiceUnavailable && parsed && strings.Contains(strings.ToLower(fmt.Sprint(answer.Status, answer.Error)), "loading"):
		return finding{state: Degraded, text: "loading model"}
	default:
		return finding{state: Unhealthy, text: fmt.Sprintf("returned HTTP %d", status)}
	}
}

// newAIClient makes the HTTP client of the probes. It follows no redirect and uses no proxy: the services are on this network.
func newAIClient(connectTimeout time.Duration) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
