package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// origins refuses writes that a browser sends from another site, and lets the configured origins
// in.
type origins struct {
	protection *http.CrossOriginProtection
	trusted    map[string]struct{} // empty: no CORS header is ever sent
}

func newOrigins(configured []string) (*origins, error) {
	o := &origins{protection: http.NewCrossOriginProtection(), trusted: map[string]struct{}{}}
	for _, origin := range configured {
		normal, err := asBrowsersSend(origin)
		if err != nil {
			return nil, fmt.Errorf("CORS_ORIGINS: %q: %w", origin, err)
		}
		if err := o.protection.AddTrustedOrigin(normal); err != nil {
			return nil, fmt.Errorf("CORS_ORIGINS: %q: %w", origin, err)
		}
		o.trusted[normal] = struct{}{}
	}
	return o, nil
}

// CheckOrigin says what is wrong with an entry of CORS_ORIGINS: only what a browser really sends
// can ever match.
func CheckOrigin(origin string) error {
	_, err := asBrowsersSend(origin)
	return err
}

// asBrowsersSend returns the origin with scheme and host in lower case. It refuses one that is
// written as no browser sends it: that one would never match.
func asBrowsersSend(origin string) (string, error) {
	parsed, err := url.Parse(strings.ToLower(origin))
	if err != nil || parsed.Hostname() == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") ||
		strings.ToLower(origin) != parsed.Scheme+"://"+parsed.Host || strings.HasSuffix(parsed.Host, ":") {
		return "", errors.New("must be scheme://host or scheme://host:port")
	}
	if parsed.Port() == "" {
		return parsed.Scheme + "://" + parsed.Host, nil
	}
	port, err := strconv.ParseUint(parsed.Port(), 10, 16)
	if err != nil {
		return "", errors.New("the port must be at most 65535")
	}
	normal := parsed.Scheme + "://" + strings.TrimSuffix(parsed.Host, ":"+parsed.Port())
	if isDefault := parsed.Scheme == "http" && port == 80 || parsed.Scheme == "https" && port == 443; !isDefault {
		normal += ":" + strconv.FormatUint(port, 10)
	}
	if normal != strings.ToLower(origin) {
		return "", fmt.Errorf("browsers write the port in another way or not at all; write %q", normal)
	}
	return normal, nil
}

// check refuses a write from a page of another origin. Programs that are no browsers send neither
// header and pass.
func (o *origins) check(r *http.Request) error {
	if err := o.protection.Check(r); err != nil {
		return errCrossOrigin()
	}
	return nil
}

func errCrossOrigin() *problem {
	return &problem{status: http.StatusForbidden, detail: "Cross-origin request refused"}
}

// mayUpgrade tells whether a page of the request's origin may open a WebSocket: one of this server
// or of a configured origin. Programs that are no browsers send no origin.
func (o *origins) mayUpgrade(r *http.Request) bool {
	sent := r.Header.Values("Origin")
	if len(sent) == 0 {
		return true
	}
	if _, ok := o.trusted[sent[0]]; ok && len(sent) == 1 {
		return true
	}
	origin, err := url.Parse(sent[0])
	return err == nil && len(sent) == 1 && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
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
	header.Set("Access-Control-Allow-Methods", "GET, HEAD, PATCH, POST, DELETE")
	header.Set("Access-Control-Allow-Headers", "Content-Type, Last-Event-ID, X-API-Key, X-Request-ID")
	header.Set("Access-Control-Max-Age", "600")
	return true
}
