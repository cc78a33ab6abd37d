package main

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
)

// A database server that is there and cannot be used: the health check says why, in words that hold no name and no password, and a
// server that only reads is no healthy one.
func TestServe_SaysWhyTheDatabaseCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(u *url.URL)
		want   string
	}{
		"no such user":     {func(u *url.URL) { u.User = url.UserPassword("stranger", "hunter2-hunter2") }, "Database unavailable: login refused"},
		"no such database": {func(u *url.URL) { u.Path = "/elsewhere" }, "Database unavailable: the database does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(embeddedtest.PostgresURL(t))
			require.NoError(t, err)
			test.change(u)
			p := serve(t, "DATABASE_URL="+u.String(), "REDIS_URL="+embeddedtest.NewRedis(t).URL())
			p.eventually("the reason", func() bool {
				overall, services := servicesState(t, p)
				return overall == "unhealthy" && services["database"].Message == test.want
			})
			_, body := p.get("/api/system/health")
			require.NotContains(t, string(body), "stranger")
			require.NotContains(t, p.output.String(), "hunter2")
			p.stop()
		})
	}
	t.Run("read-only", func(t *testing.T) {
		t.Parallel()
		postgres := embeddedtest.NewPostgres(t)
		p := serve(t, "DATABASE_URL="+postgres.URL(), "REDIS_URL="+embeddedtest.NewRedis(t).URL())
		p.eventually("ready", p.isReady)
		change := func(statement string) time.Time {
			url := postgres.URL() + "&default_transaction_read_only=off"
			execURL(t, url, statement)
			execURL(t, url, "SELECT pg_reload_conf()")
			return time.Now()
		}
		begun := change("ALTER SYSTEM SET default_transaction_read_only = on")
		p.eventually("it is seen", func() bool {
			overall, services := servicesState(t, p)
			return overall == "unhealthy" && services["database"].Message == "Database unavailable: read-only, nothing can be stored"
		})
		t.Logf("seen after %v", time.Since(begun).Round(time.Millisecond))
		var ready struct{ Status string }
		p.getJSON("/api/system/health/ready", 503, &ready)
		require.Equal(t, "not_ready", ready.Status)
		for path, want := range map[string]int{"/health": 200, "/api/system/config": 200, "/api/system/stats": 200} {
			status, body := p.get(path)
			require.Equal(t, want, status, "%s: %s", path, body)
		}
		status, body := p.request(http.MethodPatch, "/api/system/config", http.Header{"Content-Type": {"application/json"}}, []byte(`{"retention_days":7}`))
		require.Equal(t, 503, status, "%s", body)
		begun = change("ALTER SYSTEM RESET default_transaction_read_only")
		p.eventually("ready again", p.isReady)
		t.Logf("ready %v after it takes changes again", time.Since(begun).Round(time.Millisecond))
		p.stop()
	})
}
