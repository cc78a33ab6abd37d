//go:build e2e

package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/store/storetest"
)

// A session outlives the server that made it, and ends when its key leaves the configuration, for
// good. A server that listens beyond this machine without keys shows nothing private.
func TestServe_Sessions(t *testing.T) {
	t.Parallel()
	const first, second = "first-key-of-the-house", "second-key-of-the-house"
	p := serve(t, "DATABASE_URL="+storetest.NewEmptyURL(t),
		"REDIS_URL="+embeddedtest.NewRedis(t).URL(), "API_KEY_ENABLED=true",
		"API_KEYS="+first+","+second)
	p.eventually("ready", p.isReady)
	restart := func(keys string) {
		p.stop()
		p.Env = append(p.Env, keys)
		p.start()
		p.eventually("ready again", p.isReady)
	}
	signIn := func(key string) http.Header {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			p.BaseURL+"/api/session", http.NoBody)
		require.NoError(t, err)
		request.Header.Set("X-API-Key", key)
		response, err := p.client.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode)
		cookie := response.Cookies()[0]
		return http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}}
	}
	// 404: there is no such event, and whoever asks may know.
	want := func(status int, header http.Header) {
		t.Helper()
		got, body := p.request(http.MethodGet, "/api/events/1/image", header, nil)
		require.Equal(t, status, got, "%s", body)
	}
	byFirst, bySecond := signIn(first), signIn(second)
	want(404, byFirst)
	want(404, bySecond)
	want(401, nil)
	restart("API_KEYS=" + first)
	want(404, byFirst)
	want(401, bySecond)
	restart("API_KEYS=" + first + "," + second)
	want(404, byFirst)
	want(401, bySecond)

	p.Env = append(p.Env, "API_HOST=0.0.0.0")
	restart("API_KEY_ENABLED=false")
	want(403, byFirst)
	restart("PICTURES_WITHOUT_KEY=true")
	want(404, nil)
	p.stop()
	require.False(t, strings.Contains(p.log(), first) || strings.Contains(p.log(),
		byFirst.Get("Cookie")))
}
