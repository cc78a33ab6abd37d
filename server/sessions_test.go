package server

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store"
)

// signIn trades the key for a cookie.
func (s *testServer) signIn(tb testing.TB, change ...func(*http.Request)) *http.Cookie {
	tb.Helper()
	got := s.send(tb, http.MethodPost, "/api/session", "",
		append(change, header("X-API-Key", testKey))...).want(tb, 200)
	cookies := got.Cookies()
	require.Len(tb, cookies, 1)
	return cookies[0]
}

func withCookie(cookie *http.Cookie) func(*http.Request) {
	return sendCookie(cookie.Name, cookie.Value)
}

func sendCookie(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: name, Value: value}) }
}

// fromOwnPage is what a browser says of a write from a page of the server.
func fromOwnPage(r *http.Request) { r.Header.Set("Origin", "http://"+r.URL.Host) }

func TestSessions_ACookieStandsForTheKey(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f, withKeys)
	got := s.send(t, http.MethodPost, "/api/session", "", header("X-API-Key", testKey),
		header("User-Agent", "browser/1")).want(t, 200)
	require.JSONEq(t, `{"key_required":true,"expires_at":"2026-01-22T10:30:00Z"}`, string(got.body))
	set := got.Header.Values("Set-Cookie")
	require.Len(t, set, 1)
	require.Regexp(t,
		`^hsi_session_0123abcd=[A-Za-z0-9_-]{43}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict$`, set[0])
	cookie := got.Cookies()[0]

	// What is stored is a hash of it.
	secret, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	require.NoError(t, err)
	require.Len(t, secret, 32, "256 bits")
	hashed := sha256.Sum256(secret)
	stored := f.sessions.sessions[hashed]
	require.Equal(t, store.SessionHash(sha256.Sum256([]byte(testKey))), stored.Key)
	require.Equal(t, 30*24*time.Hour, stored.Left)
	hash := sha256.Sum256([]byte(testKey))
	actor := f.sessions.actors[0]
	require.Equal(t, fmt.Sprintf("api_key:%x", hash[:4]), actor.Name)
	require.Equal(t, "browser/1", actor.UserAgent)
	require.NotEmpty(t, actor.RequestID)

	other := s.signIn(t)
	require.NotEqual(t, cookie.Value, other.Value)

	for id, request := range operationRequest() {
		if request.method == http.MethodGet {
			s.ask(t, id, withCookie(cookie)).want(t, 200)
		}
	}
	require.NotContains(t, s.log.String(), cookie.Value)

	// The name is the installation's own, and the value is the whole value.
	for _, change := range map[string]func(*http.Request){
		"another installation": sendCookie("hsi_session_ffffffff", cookie.Value),
		"no suffix":            sendCookie("hsi_session_", cookie.Value),
		"shorter":              sendCookie(cookie.Name, cookie.Value[:42]),
		"longer":               sendCookie(cookie.Name, cookie.Value+"A"),
		"the hash itself":      sendCookie(cookie.Name, base64.RawURLEncoding.EncodeToString(hashed[:])),
		"the key":              sendCookie(cookie.Name, testKey),
		"in the query":         func(r *http.Request) { r.URL.RawQuery = cookie.Name + "=" + cookie.Value },
		"in a header":          header("X-Session", cookie.Value),
		"as the key":           header("X-API-Key", cookie.Value),
	} {
		s.ask(t, "getDetectionImage", change).want(t, 401)
		s.ask(t, "updateSystemConfig", change, fromOwnPage).want(t, 401)
	}
	// A wrong key is not mended by a cookie, and one cookie too many does not hide the right one.
	s.ask(t, "getDetectionImage", withCookie(cookie), header("X-API-Key", "wrong")).want(t, 401)
	stranger, _ := newSecret()
	s.ask(t, "getDetectionImage",
		sendCookie(cookie.Name, stranger), withCookie(cookie)).want(t, 200)
}

func TestSessions_AWriteByCookieComesFromOurOwnPage(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	count := writes(f)
	s := start(t, f, withKeys,
		func(o *Options) { o.CORSOrigins = []string{"https://friend.example.com"} })
	cookie := withCookie(s.signIn(t))
	for _, change := range []func(*http.Request){
		func(*http.Request) {}, header("Origin", "null"),
		header("Origin", "http://evil.example.com"), header("Sec-Fetch-Site", "same-site"),
		header("Sec-Fetch-Site", "cross-site"), header("Origin", "https://friend.example.com"),
		header("Origin", "http://127.0.0.1"),
		header("Origin", "http://localhost"), header("Origin", ""),
		header("Sec-Fetch-Site", "none"),
	} {
		for id, request := range operationRequest() {
			if request.method != http.MethodGet && id != "createSession" {
				s.ask(t, id, cookie, change).want(t, 403)
			}
		}
	}
	require.Zero(t, count.Load())
	s.ask(t, "updateSystemConfig", cookie, fromOwnPage).want(t, 200)
	s.ask(t, "updateSystemConfig", cookie, header("Sec-Fetch-Site", "same-origin")).want(t, 200)
	s.ask(t, "updateSystemConfig", cookie, header("Origin", "http://nest.local"),
		host("nest.local")).want(t, 200)
	require.EqualValues(t, 3, count.Load())
	// a session makes no other session
	s.send(t, http.MethodPost, "/api/session", "", cookie, fromOwnPage).want(t, 401)
}

func TestSessions_End(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f, withKeys)
	first, second := s.signIn(t), s.signIn(t)
	s.ask(t, "getEventImage", withCookie(first)).want(t, 200)
	s.ask(t, "deleteSession", header("X-API-Key", testKey)).want(t, 200)
	got := s.ask(t, "deleteSession", withCookie(first), fromOwnPage).want(t, 200)
	require.JSONEq(t, `{"ended":true}`, string(got.body))
	require.Regexp(t, `^hsi_session_0123abcd=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict$`,
		got.Header.Get("Set-Cookie"))
	// at once, although it was looked up a moment ago
	got = s.ask(t, "getEventImage", withCookie(first)).want(t, 401)
	require.Contains(t, string(got.body), "The session has ended")
	s.ask(t, "deleteSession", withCookie(first), fromOwnPage).want(t, 401)
	s.ask(t, "getEventImage", withCookie(second)).want(t, 200)

	without := start(t, newFakes(t))
	require.JSONEq(t, `{"key_required":false,"expires_at":null}`,
		string(without.ask(t, "createSession").want(t, 200).body))
	got = without.ask(t, "createSession", header("X-API-Key", testKey)).want(t, 200)
	require.Empty(t, got.Header.Get("Set-Cookie"))
}

// TestSessions_GoWithTheirKey: one whose key has left the configuration is none, and the start
// deletes it.
func TestSessions_GoWithTheirKey(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	cookie := start(t, f, withKeys).signIn(t)
	later := start(t, f, func(o *Options) {
		o.APIKeyEnabled, o.APIKeys = true, []string{"another-key"}
	})
	later.ask(t, "getEventImage", withCookie(cookie)).want(t, 401)
	require.NoError(t, later.server.EndSessionsOfOtherKeys(t.Context()))
	require.Contains(t, f.log.String(), `"sessions":1`)
}

// TestSessions_AreBelievedForAMoment: a page of pictures asks the table once, and what another
// process has ended is over soon.
func TestSessions_AreBelievedForAMoment(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	clock := at(t, "2025-12-23T10:30:00Z")
	s := start(t, f, withKeys, func(o *Options) { o.Now = func() time.Time { return clock } })
	cookie := s.signIn(t)
	secret, ok := hashOfSecret(cookie.Value)
	require.True(t, ok)
	ask := func(status int) {
		t.Helper()
		s.ask(t, "getEventImage", withCookie(cookie)).want(t, status)
	}
	for range 5 {
		ask(200)
	}
	require.Equal(t, 1, f.sessions.lookups)
	delete(f.sessions.sessions, secret)
	clock = clock.Add(sessionRecheck - time.Millisecond)
	ask(200)
	clock = clock.Add(time.Millisecond)
	ask(401)
	// Not longer than it lasts, and not longer because the clock was set back.
	key := sha256.Sum256([]byte(testKey))
	f.sessions.sessions[secret] = store.Session{Key: key, Left: time.Second}
	ask(200)
	delete(f.sessions.sessions, secret)
	clock = clock.Add(time.Second)
	ask(401)
	f.sessions.sessions[secret] = store.Session{Key: key, Left: time.Hour}
	ask(200)
	delete(f.sessions.sessions, secret)
	clock = clock.Add(-time.Hour)
	ask(401)
}

// TestSessions_EndDuringALookup: what a lookup finds is not believed when the session ends
// meanwhile.
func TestSessions_EndDuringALookup(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f, withKeys)
	cookie := s.signIn(t)
	secret, ok := hashOfSecret(cookie.Value)
	require.True(t, ok)
	f.sessions.during = func() {
		f.sessions.during = nil
		_, err := s.server.sessions.end(t.Context(), secret, store.Actor{})
		require.NoError(t, err)
	}
	s.ask(t, "getEventImage", withCookie(cookie)).want(t, 200) // it came before
	s.ask(t, "getEventImage", withCookie(cookie)).want(t, 401)
}

func TestSessions_NeedTheDatabase(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f, withKeys)
	cookie := s.signIn(t)
	f.loseDatabase()
	s.ask(t, "createSession", header("X-API-Key", testKey)).want(t, 503)
	s.ask(t, "deleteSession", withCookie(cookie), fromOwnPage).want(t, 503)
	s.ask(t, "getEventImage", withCookie(cookie)).want(t, 503)
	s.get(t, "/api/system/gpu", withCookie(cookie)).want(t, 200) // nobody asks for it
	got := s.ask(t, "updateSystemConfig", header("X-API-Key", "wrong")).want(t, 401)
	require.JSONEq(t, `{"detail":"Invalid API key"}`, string(got.body),
		"also when the audit trail cannot be written")
	require.Contains(t, f.log.String(), "not in the audit trail")
}

func TestSessions_SecureWhereTheWayIs(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f, withKeys,
		func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	stranger := start(t, f, withKeys)
	require.False(t, s.signIn(t).Secure)
	require.True(t, s.signIn(t, header("X-Forwarded-Proto", "https")).Secure)
	require.True(t, s.signIn(t, header("X-Forwarded-Proto", "http, HTTPS")).Secure)
	require.False(t, s.signIn(t, header("X-Forwarded-Proto", "https, http")).Secure)
	require.False(t, s.signIn(t, header("X-Forwarded-Proto", "httpsx")).Secure)
	require.False(t, stranger.signIn(t, header("X-Forwarded-Proto", "https")).Secure,
		"anybody can say so")
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/session",
		http.NoBody)
	request.TLS = &tls.ConnectionState{}
	require.True(t, s.server.cameOverTLS(request))
}

// TestWhileAllowed: what goes on after its answer has begun ends with the session that let it in.
func TestWhileAllowed(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f, withKeys, func(o *Options) { o.sessionRecheck = 5 * time.Millisecond })
	by := func(cookie *http.Cookie) context.Context {
		secret, ok := hashOfSecret(cookie.Value)
		require.True(t, ok)
		return withRequester(t.Context(), requester{session: &session{secret: secret}})
	}
	first, second := s.signIn(t), s.signIn(t)
	var allowed [2][]context.Context
	for range 3 {
		for i, cookie := range []*http.Cookie{first, second} {
			ctx, cancel := s.server.whileAllowed(by(cookie))
			defer cancel()
			allowed[i] = append(allowed[i], ctx)
		}
	}
	byKey, cancelKey := s.server.whileAllowed(t.Context())
	s.ask(t, "deleteSession", withCookie(first), fromOwnPage).want(t, 200)
	for _, ctx := range allowed[0] {
		require.ErrorIs(t, context.Cause(ctx), errSessionEnded, "at once")
	}
	for _, ctx := range allowed[1] {
		require.NoError(t, ctx.Err())
	}
	// Another process ends the other one, or its time is over.
	secret, _ := hashOfSecret(second.Value)
	f.sessions.mu.Lock()
	delete(f.sessions.sessions, secret)
	f.sessions.mu.Unlock()
	for _, ctx := range allowed[1] {
		await.Value(t, ctx.Done(), "the session has ended")
		require.ErrorIs(t, context.Cause(ctx), errSessionEnded)
	}
	require.NoError(t, byKey.Err())
	cancelKey()
	require.ErrorIs(t, context.Cause(byKey), context.Canceled)

	// Who leaves is not waited for.
	_, cancel := s.server.whileAllowed(by(s.signIn(t)))
	cancel()
	s.server.sessions.mu.Lock()
	defer s.server.sessions.mu.Unlock()
	require.Empty(t, s.server.sessions.watched)
}

// TestPrivate: without keys the home is shown to this machine alone, unless its owner says
// otherwise.
func TestPrivate(t *testing.T) {
	t.Parallel()
	near := start(t, newFakes(t))
	beyond := func(o *Options) { o.ListensBeyondLoopback = true }
	far := start(t, newFakes(t), beyond)
	openToAll := start(t, newFakes(t), beyond, func(o *Options) { o.PicturesWithoutKey = true })
	locked := start(t, newFakes(t), beyond, withKeys,
		func(o *Options) { o.PicturesWithoutKey = true })
	for id, request := range operationRequest() {
		if isProbeID(id) {
			continue
		}
		status, fine := successOf(t, id), successOf(t, id)
		if isPrivate(request.path) {
			status = 403
		}
		got := far.ask(t, id).want(t, status)
		if status == 403 {
			for _, setting := range []string{
				"API_KEY_ENABLED=true", "API_KEYS",
				"PICTURES_WITHOUT_KEY=true",
			} {
				require.Contains(t, string(got.body), setting)
			}
			locked.ask(t, id).want(t, 401)
			locked.ask(t, id, header("X-API-Key", testKey)).want(t, fine)
		}
		openToAll.ask(t, id).want(t, fine)
		near.ask(t, id).want(t, fine)
		for _, name := range forwardingHeaders {
			near.ask(t, id, header(name, "127.0.0.1")).want(t, status)
			require.Equal(t, http.CanonicalHeaderKey(name), name)
		}
		near.ask(t, id, header("X-Forwarded-For", "")).want(t, status)
		openToAll.ask(t, id, header("Forwarded", "for=127.0.0.1")).want(t, fine)
	}
	request := &http.Request{Header: http.Header{}}
	for peer, elsewhere := range map[string]bool{
		"127.0.0.1:5": false, "127.9.9.9:5": false, "[::1]:5": false, "[::ffff:127.0.0.1]:5": false,
		"@":             false,
		"192.168.1.9:5": true, "[fe80::1%eth0]:5": true, "[::ffff:10.0.0.1]:5": true,
	} {
		request.RemoteAddr = peer
		require.Equal(t, elsewhere, near.server.isFromElsewhere(request), peer)
	}
	for path, private := range map[string]bool{
		"/api/cameras": true, "/api/events/stream": true, "/api/system": true,
		"/api/sessions": true, "/ws/events": true, "/ws/system": true,
		"/api/system/config": false, "/api/session": false, "/docs": false, "/": false,
		"/health": false, "/api/systematic": true,
	} {
		require.Equal(t, private, isPrivate(path), path)
	}
}

func TestTries_AreLimitedPerClient(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	clock := at(t, "2025-12-23T10:30:00Z")
	s := start(t, f, withKeys, func(o *Options) {
		o.triesPerMinute, o.Now = 0, func() time.Time { return clock }
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	from := func(ip string) func(*http.Request) { return header("X-Forwarded-For", ip) }
	try := func(ip, key string) answer {
		return s.ask(t, "getEventImage", from(ip),
			header("X-API-Key", key))
	}
	try("192.0.2.9", testKey).want(t, 200)
	for i := range triesPerMinute {
		try("192.0.2.1", fmt.Sprint("guess ", i)).want(t, 401)
	}
	clock = clock.Add(20 * time.Second)
	for id, operation := range operationsByID(t) {
		if operation.Security != nil {
			got := s.ask(t, id, from("192.0.2.1"), header("X-API-Key", "guess")).want(t, 429)
			require.Equal(t, "40", got.Header.Get("Retry-After"))
		}
	}
	try("192.0.2.1", testKey).want(t, 429) // it is guessing, so that it must not learn this
	for range 3 {
		try("192.0.2.2", testKey).want(t, 200) // others are others
		try("192.0.2.9", testKey).want(t, 200)
	}
	try("192.0.2.2", "wrong").want(t, 401)
	require.Len(t, f.sessions.refused, 2, "one for each client and minute")
	require.Equal(t, "192.0.2.1", f.sessions.refused[0].IPAddress)
	require.Equal(t, anonymous, f.sessions.refused[0].Name)
	s.ask(t, "getEventImage", from("192.0.2.1")).want(t, 401) // no key is no try

	clock = clock.Add(40 * time.Second)
	try("192.0.2.1", testKey).want(t, 200)
	try("192.0.2.1", "guess").want(t, 401)
	require.Len(t, f.sessions.refused, 3)
	require.NotContains(t, s.log.String(), "guess")
}

// TestTries_AnOldKeyLocksOutNobody: a program that goes on with a key that is no longer right is no
// guesser, and who has shown the right one is known, also when somebody guesses behind the same
// address.
func TestTries_AnOldKeyLocksOutNobody(t *testing.T) {
	t.Parallel()
	clock := at(t, "2025-12-23T10:30:00Z")
	limit := newTries(0)
	oldKey, rightKey, secondKey := keyHash{1}, keyHash{2}, keyHash{3}
	for i := range 100 {
		wait, record := limit.wrong("10.0.0.1", oldKey, clock)
		require.Equal(t, i >= triesPerMinute, wait > 0)
		require.Equal(t, i == 0, record)
	}
	require.Zero(t, limit.right("10.0.0.1", rightKey, clock))
	for i := range triesPerMinute {
		limit.wrong("10.0.0.1", keyHash{4, byte(i)}, clock)
	}
	require.Zero(t, limit.right("10.0.0.1", rightKey, clock), "it is known")
	require.Equal(t, time.Minute, limit.right("10.0.0.1", secondKey, clock))
	require.Zero(t, limit.right("10.0.0.2", secondKey, clock))
	require.Zero(t, limit.right("10.0.0.1", secondKey, clock.Add(time.Minute)))
	require.Zero(t, limit.right("10.0.0.1", keyHash{9}, clock.Add(-time.Hour)),
		"a clock that was set back locks out nobody")
}

func TestTries_Memory(t *testing.T) {
	t.Parallel()
	clock := at(t, "2025-12-23T10:30:00Z")
	limit := newTries(0)
	records := 0
	for i := range 3 * rememberedClients {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
		for n := range 2 * triesPerMinute {
			if _, record := limit.wrong(ip, keyHash{byte(n)}, clock); record {
				records++
			}
		}
		require.Zero(t, limit.right("192.0.2.1", keyHash{byte(i), byte(i >> 8)}, clock))
	}
	require.Equal(t, rememberedClients, limit.clients.Len())
	require.Equal(t, rememberedKeys, limit.known.Len())
	require.Equal(t, refusalsPerMinute, records, "the audit trail cannot be flooded")
	for _, client := range limit.clients.Values() {
		require.LessOrEqual(t, len(client.wrong), triesPerMinute)
	}
	require.Equal(t, clientOf("2001:db8:1:2::1"), clientOf("2001:db8:1:2:ffff::9"),
		"a home has a whole network")
	require.NotEqual(t, clientOf("2001:db8:1:2::1"), clientOf("2001:db8:1:3::1"))
	require.NotEqual(t, clientOf("10.0.0.1"), clientOf("10.0.0.2"))
}

// TestSessions_SecretsAreNotLogged: neither key nor cookie is in a log line, also of requests that
// fail.
func TestSessions_SecretsAreNotLogged(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f, withKeys)
	cookie := s.signIn(t)
	f.loseDatabase()
	s.ask(t, "getEventImage", withCookie(cookie)).want(t, 503)
	s.ask(t, "getEventImage", header("X-API-Key", testKey+"x")).want(t, 401)
	logged := s.log.String()
	for _, secret := range []string{cookie.Value, testKey} {
		require.NotContains(t, logged, secret)
	}
	require.Contains(t, logged, "/api/events/311/image")
}
