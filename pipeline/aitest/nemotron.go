package aitest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// CompletionCall is what llama.cpp remembers of one POST /completion.
type CompletionCall struct {
	Call

	Prompt string
	// HasSchema and HasGrammar tell whether the request bound the answer to a JSON schema or a
	// grammar.
	HasSchema, HasGrammar bool
	// MaxTokens is the limit that the request set (n_predict or max_tokens); -1 for none.
	MaxTokens int
	// Stream tells whether the answer was wanted in pieces, which this server refuses.
	Stream bool
	// Verdict is the honest answer, whatever was answered.
	Verdict Verdict
}

// Verdict is what the model is asked for.
type Verdict struct {
	RiskScore int    `json:"risk_score"`
	RiskLevel string `json:"risk_level"`
	Summary   string `json:"summary"`
	Reasoning string `json:"reasoning"`
}

func (v Verdict) json() string { return string(jsonReply(0, v).Body) }

// Judge is the verdict that the scripted model gives on a prompt: a score that follows from the
// prompt's bytes, the level of that score by the usual thresholds (29, 59, 84), and texts that no
// other prompt gets.
func Judge(prompt string) Verdict {
	sum := sha256.Sum256([]byte(prompt))
	score := int(binary.BigEndian.Uint64(sum[:8]) % 101)
	mark := hex.EncodeToString(sum[8:14])
	return Verdict{
		RiskScore: score, RiskLevel: level(score),
		Summary:   "Scripted summary " + mark,
		Reasoning: fmt.Sprintf("Scripted reasoning %s: the score is %d.", mark, score),
	}
}

func level(score int) string {
	switch {
	case score <= 29:
		return "low"
	case score <= 59:
		return "medium"
	case score <= 84:
		return "high"
	default:
		return "critical"
	}
}

// Nemotron is a scripted llama.cpp server.
type Nemotron struct {
	*service[CompletionCall]

	key atomic.Pointer[requiredKey] // nil while none is asked for
}

// requiredKey is what llama.cpp is started with, and whether it is a version that only knows bearer
// tokens.
type requiredKey struct {
	key          string
	isBearerOnly bool
}

// RequireKey asks for a key from now on, as llama.cpp does with --api-key: not for the health.
// Versions until 2025 look for a bearer token only, later ones for X-Api-Key where there is no
// Authorization at all.
func (n *Nemotron) RequireKey(key string, isBearerOnly bool) {
	n.key.Store(&requiredKey{key, isBearerOnly})
}

// keyOf finds the key of a request as llama.cpp does.
func (n *Nemotron) keyOf(r *http.Request) string {
	authorization := r.Header.Get("Authorization")
	if required := n.key.Load(); authorization == "" && (required == nil || !required.isBearerOnly) {
		return r.Header.Get("X-Api-Key")
	}
	token, isBearer := strings.CutPrefix(authorization, "Bearer ")
	if !isBearer {
		return ""
	}
	return token
}

// NewNemotron starts a server that is honest until it is told otherwise. It ends with the test.
func NewNemotron(tb testing.TB) *Nemotron {
	tb.Helper()
	n := &Nemotron{service: newService[CompletionCall](tb)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", n.serveHealth)
	mux.HandleFunc("POST /completion", n.serveCompletion)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		llamaError(http.StatusNotFound, "File Not Found").Send(w)
	})
	n.handler = mux
	n.Start()
	return n
}

// llamaError is an error answer of llama.cpp.
func llamaError(status int, message string) Reply {
	kinds := map[int]string{
		http.StatusBadRequest: "invalid_request_error", http.StatusUnauthorized: "authentication_error",
		http.StatusNotFound: "not_found_error", http.StatusServiceUnavailable: "unavailable_error",
	}
	kind, known := kinds[status]
	if !known {
		kind = "server_error"
	}
	return jsonReply(status, map[string]any{"error": map[string]any{"code": status, "message": message, "type": kind}})
}

func llamaLoading() Reply { return llamaError(http.StatusServiceUnavailable, "Loading model") }

func (n *Nemotron) serveHealth(w http.ResponseWriter, r *http.Request) {
	honest := jsonReply(http.StatusOK, map[string]string{"status": "ok"})
	answer(w, &Exchange{Request: r, Honest: honest, Loading: llamaLoading(), Fail: llamaError}, n.beginHealth(), func(int) {})
}

func (n *Nemotron) serveCompletion(w http.ResponseWriter, r *http.Request) {
	call := CompletionCall{Call: Call{StartedAt: time.Now(), APIKey: n.keyOf(r)}}
	honest := complete(&call, r)
	if required := n.key.Load(); required != nil && call.APIKey != required.key {
		honest = llamaError(http.StatusUnauthorized, "Invalid API Key")
	}
	number, behaviour := n.begin(call)
	n.update(number, func(c *CompletionCall) { c.Behaviour = behaviour.Name })
	x := &Exchange{Request: r, Subject: call.Prompt, Honest: honest, Loading: llamaLoading(), Fail: llamaError}
	answer(w, x, behaviour, func(status int) {
		n.update(number, func(c *CompletionCall) { c.Status, c.EndedAt = status, time.Now() })
	})
}

// complete checks a request as llama.cpp does and makes the honest answer.
func complete(call *CompletionCall, r *http.Request) Reply {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return llamaError(http.StatusBadRequest, "cannot read the request")
	}
	var request struct {
		Prompt     *string         `json:"prompt"`
		NPredict   *int            `json:"n_predict"`
		MaxTokens  *int            `json:"max_tokens"`
		JSONSchema json.RawMessage `json:"json_schema"`
		Grammar    string          `json:"grammar"`
		Stream     bool            `json:"stream"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return llamaError(http.StatusBadRequest, "cannot parse the request: "+err.Error())
	}
	call.MaxTokens = -1
	for _, limit := range []*int{request.MaxTokens, request.NPredict} { // the second wins
		if limit != nil {
			call.MaxTokens = *limit
		}
	}
	call.HasGrammar, call.Stream = request.Grammar != "", request.Stream
	switch schema := strings.TrimSpace(string(request.JSONSchema)); {
	case request.Prompt == nil:
		return llamaError(http.StatusBadRequest, `"prompt" must be provided`)
	case request.Stream:
		return llamaError(http.StatusBadRequest, "this server does not stream")
	case schema != "" && schema != "null" && !strings.HasPrefix(schema, "{"):
		return llamaError(http.StatusBadRequest, `"json_schema" must be an object`)
	default:
		call.HasSchema = strings.HasPrefix(schema, "{")
	}
	call.Prompt, call.Verdict = *request.Prompt, Judge(*request.Prompt)
	return completion(call.Verdict.json(), "eos")
}

// completion is llama.cpp's answer with a text. stopped is "eos", or "limit" when the number of
// tokens ran out.
func completion(content, stopped string) Reply {
	return jsonReply(http.StatusOK, map[string]any{
		"index": 0, "content": content, "tokens": []int{}, "id_slot": 0, "stop": true, "model": "scripted",
		"tokens_predicted": len(content) / 4, "tokens_evaluated": 256, "has_new_line": strings.Contains(content, "\n"),
		"truncated": false, "stop_type": stopped, "stopping_word": "", "tokens_cached": 256,
		"timings": map[string]any{"prompt_n": 256, "prompt_ms": 10.0, "predicted_n": len(content) / 4, "predicted_ms": 100.0},
	})
}

// Content answers with a text that a test makes of the honest verdict.
func Content(name string, text func(honest Verdict) string) Behaviour {
	return Behaviour{Name: name, Answer: func(w http.ResponseWriter, x *Exchange) {
		completion(text(Judge(x.Subject)), "eos").Send(w)
	}}
}

// TalksAround puts the honest verdict between sentences, with braces in them.
func TalksAround() Behaviour {
	return Content("talks around", func(v Verdict) string {
		return "Let me think {step by step}. Here is my assessment:\n\n" + v.json() + "\n\nI hope that {helps}! Anything else?"
	})
}

// CodeFence puts the honest verdict into a Markdown code block.
func CodeFence() Behaviour {
	return Content("code fence", func(v Verdict) string { return "```json\n" + v.json() + "\n```" })
}

// TwoObjects answers with an object that is no verdict and then the honest one.
func TwoObjects() Behaviour {
	return Content("two objects", func(v Verdict) string { return `{"thoughts": {"camera": "front"}}` + "\n" + v.json() })
}

// TwoVerdicts answers with the honest verdict and then another one that contradicts it.
func TwoVerdicts() Behaviour {
	return Content("two verdicts", func(v Verdict) string {
		other := v
		other.RiskScore = 100 - v.RiskScore
		if other.RiskScore == v.RiskScore {
			other.RiskScore = 0
		}
		other.RiskLevel, other.Summary = level(other.RiskScore), "Another verdict"
		return v.json() + "\n" + other.json()
	})
}

// Score answers with a verdict whose risk score is this JSON text, such as `150`, `-3`, `"high"`,
// `72.5` or `null`.
func Score(text string) Behaviour {
	return Content("score "+text, func(v Verdict) string {
		return fmt.Sprintf(`{"risk_score": %s, "risk_level": %q, "summary": %q, "reasoning": %q}`, text, v.RiskLevel, v.Summary, v.Reasoning)
	})
}

// WrongLevel answers with the honest score and the level of another one.
func WrongLevel() Behaviour {
	return Content("wrong level", func(v Verdict) string {
		v.RiskLevel = level((v.RiskScore + 50) % 101)
		return v.json()
	})
}

// NoVerdict answers with words only.
func NoVerdict() Behaviour {
	return Content("no verdict", func(Verdict) string { return "I'm sorry, but I cannot assess security footage." })
}

// EmptyContent answers with an empty text.
func EmptyContent() Behaviour { return Content("empty content", func(Verdict) string { return "" }) }

// RunsOut answers with the beginning of the honest verdict: the model used up its tokens before it
// came to an end.
func RunsOut() Behaviour {
	return Behaviour{Name: "runs out", Answer: func(w http.ResponseWriter, x *Exchange) {
		text := Judge(x.Subject).json()
		completion(text[:len(text)*2/3], "limit").Send(w)
	}}
}

// WithoutContent answers with a JSON object that has no content.
func WithoutContent() Behaviour {
	return Behaviour{Name: "without content", Answer: func(w http.ResponseWriter, _ *Exchange) {
		jsonReply(http.StatusOK, map[string]any{"index": 0, "stop": true}).Send(w)
	}}
}
