package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
)

// maxRequestIDLength bounds a request id that a client sends, in characters.
const maxRequestIDLength = 64

// requestID keeps a sane id of the client, so that both sides can find the request in their logs,
// or makes one.
func requestID(sent []string) string {
	if len(sent) == 1 && saneRequestID(sent[0]) {
		return sent[0]
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(random[:])
}

func saneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestIDLength {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case b >= 'A' && b <= 'Z', b >= 'a' && b <= 'z', b >= '0' && b <= '9', b == '.', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}

// requester is who sends a request.
type requester struct {
	// actor is "api_key:" and the start of the key's hash, or anonymous.
	actor                    string
	ip, userAgent, requestID string
	// ifNoneMatch is the header of this name.
	ifNoneMatch string
	// key is the hash of the key that came with the request, nil without one.
	key *keyHash
	// session is what let the request in, nil when it was a key or nothing was needed.
	session *session
	// request is the request as it was sent.
	request *http.Request
}

// requesterKey is the key of the requester in a request's context.
type requesterKey struct{}

func withRequester(ctx context.Context, from requester) context.Context {
	return context.WithValue(ctx, requesterKey{}, from)
}

// requesterOf returns who sends the request that ctx belongs to.
func requesterOf(ctx context.Context) requester {
	from, ok := ctx.Value(requesterKey{}).(requester)
	if !ok {
		from.actor = anonymous
	}
	return from
}
