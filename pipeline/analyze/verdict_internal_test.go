package analyze

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const good = `{"risk_score": 42, "risk_level": "medium", "summary": "A person at the door.", "reasoning": "It is late."}`

func TestParseVerdict_FindsWhatModelsReallyAnswer(t *testing.T) {
	t.Parallel()
	want := Verdict{RiskScore: 42, Summary: "A person at the door.", Reasoning: "It is late."}
	for name, text := range map[string]string{
		"plain":               good,
		"spaces around":       "\n\n  " + good + "\n",
		"code fence":          "```json\n" + good + "\n```",
		"talk around":         "Let me think {step by step}. Here:\n" + good + "\nI hope {that} helps!",
		"thoughts before":     `<think>maybe {"risk_score": 90, "summary": "draft"} no</think>` + good,
		"end of thought only": `hm {"risk_score": 90, "summary": "draft"}</think>` + good,
		"another object":      `{"camera": {"name": "front"}} ` + good,
		"inside an object":    `{"assessment": ` + good + `}`,
		"said twice":          good + " " + good,
		"quoted score":        strings.Replace(good, "42", `"42"`, 1),
		"score with point":    strings.Replace(good, "42", "42.0", 1),
		"other level":         strings.Replace(good, "medium", "critical", 1),
		"unknown level":       strings.Replace(good, `"medium"`, `7`, 1),
		"more keys":           strings.Replace(good, "{", `{"confidence": 0.9, "tags": [], `, 1),
		"broken one before":   strings.Replace(good, "42", "420", 1) + good,
	} {
		verdict, err := parseVerdict(text)
		require.NoError(t, err, name)
		require.Equal(t, want, verdict, name)
	}
	verdict, err := parseVerdict(`{"risk_score": 0, "summary": "Nothing."}`)
	require.NoError(t, err)
	require.Equal(t, Verdict{Summary: "Nothing.", Reasoning: "The model gave no reasoning."}, verdict)
}

func TestParseVerdict_InventsNothing(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":             "",
		"words":             "I cannot assess this.",
		"cut off":           good[:len(good)-10],
		"only thoughts":     "<think>" + good,
		"no score":          `{"risk_level": "high", "summary": "x"}`,
		"null score":        strings.Replace(good, "42", "null", 1),
		"word as score":     strings.Replace(good, "42", `"high"`, 1),
		"empty score":       strings.Replace(good, "42", `""`, 1),
		"list as score":     strings.Replace(good, "42", "[42]", 1),
		"true as score":     strings.Replace(good, "42", "true", 1),
		"above the range":   strings.Replace(good, "42", "150", 1),
		"below the range":   strings.Replace(good, "42", "-3", 1),
		"share of one":      strings.Replace(good, "42", "0.42", 1),
		"not whole":         strings.Replace(good, "42", "72.5", 1),
		"endless":           strings.Replace(good, "42", `"Inf"`, 1),
		"no number":         strings.Replace(good, "42", `"NaN"`, 1),
		"out of words":      strings.Replace(good, "42", `"72/100"`, 1),
		"two that differ":   good + strings.Replace(good, "42", "58", 1),
		"no summary":        `{"risk_score": 42, "reasoning": "x"}`,
		"blank summary":     `{"risk_score": 42, "summary": "  "}`,
		"summary is a list": `{"risk_score": 42, "summary": ["x"]}`,
		"too deep":          `{"a": {"b": ` + good + `}}`,
		"braces":            strings.Repeat("{", 100_000),
		"nested":            strings.Repeat(`{"a":`, 5_000) + "1" + strings.Repeat("}", 5_000),
	} {
		_, err := parseVerdict(text)
		require.Error(t, err, name)
	}
}

func TestParseCompletion_RefusesOtherReplies(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "null", "[]", "<html>", `{"stop": true}`, `{"content": 5}`, `{"content": ""}`, `{"content": "x"`} {
		_, err := parseCompletion([]byte(body))
		require.Error(t, err, body)
	}
}

func FuzzParseCompletion(f *testing.F) {
	for _, text := range []string{good, "```json\n" + good + "```", "<think>x</think>" + good, `{"a":` + good + `}`, "{{{", good[:30]} {
		body, err := json.Marshal(map[string]any{"content": text})
		require.NoError(f, err)
		f.Add(body)
	}
	f.Add([]byte(`{"content": "{\"risk_score\": 1e309}"}`))
	f.Add([]byte("<!DOCTYPE html>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		verdict, err := parseCompletion(body)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, verdict.RiskScore, 0)
		require.LessOrEqual(t, verdict.RiskScore, 100)
		require.NotEmpty(t, verdict.Summary)
		require.NotEmpty(t, verdict.Reasoning)
		for _, text := range []string{verdict.Summary, verdict.Reasoning} {
			kept := storableText(text)
			require.True(t, utf8.ValidString(kept))
			require.NotContains(t, kept, "\x00")
		}
	})
}

func TestRetryDelay(t *testing.T) {
	t.Parallel()
	for attempts, seconds := range map[int]int{-1: 2, 0: 2, 1: 2, 2: 4, 3: 8, 7: 128, 8: 256, 9: 300, 10: 300, 1 << 40: 300} {
		require.Equal(t, time.Duration(seconds)*time.Second, retryDelay(attempts), attempts)
	}
}

func TestStorableText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a\uFFFDb", storableText("a\xff\x00b"))
	long := storableText(strings.Repeat("ä", 10_000))
	require.LessOrEqual(t, len(long), 8010)
	require.True(t, utf8.ValidString(long))
	require.True(t, strings.HasSuffix(long, "…"), fmt.Sprint(len(long)))
}
