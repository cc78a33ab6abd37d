package socket

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// previewRunes is how much of a message that cannot be read is shown to who sent it.
const previewRunes = 100

// maxChannels is how many channels a client may name at once.
const maxChannels = 10

// supported are the types of messages that a client may send.
var supported = []string{"ping", "pong", "subscribe", "unsubscribe"}

// errorMessage answers a message that cannot be understood. The connection stays.
type errorMessage struct {
	Type    string `json:"type"`
	Error   string `json:"error"`
	Message string `json:"message"`
	Details any    `json:"details"`
}

// fault is one thing that is wrong with a message.
type fault struct {
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
	Type string `json:"type"`
}

func refuse(kind, message string, details any) []byte {
	encoded, err := json.Marshal(errorMessage{Type: "error", Error: kind, Message: message, Details: details})
	if err != nil { // all of it are texts
		return nil
	}
	return encoded
}

func refuseFaults(kind, message string, faults ...fault) []byte {
	return refuse(kind, message, map[string]any{"validation_errors": faults})
}

// answer returns what a message of a client is answered with; nil when with nothing.
func answer(message []byte) []byte {
	message = bytes.TrimSpace(message)
	if string(message) == "ping" {
		return pong
	}
	if !json.Valid(message) {
		preview := []rune(strings.ToValidUTF8(string(message), "\uFFFD"))
		return refuse("invalid_json", "Message must be valid JSON", map[string]any{
			"raw_data_preview": string(preview[:min(len(preview), previewRunes)]),
		})
	}
	var fields map[string]any
	if json.Unmarshal(message, &fields) != nil || fields == nil {
		return refuseFaults("invalid_message_format", "Message must be an object", fault{[]any{}, "must be an object", "dict_type"})
	}
	given, exists := fields["type"]
	kind, isText := given.(string)
	switch {
	case !exists:
		return refuseFaults("invalid_message_format", "Message must have a type", fault{[]any{"type"}, "is missing", "missing"})
	case !isText:
		return refuseFaults("invalid_message_format", "The type must be a text", fault{[]any{"type"}, "must be a text", "string_type"})
	case kind == "ping":
		return pong
	case kind == "pong":
		return nil
	case kind == "subscribe" || kind == "unsubscribe": // accepted; everybody gets everything
		if faults := checkChannels(fields); faults != nil {
			return refuseFaults("validation_error", "The channels are not understood", faults...)
		}
		return nil
	}
	shown := []rune(kind)
	return refuse("unknown_message_type", "Unknown message type: "+string(shown[:min(len(shown), previewRunes)]), map[string]any{
		"supported_types": slices.Clone(supported),
	})
}

func checkChannels(fields map[string]any) []fault {
	given, exists := fields["channels"]
	channels, isList := given.([]any)
	switch {
	case !exists:
		return []fault{{[]any{"channels"}, "is missing", "missing"}}
	case !isList:
		return []fault{{[]any{"channels"}, "must be a list", "list_type"}}
	case len(channels) == 0:
		return []fault{{[]any{"channels"}, "must have at least 1 item", "too_short"}}
	case len(channels) > maxChannels:
		return []fault{{[]any{"channels"}, fmt.Sprintf("must have at most %d items", maxChannels), "too_long"}}
	}
	var faults []fault
	for i, channel := range channels {
		if _, isText := channel.(string); !isText {
			faults = append(faults, fault{[]any{"channels", i}, "must be a text", "string_type"})
		}
	}
	return faults
}
