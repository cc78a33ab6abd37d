// Package aicall makes HTTP calls to AI services that may be slow, broken, or not what they should
// be: each call has a deadline and a bound on the reply, and each failure says whether the service
// or the work is to blame.
package aicall

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options of a Client.
type Options struct {
	// URL is the address of the service, such as http://localhost:8090. A path in it is kept.
	// Required.
	URL string
	// APIKey is sent as Authorize does; empty sends none.
	APIKey string
	// ConnectTimeout bounds the connection (default 10 s), ReadTimeout all from then to the end of
	// the reply (default 60 s).
	ConnectTimeout, ReadTimeout time.Duration
	// MaxReplyBytes bounds the reply. Defaults to 1 MiB.
	MaxReplyBytes int64
	// OpenFor is how long a service that fails is left alone before it is tried again. Defaults to
	// 10 s.
	OpenFor time.Duration
}

// Client calls one service. It is safe for concurrent use.
type Client struct {
	base     string
	apiKey   string
	redact   *strings.Replacer // takes what was sent in confidence out of what the service says
	limit    time.Duration
	maxReply int64
	http     *http.Client

	breaker *breaker
}

// New makes a client. It does not call.
func New(options Options) (*Client, error) {
	parsed, err := url.Parse(options.URL)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return nil, errors.New("the address of an AI service must be http://host[:port] or https://host[:port]")
	}
	if options.ConnectTimeout == 0 {
		options.ConnectTimeout = 10 * time.Second
	}
	if options.ReadTimeout == 0 {
		options.ReadTimeout = time.Minute
	}
	if options.MaxReplyBytes == 0 {
		options.MaxReplyBytes = 1 << 20
	}
	if options.OpenFor == 0 {
		options.OpenFor = defaultOpenFor
	}
	dialer := &net.Dialer{Timeout: options.ConnectTimeout, KeepAlive: 15 * time.Second}
	return &Client{
		base: strings.TrimRight(options.URL, "/"), apiKey: options.APIKey, maxReply: options.MaxReplyBytes,
		limit: options.ConnectTimeout + options.ReadTimeout, redact: redactor(options.APIKey, parsed.User), breaker: newBreaker(options.OpenFor),
		http: &http.Client{
			Transport: &http.Transport{
				DialContext: dialer.DialContext, TLSHandshakeTimeout: options.ConnectTimeout, ResponseHeaderTimeout: options.ReadTimeout,
				IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 8, DisableCompression: true,
			},
			// A service that redirects is not the one that was meant.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Limit is the longest that one call takes.
func (c *Client) Limit() time.Duration { return c.limit }

// BusySince returns when the oldest call in progress began; false when there is none, or when the
// last one that ended was a failure: then silence is not explained by work.
func (c *Client) BusySince() (time.Time, bool) { return c.breaker.busySince() }

// Trouble says in words fit for everybody that calls fail and when the service is tried again;
// empty when they succeed.
func (c *Client) Trouble() string { return c.breaker.trouble() }

// CloseIdle closes connections that are not in use.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// Call sends a body and hands the body of a reply with status 200 to read, which says whether it
// makes sense. Any other outcome is a *Failure, or context.Canceled when the caller gave up; a
// deadline that passes, whoever set it, is a failure of a service that is too slow. A service that
// has failed several times in a row is not called for a while: that is a *Failure too, of kind
// Away.
func (c *Client) Call(ctx context.Context, path, contentType string, body []byte, read func(reply []byte) error) error {
	err := c.call(ctx, path, contentType, body, read)
	if failure, ok := errors.AsType[*Failure](err); ok && failure.Kind == Suspect && c.Trouble() != "" {
		failure.Kind = Away // after several in a row it is the service and not the work that is suspected
	}
	return err
}

// call makes one call under the breaker.
func (c *Client) call(ctx context.Context, path, contentType string, body []byte, read func(reply []byte) error) error {
	end, err := c.breaker.begin()
	if err != nil {
		return err
	}
	outcome := errors.New("the call had no outcome") // as after a panic
	defer func() { end(outcome) }()
	reply, err := c.post(ctx, path, contentType, body)
	if err == nil {
		if err = read(reply); err != nil {
			err = &Failure{Kind: Suspect, Err: err}
		}
	}
	outcome = err
	return err
}

// post sends a body and returns that of the reply. The error is a *Failure or context.Canceled.
func (c *Client) post(ctx context.Context, path, contentType string, body []byte) ([]byte, error) {
	callCtx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	request, err := http.NewRequestWithContext(callCtx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", "application/json")
	Authorize(request, c.apiKey)
	response, err := c.http.Do(request)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, context.Canceled
		}
		return nil, transportFailure(err)
	}
	defer func() { _ = response.Body.Close() }() // only read
	reply, err := io.ReadAll(io.LimitReader(response.Body, c.maxReply+1))
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return nil, context.Canceled
	case err != nil:
		return nil, &Failure{Kind: Suspect, Err: fmt.Errorf("read reply: %w", withoutURL(err))}
	case int64(len(reply)) > c.maxReply:
		return nil, &Failure{Kind: Suspect, Err: fmt.Errorf("reply is longer than %d bytes", c.maxReply)}
	case response.StatusCode != http.StatusOK:
		return nil, &Failure{Kind: kindOfStatus(response.StatusCode), Err: fmt.Errorf("status %d: %s", response.StatusCode, c.excerpt(reply))}
	}
	return reply, nil
}

// Authorize adds the key that a service asks for, in each way that one of them knows: as X-API-Key,
// and as a bearer token, which is all that llama.cpp took for long. An address with a login of its
// own keeps that instead of the token. An empty key adds nothing.
func Authorize(request *http.Request, apiKey string) {
	if apiKey == "" {
		return
	}
	request.Header.Set("X-API-Key", apiKey)
	if request.URL.User == nil {
		request.Header.Set("Authorization", "Bearer "+apiKey)
	}
}

// transportFailure tells a service that is not there from one that broke off in the middle.
func transportFailure(err error) *Failure {
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "dial" {
		return &Failure{Kind: Away, Err: withoutURL(err)}
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return &Failure{Kind: Away, Err: withoutURL(err)}
	}
	return &Failure{Kind: Suspect, Err: withoutURL(err)}
}

// kindOfStatus sorts the status codes that are no success.
func kindOfStatus(status int) Kind {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return Refused
	case http.StatusInternalServerError:
		return Suspect
	default: // loading, overloaded, a wrong key, another service at this address
		return Away
	}
}

// withoutURL takes the address, which may carry a password, out of an error of net/http.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// redactor replaces the key and the password of the address, since a service may repeat in an error
// what it was sent.
func redactor(apiKey string, user *url.Userinfo) *strings.Replacer {
	const redacted = "(secret)"
	var pairs []string
	if apiKey != "" {
		pairs = append(pairs, apiKey, redacted)
	}
	if password, set := user.Password(); set && password != "" {
		login := user.Username() + ":" + password
		pairs = append(pairs, base64.StdEncoding.EncodeToString([]byte(login)), redacted, password, redacted)
	}
	return strings.NewReplacer(pairs...)
}

// excerpt makes the beginning of a reply fit for a log line. What is secret is taken out before it
// is cut, so that no part stays.
func (c *Client) excerpt(reply []byte) string {
	const longest = 200
	text := c.redact.Replace(string(reply))
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text[:min(len(text), 4*longest)], "\uFFFD")), " ")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "…"
	}
	return text
}
