package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hsi.home.arpa/pipeline/aicall"
)

// maxHealthBody is how much of an AI service's answer is read, in bytes.
const maxHealthBody = 64 << 10

// caller is our own client of an AI service. Its calls explain a health check that gets no answer,
// because both services work on one request at a time; and when they fail, a health check that gets
// its answer does not make the service healthy.
type caller interface {
	// BusySince returns when the call that is under way began; false when there is none, or when
	// calls fail.
	BusySince() (time.Time, bool)
	// Trouble says in words fit for everybody that calls fail and when the service is tried again;
	// empty when they succeed.
	Trouble() string
}

// AIService is one AI service to watch.
type AIService struct {
	// URL is the base address of the service; /health is added to it. Empty means that the built-in
	// part is used: always healthy.
	URL string
	// APIKey is sent as with calls; see aicall.Authorize. Empty sends none.
	APIKey string
	// ReadTimeout is how long one of our own calls may take; until then silence counts as busy.
	ReadTimeout time.Duration
	// Calls tells of our own calls. Nil means that there are never any.
	Calls caller
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

// silent: the service is busy while a call of our own is under way and within its time. Otherwise
// silence counts at once, because an AI service has longer than a second to answer.
func (s AIService) silent(now time.Time) finding {
	if s.Calls != nil {
		if since, busy := s.Calls.BusySince(); busy && now.Sub(since) < s.ReadTimeout && s.Calls.Trouble() == "" {
			return finding{state: Healthy, text: "busy"}
		}
	}
	found := s.withTrouble(failed(context.DeadlineExceeded))
	found.atOnce = true
	return found
}

// withTrouble adds to a finding that our own calls fail. A service that answers its health check
// and fails at its work is down.
func (s AIService) withTrouble(found finding) finding {
	if s.Calls == nil {
		return found
	}
	trouble := s.Calls.Trouble()
	switch {
	case trouble == "":
	case found.state == Healthy:
		return finding{state: Unhealthy, text: trouble, atOnce: true, err: errors.New(trouble)}
	default:
		found.text += "; " + trouble
	}
	return found
}

// probe asks GET /health. The status decides; the body only tells a service that is loading from
// one that is broken.
func (s AIService) probe(client *http.Client) func(ctx context.Context) finding {
	address := strings.TrimRight(s.URL, "/") + "/health"
	return func(ctx context.Context) finding {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return failed(err)
		}
		aicall.Authorize(request, s.APIKey)
		response, err := client.Do(request)
		if err != nil {
			return s.withTrouble(failed(err))
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(io.LimitReader(response.Body, maxHealthBody))
		if err != nil {
			return s.withTrouble(failed(err))
		}
		return s.withTrouble(judge(response.StatusCode, body))
	}
}

// judge reads an answer. RT-DETR answers 200 also without a model; llama.cpp answers 503 while it
// loads one.
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

// newAIClient makes the HTTP client of the probes. It follows no redirect and uses no proxy: the
// services are on this network.
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
