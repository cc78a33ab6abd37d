package aicall_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aicall"
)

func TestNew_Address(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://ai", "https://ai", "http://ai:8090/path", "https://user:hunter2@ai"} {
		_, err := aicall.New(aicall.Options{URL: url})
		require.NoError(t, err, url)
	}
	for _, url := range []string{"", "ai:8090", "//ai", "ftp://ai", "http://", "https:///path", "http://hunter2\x7f@ai"} {
		_, err := aicall.New(aicall.Options{URL: url})
		require.ErrorContains(t, err, "must be http://", url)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestNew_Defaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ connect, read, limit time.Duration }{
		{0, 0, 70 * time.Second},
		{time.Second, 0, 61 * time.Second},
		{0, time.Second, 11 * time.Second},
	} {
		client, err := aicall.New(aicall.Options{URL: "http://ai", ConnectTimeout: test.connect, ReadTimeout: test.read})
		require.NoError(t, err)
		require.Equal(t, test.limit, client.Limit())
	}
}

// A login without a password has no secret that could be taken out of what the service says.
func TestClient_EmptyPassword(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "plain words", http.StatusBadRequest) }))
	t.Cleanup(server.Close)
	client := open(t, strings.Replace(server.URL, "http://", "http://user:@", 1))
	_, err := post(t.Context(), client, "/", nil)
	require.ErrorContains(t, err, "status 400: plain words")
}
