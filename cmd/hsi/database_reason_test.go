//go:build e2e

package main

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
)

// A database server that is there and cannot be used: the health check says why, in words that hold
// no name and no password. TestFault_Postgres has one that only reads.
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
				seen := p.look()
				return seen.overall == "unhealthy" && seen.services["database"].Message == test.want
			})
			_, body := p.get("/api/system/health")
			require.NotContains(t, string(body), "stranger")
			require.NotContains(t, p.output.String(), "hunter2")
			p.stop()
		})
	}
}
