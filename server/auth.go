package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"hsi.home.arpa/store"
)

// anonymous is the actor of a change when no key is required.
const anonymous = "anonymous"

// hashPrefix marks a configured key that is already hashed.
const hashPrefix = "sha256:"

// keyHash is the SHA-256 of a key.
type keyHash = store.SessionHash

// keys checks API keys. Only their hashes are kept.
type keys struct {
	enabled bool
	hashes  []keyHash
	compare func(a, b []byte) int // takes the same time whatever the two are
}

// newKeys takes plain keys and "sha256:<hex>" hashes. All problems are reported at once.
func newKeys(enabled bool, configured []string) (*keys, error) {
	k := &keys{enabled: enabled, compare: subtle.ConstantTimeCompare}
	var problems []error
	for i, key := range configured {
		if key == "" {
			problems = append(problems, fmt.Errorf("API_KEYS: key %d is empty", i+1))
			continue
		}
		hash := keyHash(sha256.Sum256([]byte(key)))
		if encoded, ok := strings.CutPrefix(key, hashPrefix); ok {
			decoded, err := hex.DecodeString(encoded)
			if err != nil || len(decoded) != sha256.Size {
				problems = append(problems, fmt.Errorf(
					"API_KEYS: key %d: sha256: must be followed by 64 hexadecimal digits", i+1))
				continue
			}
			hash = keyHash(decoded)
		}
		k.hashes = append(k.hashes, hash)
	}
	if enabled && len(configured) == 0 {
		problems = append(problems, errors.New("API_KEYS: API_KEY_ENABLED is true but there is no key"))
	}
	return k, errors.Join(problems...)
}

// has tells whether a key is configured. Every key is compared, so that the time tells neither
// whether nor which one matches.
func (k *keys) has(hash keyHash) bool {
	match := 0
	for i := range k.hashes {
		match |= k.compare(hash[:], k.hashes[i][:])
	}
	return match != 0
}

// check tells whether the values of the header are one right key. The hash is that of what was
// sent.
func (k *keys) check(sent []string) (hash keyHash, right bool) {
	hash = sha256.Sum256([]byte(sent[0]))
	return hash, k.has(hash) && len(sent) == 1
}

// actorOf names who holds a key, for the audit log: the start of the key's hash.
func actorOf(hash keyHash) string { return "api_key:" + hex.EncodeToString(hash[:4]) }

// access is what a request wants, as far as it matters for who may.
type access struct {
	// private: it shows what the cameras saw, or changes it.
	private bool
	// byCookie: a session does instead of the key.
	byCookie bool
	// changes: it is no read.
	changes bool
}

// isPrivate tells the paths that show what the cameras saw.
func isPrivate(path string) bool {
	switch {
	case path == "/ws/events", path == "/ws/system":
		return true
	case path == "/api/session", strings.HasPrefix(path, "/api/system/"):
		return false
	}
	return strings.HasPrefix(path, "/api/")
}

// admit decides whether a request may have what it wants, and names who sends it. The key is read
// from the header alone, since addresses end up in logs. An error is the answer: 401, 403, 429, or
// 503 when the sessions cannot be looked up.
func (s *Server) admit(
	ctx context.Context, r *http.Request, requestID string, want access,
) (requester, error) {
	from := requester{
		actor: anonymous, ip: s.proxies.clientIP(r), userAgent: r.UserAgent(), requestID: requestID,
	}
	if !s.keys.enabled {
		if want.private && !s.options.PicturesWithoutKey && s.isFromElsewhere(r) {
			return requester{}, errPrivate()
		}
		return from, nil
	}
	sent := r.Header.Values("X-API-Key")
	if len(sent) > 0 && (len(sent) > 1 || sent[0] != "") {
		hash, right := s.keys.check(sent)
		if err := s.judge(ctx, from, hash, right); err != nil {
			return requester{}, err
		}
		from.actor, from.key = actorOf(hash), &hash
		return from, nil
	}
	if !want.byCookie {
		return requester{}, unauthorized(keyMissing)
	}
	session, cameWithCookie, err := s.sessions.of(ctx, r)
	switch {
	case err != nil:
		return requester{}, err
	case session == nil && cameWithCookie:
		return requester{}, unauthorized(sessionOver)
	case session == nil:
		return requester{}, unauthorized(keyMissing)
	case want.changes && !isOfSamePage(r):
		return requester{}, errCrossOrigin()
	}
	from.actor, from.session = actorOf(session.key), session
	return from, nil
}

// judge counts a try and says how it ended: nil for a right key.
func (s *Server) judge(ctx context.Context, from requester, hash keyHash, right bool) error {
	now := s.now()
	if right {
		if wait := s.tries.right(from.ip, hash, now); wait > 0 {
			return tooManyTries(wait)
		}
		return nil
	}
	wait, first := s.tries.wrong(from.ip, hash, now)
	if first {
		s.recordRefusedKey(ctx, from)
	}
	if wait > 0 {
		return tooManyTries(wait)
	}
	return unauthorized("Invalid API key")
}

// recordRefusedKey writes an audit entry. It must not make the answer wait for a database that is
// away.
func (s *Server) recordRefusedKey(ctx context.Context, from requester) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.options.Sessions.RecordRefusedKey(ctx, toActor(from)); err != nil {
		s.log.WarnContext(ctx, "a refused key is not in the audit trail",
			"client", from.ip, "error", err)
	}
}

// What a 401 says when no key came.
const (
	keyMissing  = "API key required. Provide via X-API-Key header."
	sessionOver = "The session has ended. Provide the API key via X-API-Key header."
)

func unauthorized(detail string) *problem {
	return &problem{
		status: http.StatusUnauthorized, detail: detail,
		header: "WWW-Authenticate", value: `ApiKey realm="X-API-Key"`,
	}
}

func tooManyTries(wait time.Duration) *problem {
	return &problem{
		status: http.StatusTooManyRequests, detail: "Too many wrong API keys; try again later",
		header: "Retry-After", value: wholeSeconds(wait),
	}
}

func errPrivate() *problem {
	return &problem{
		status: http.StatusForbidden,
		detail: "Without API keys this is answered on this machine only. " +
			"Set API_KEY_ENABLED=true and API_KEYS, or PICTURES_WITHOUT_KEY=true to let everybody in.",
	}
}

// forwardingHeaders are what proxies add. Who sends one comes from elsewhere, however near its last
// hop is.
var forwardingHeaders = [...]string{
	"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"X-Forwarded-Port", "X-Forwarded-Server", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip",
	"X-Original-Forwarded-For", "Cf-Connecting-Ip", "True-Client-Ip", "Fly-Client-Ip",
	"Fastly-Client-Ip",
}

// isFromElsewhere tells whether a request may come from another machine: the server listens to
// others, or something has passed it on.
func (s *Server) isFromElsewhere(r *http.Request) bool {
	if s.options.ListensBeyondLoopback {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err == nil && !peer.Addr().Unmap().IsLoopback() {
		return true
	}
	for _, name := range forwardingHeaders {
		if _, sent := r.Header[name]; sent {
			return true
		}
	}
	return false
}

// isOfSamePage tells whether a browser sent a request from a page of this server. Browsers say so
// themselves where the way is safe, and otherwise send the Origin with every change.
func isOfSamePage(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}
