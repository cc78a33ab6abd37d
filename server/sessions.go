package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/store"
)

const (
	// sessionLifetime is how long a browser stays signed in.
	sessionLifetime = 30 * 24 * time.Hour
	// sessionRecheck is how long a session is believed before the table is asked again: within it a
	// session that another process has ended goes on. One that this process ends is over at once.
	sessionRecheck = 5 * time.Second
	// sessionCookie is how the cookie's name begins.
	sessionCookie = "hsi_session_"
	// triedCookies bounds how many cookies of one name are looked up: a page of a neighbouring host
	// can add some.
	triedCookies       = 3
	rememberedSessions = 1024
)

// errSessionEnded is the cause of the end of what was allowed by a session.
var errSessionEnded = errors.New("the session has ended")

// sessionStore keeps sessions. Of their secrets it gets the hashes alone.
type sessionStore interface {
	SessionCookieSuffix(ctx context.Context) (string, error)
	CreateSession(
		ctx context.Context, secret, key store.SessionHash, lifetime time.Duration, actor store.Actor,
	) (expiresAt time.Time, err error)
	Session(ctx context.Context, secret store.SessionHash) (store.Session, error)
	EndSession(ctx context.Context, secret store.SessionHash, actor store.Actor) (bool, error)
	EndSessionsOfOtherKeys(ctx context.Context, keys []store.SessionHash) (int64, error)
	RecordRefusedKey(ctx context.Context, actor store.Actor) error
}

// session is what let a request in.
type session struct {
	secret store.SessionHash // of the cookie's value
	key    keyHash
}

// sessions finds the sessions that cookies stand for, and tells those who wait for the end of one.
type sessions struct {
	store   sessionStore
	keys    *keys
	now     func() time.Time
	recheck time.Duration

	mu      sync.Mutex
	name    string // guarded by mu; of the cookie, empty until it was read
	changes int    // guarded by mu; counts the ends
	looking bool   // guarded by mu; look is running
	// known are sessions that were looked up, watched those that somebody waits for. Guarded by mu.
	known   *simplelru.LRU[store.SessionHash, knownSession]
	watched map[store.SessionHash]map[*watch]struct{}
}

// knownSession is a session that was looked up.
type knownSession struct {
	key   keyHash
	until time.Time // believed until then
}

// watch is one who waits for the end of a session.
type watch struct{ end func() }

func newSessions(keeper sessionStore, k *keys, options *Options) *sessions {
	known, err := simplelru.NewLRU[store.SessionHash, knownSession](rememberedSessions, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	recheck := options.sessionRecheck
	if recheck == 0 {
		recheck = sessionRecheck
	}
	return &sessions{
		store: keeper, keys: k, now: options.Now, recheck: recheck, known: known,
		watched: map[store.SessionHash]map[*watch]struct{}{},
	}
}

// cookieName reads the name once.
func (s *sessions) cookieName(ctx context.Context) (string, error) {
	s.mu.Lock()
	name := s.name
	s.mu.Unlock()
	if name != "" {
		return name, nil
	}
	suffix, err := s.store.SessionCookieSuffix(ctx)
	if err != nil {
		return "", err
	}
	name = sessionCookie + suffix
	s.mu.Lock()
	s.name = name
	s.mu.Unlock()
	return name, nil
}

// of finds the session of a request, nil when it has none, and tells whether it came with a cookie
// of ours.
func (s *sessions) of(
	ctx context.Context, r *http.Request,
) (found *session, cameWithCookie bool, err error) {
	if !strings.Contains(strings.Join(r.Header.Values("Cookie"), ";"), sessionCookie) {
		return nil, false, nil
	}
	name, err := s.cookieName(ctx)
	if err != nil {
		return nil, false, err
	}
	cookies := r.CookiesNamed(name)
	for _, cookie := range cookies[:min(len(cookies), triedCookies)] {
		secret, ok := hashOfSecret(cookie.Value)
		if !ok {
			continue
		}
		key, err := s.find(ctx, secret)
		switch {
		case err == nil:
			return &session{secret, key}, true, nil
		case !errors.Is(err, store.ErrNotFound):
			return nil, true, err
		}
	}
	return nil, len(cookies) > 0, nil
}

// find returns the key of a session, or store.ErrNotFound.
func (s *sessions) find(ctx context.Context, secret store.SessionHash) (keyHash, error) {
	now := s.now()
	s.mu.Lock()
	known, ok := s.known.Get(secret)
	changes := s.changes
	s.mu.Unlock()
	// Believed for longer than a moment: the clock was set back.
	if ok && now.Before(known.until) && known.until.Sub(now) <= s.recheck {
		return known.key, nil
	}
	row, err := s.store.Session(ctx, secret)
	if err != nil {
		return keyHash{}, err
	}
	if !s.keys.has(row.Key) { // the key has left the configuration
		return keyHash{}, store.ErrNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if changes == s.changes {
		s.known.Add(secret, knownSession{row.Key, now.Add(min(s.recheck, row.Left))})
	}
	return row.Key, nil
}

// end ends a session and what it has allowed.
func (s *sessions) end(
	ctx context.Context, secret store.SessionHash, actor store.Actor,
) (bool, error) {
	ended, err := s.store.EndSession(ctx, secret, actor)
	if err == nil {
		s.ended(secret)
	}
	return ended, err
}

func (s *sessions) ended(secret store.SessionHash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	s.known.Remove(secret)
	for waiting := range s.watched[secret] {
		waiting.end()
	}
	delete(s.watched, secret)
}

// watch calls end once when the session ends, unless release was called before. end must not wait.
func (s *sessions) watch(
	ctx context.Context, secret store.SessionHash, end func(), stopping <-chan struct{},
) (release func()) {
	waiting := &watch{end}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched[secret] == nil {
		s.watched[secret] = map[*watch]struct{}{}
	}
	s.watched[secret][waiting] = struct{}{}
	if !s.looking {
		s.looking = true
		go s.look(context.WithoutCancel(ctx), stopping) // it is for all who watch
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watched[secret], waiting)
		if len(s.watched[secret]) == 0 {
			delete(s.watched, secret)
		}
	}
}

// look notices the ends of watched sessions that come by time or by another process. It runs while
// one is watched.
func (s *sessions) look(ctx context.Context, stopping <-chan struct{}) {
	ticker := time.NewTicker(s.recheck)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-stopping:
			s.mu.Lock()
			s.looking = false
			s.mu.Unlock()
			return
		}
		secrets, goesOn := s.toLookAt()
		if !goesOn {
			return
		}
		for _, secret := range secrets {
			lookCtx, cancel := context.WithTimeout(ctx, DefaultRequestTimeout)
			_, err := s.find(lookCtx, secret)
			cancel()
			if errors.Is(err, store.ErrNotFound) {
				s.ended(secret)
			}
		}
	}
}

func (s *sessions) toLookAt() (secrets []store.SessionHash, goesOn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret := range s.watched {
		secrets = append(secrets, secret)
		s.known.Remove(secret) // the table is asked
	}
	s.looking = len(secrets) > 0
	return secrets, s.looking
}

// whileAllowed returns a context that ends, with errSessionEnded as its cause, as soon as the
// session that let the request in has ended. A request with a key, or without one where none is
// needed, is allowed for as long as it likes. For what goes on after its answer has begun.
func (s *Server) whileAllowed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := func() { cancel(context.Canceled) }
	by := requesterOf(ctx).session
	if by == nil {
		return ctx, stop
	}
	end := func() { cancel(errSessionEnded) }
	release := s.sessions.watch(ctx, by.secret, end, s.stopping)
	return ctx, func() { release(); stop() }
}

// EndSessionsOfOtherKeys deletes the sessions of keys that have left the configuration. It is for
// the start.
func (s *Server) EndSessionsOfOtherKeys(ctx context.Context) error {
	ended, err := s.options.Sessions.EndSessionsOfOtherKeys(ctx, s.keys.hashes)
	if ended > 0 {
		s.log.InfoContext(ctx, "sessions of keys that are no longer in API_KEYS have ended",
			"sessions", ended)
	}
	return err
}

// secretBytes is how long the secret of a session is.
const secretBytes = 32

// newSecret makes the value of a cookie and its hash.
func newSecret() (value string, hash store.SessionHash) {
	var secret [secretBytes]byte
	_, _ = rand.Read(secret[:]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(secret[:]), sha256.Sum256(secret[:])
}

// hashOfSecret reads the value of a cookie. Only what newSecret writes is one.
func hashOfSecret(value string) (store.SessionHash, bool) {
	secret, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(secret) != secretBytes {
		return store.SessionHash{}, false
	}
	return sha256.Sum256(secret), true
}

// CreateSession trades the key for a cookie.
func (s *Server) CreateSession(
	ctx context.Context, _ gen.CreateSessionRequestObject,
) (gen.CreateSessionResponseObject, error) {
	from := requesterOf(ctx)
	if from.key == nil { // none is needed
		return gen.CreateSession200JSONResponse{Body: gen.Session{}}, nil
	}
	name, err := s.sessions.cookieName(ctx)
	if err != nil {
		return nil, err
	}
	value, secret := newSecret()
	expiresAt, err := s.options.Sessions.CreateSession(
		ctx, secret, *from.key, sessionLifetime, toActor(from))
	if err != nil {
		return nil, err
	}
	cookie := s.cookie(from.request, name, value, sessionLifetime)
	return gen.CreateSession200JSONResponse{
		Body:    gen.Session{KeyRequired: true, ExpiresAt: &expiresAt},
		Headers: gen.CreateSession200ResponseHeaders{SetCookie: &cookie},
	}, nil
}

// DeleteSession ends the session whose cookie let the request in.
func (s *Server) DeleteSession(
	ctx context.Context, _ gen.DeleteSessionRequestObject,
) (gen.DeleteSessionResponseObject, error) {
	from := requesterOf(ctx)
	if from.session == nil {
		return gen.DeleteSession200JSONResponse{}, nil
	}
	name, err := s.sessions.cookieName(ctx)
	if err != nil {
		return nil, err
	}
	ended, err := s.sessions.end(ctx, from.session.secret, toActor(from))
	if err != nil {
		return nil, err
	}
	return sessionEnd{ended, s.cookie(from.request, name, "", -time.Second)}, nil
}

// sessionEnd takes the cookie back.
type sessionEnd struct {
	ended  bool
	cookie string
}

// VisitDeleteSessionResponse implements gen.DeleteSessionResponseObject.
func (e sessionEnd) VisitDeleteSessionResponse(w http.ResponseWriter) error {
	w.Header().Set("Set-Cookie", e.cookie)
	return gen.DeleteSession200JSONResponse{Ended: e.ended}.VisitDeleteSessionResponse(w)
}

// cookie writes the cookie: no script reads it, no other site sends it.
func (s *Server) cookie(r *http.Request, name, value string, lifetime time.Duration) string {
	cookie := http.Cookie{ //nolint:gosec // Secure follows the way that the request came
		Name: name, Value: value, Path: "/", MaxAge: int(lifetime / time.Second),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.cameOverTLS(r),
	}
	return cookie.String()
}

// cameOverTLS tells whether the browser's way to the server is encrypted, as far as the server
// knows or a trusted proxy says.
func (s *Server) cameOverTLS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	forwarded := r.Header.Values("X-Forwarded-Proto")
	if len(forwarded) == 0 || !s.proxies.trustsPeer(r) {
		return false
	}
	protos := strings.Split(forwarded[len(forwarded)-1], ",")
	return strings.EqualFold(strings.TrimSpace(protos[len(protos)-1]), "https")
}
