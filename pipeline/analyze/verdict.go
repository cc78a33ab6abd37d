package analyze

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"hsi.home.arpa/store"
)

// parseCompletion reads llama.cpp's reply and the verdict in the text that the model wrote.
func parseCompletion(body []byte) (Verdict, error) {
	var reply struct {
		Content *string `json:"content"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return Verdict{}, fmt.Errorf("read reply: %w", err)
	}
	if reply.Content == nil {
		return Verdict{}, errors.New("the reply has no content")
	}
	return parseVerdict(*reply.Content)
}

// parseVerdict finds the verdict in what a model wrote. Models talk around it, think aloud before
// it and put it into code fences; all that is passed over. What is not passed over is a verdict
// that is incomplete, out of range or contradicted by another one: a score is what the model said
// or nothing.
func parseVerdict(text string) (Verdict, error) {
	text = withoutThoughts(text)
	var (
		found Verdict
		ok    bool
		first error // why the first object that names a score is no verdict
	)
	for _, object := range objects(text) {
		verdict, isVerdict, err := readVerdict(object, 1)
		switch {
		case !isVerdict:
		case err != nil:
			if first == nil {
				first = err
			}
		case ok && verdict.RiskScore != found.RiskScore:
			return Verdict{}, fmt.Errorf("two verdicts: %d and %d", found.RiskScore, verdict.RiskScore)
		case !ok:
			found, ok = verdict, true
		}
	}
	switch {
	case ok:
		return found, nil
	case first != nil:
		return Verdict{}, first
	}
	return Verdict{}, errors.New("no verdict in the text")
}

// withoutThoughts cuts off what a model wrote while thinking: everything up to the end of the last
// think block, and one that never ended.
func withoutThoughts(text string) string {
	const begin, end = "<think>", "</think>"
	if i := strings.LastIndex(text, end); i >= 0 {
		text = text[i+len(end):]
	}
	text, _, _ = strings.Cut(text, begin)
	return text
}

// objects returns the JSON objects that stand in a text, none of them inside of another.
func objects(text string) []json.RawMessage {
	const most = 50 // tries; text with more braces than that is no answer
	var found []json.RawMessage
	for range most {
		start := strings.IndexByte(text, '{')
		if start < 0 {
			break
		}
		text = text[start:]
		var object json.RawMessage
		decoder := json.NewDecoder(strings.NewReader(text))
		if err := decoder.Decode(&object); err != nil {
			text = text[1:]
			continue
		}
		found = append(found, object)
		text = text[decoder.InputOffset():]
	}
	return found
}

// readVerdict reads one object, or an object inside of it down to depth. isVerdict tells whether it
// means to be a verdict at all; if so, err says why it is none.
func readVerdict(object json.RawMessage, depth int) (verdict Verdict, isVerdict bool, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return Verdict{}, false, nil //nolint:nilerr // some other object
	}
	score, named := fields["risk_score"]
	if !named {
		for _, key := range slices.Sorted(maps.Keys(fields)) { // {"assessment": {…}}
			if inner := fields[key]; depth > 0 && inner[0] == '{' {
				if verdict, isVerdict, err = readVerdict(inner, depth-1); isVerdict {
					return verdict, isVerdict, err
				}
			}
		}
		return Verdict{}, false, nil
	}
	if verdict.RiskScore, err = readScore(score); err != nil {
		return Verdict{}, true, err
	}
	if verdict.Summary = readText(fields["summary"]); verdict.Summary == "" {
		return Verdict{}, true, errors.New("no summary")
	}
	if verdict.Reasoning = readText(fields["reasoning"]); verdict.Reasoning == "" {
		verdict.Reasoning = "The model gave no reasoning."
	}
	return verdict, true, nil
}

// readScore reads a score: a whole number from 0 to 100, also when it is written as 72.0 or "72".
func readScore(raw json.RawMessage) (int, error) {
	text := string(raw)
	var quoted string
	if err := json.Unmarshal(raw, &quoted); err == nil {
		text = strings.TrimSpace(quoted)
	}
	number, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("risk score %.20q is no number", text)
	case number != math.Trunc(number):
		return 0, fmt.Errorf("risk score %v is no whole number", number)
	case number < store.MinRiskScore || number > store.MaxRiskScore:
		return 0, fmt.Errorf("risk score %v is out of range", number)
	}
	return int(number), nil
}

// readText reads a text; empty when there is none.
func readText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return strings.TrimSpace(text)
}
