package server

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// origins refuses writes that a browser sends from another site, and lets the configured origins in.
type origins struct {
	protection *http.CrossOriginProtection
	trusted    map[string]struct{} // empty: no CORS header is ever sent
}

func newOrigins(configured []string) (*origins, error) {
	o := &origins{protection: http.NewCrossOriginProtection(), trusted: map[string]struct{}{}}
	for _, origin := range configured {
		parsed, err := url.Parse(origin)
		if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
			return nil, fmt.Errorf("CORS_ORIGINS: %q must be scheme://host or scheme://host:port", origin)
		}
		normal := strings.ToLower(origin) // browsers send scheme and host in lower case
		if err := o.protection.AddTrustedOrigin(normal); err != nil {
			return nil, fmt.Errorf("CORS_ORIGINS: %q: %w", origin, err)
		}
		o.trusted[normal] = struct{}{}
	}
	return o, nil
}

// check refuses a write from a page of another origin. Programs that are no browsers send neither header and pass.
func (o *origins) check(r *http.Request) error {
	if err := o.protection.Check(r); err != nil {
		return &problem{status: http.StatusForbidden, detail: "Cross-origin request refused"}
	}
	return nil
}

// headers adds what a browser needs to show an answer to a page of a configured origin.
// It returns true for a preflight request, which is then answered.
func (o *origins) headers(r *http.Request, header http.Header) (preflight bool) {
	if len(o.trusted) == 0 {
		return false
	}
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if _, ok := o.trusted[origin]; !ok {
		return false
	}
	header.Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		header.Set("Access-Control-Expose-Headers", "X-Request-ID, Retry-After")
		return false
	}
	header.Add("Vary", "Access-Control-Request-Method")
	header.Add("Vary", "Access-Control-Request-Headers")
	header.Set("Access-Control-Allow-Methods", "GET, HEAD, PATCH, POST")
	header.Set("Access-Control-Allow-Headers", "Content-Type, X-API-Key, X-Request-ID")
	header.Set("Access-Control-Max-Age", "600")
	return true
}
