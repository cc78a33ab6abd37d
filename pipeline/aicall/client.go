// Package aicall makes HTTP calls to AI services that may be slow, broken, or not what they should be: each call has a deadline
// and a bound on the reply, and each failure says whether the service or the work is to blame.
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
	"sync/atomic"
	"time"
)

// Options of a Client.
type Options struct {
	// URL is the address of the service, such as http://localhost:8090. A path in it is kept. Required.
	URL string
	// APIKey is sent as X-API-Key; empty sends none.
	APIKey string
	// ConnectTimeout bounds the connection (default 10 s), ReadTimeout all from then to the end of the reply (default 60 s).
	ConnectTimeout, ReadTimeout time.Duration
	// MaxReplyBytes bounds the reply. Defaults to 1 MiB.
	MaxReplyBytes int64
}

// Client calls one service. It is safe for concurrent use.
type Client struct {
	base     string
	apiKey   string
	redact   *strings.Replacer // takes what was sent in confidence out of what the service says
	limit    time.Duration
	maxReply int64
	http     *http.Client

	inFlight atomic.Int64
	failures atomic.Int64 // calls in a row that were no success
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
	dialer := &net.Dialer{Timeout: options.ConnectTimeout, KeepAlive: 15 * time.Second}
	return &Client{
		base: strings.TrimRight(options.URL, "/"), apiKey: options.APIKey, maxReply: options.MaxReplyBytes,
		limit: options.ConnectTimeout + options.ReadTimeout, redact: redactor(options.APIKey, parsed.User),
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

// Busy tells whether a call is in progress.
func (c *Client) Busy() bool { return c.inFlight.Load() > 0 }

// CloseIdle closes connections that are not in use.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// Post sends a body and returns the body of the reply with status 200. Any other outcome is a *Failure, or context.Canceled when
// the caller gave up; a deadline that passes, whoever set it, is a failure of a service that is too slow. A caller that finds the reply to be nonsense reports it with Nonsense, else it calls Succeeded.
func (c *Client) Post(ctx context.Context, path, contentType string, body []byte) ([]byte, error) {
	c.inFlight.Add(1)
	defer c.inFlight.Add(-1)
	callCtx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	request, err := http.NewRequestWithContext(callCtx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", "application/json")
	if c.apiKey != "" {
		request.Header.Set("X-API-Key", c.apiKey)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, context.Canceled
		}
		return nil, c.transportFailure(err)
	}
	defer func() { _ = response.Body.Close() }() // only read
	reply, err := io.ReadAll(io.LimitReader(response.Body, c.maxReply+1))
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return nil, context.Canceled
	case err != nil:
		return nil, c.fail(Suspect, fmt.Errorf("read reply: %w", withoutURL(err)))
	case int64(len(reply)) > c.maxReply:
		return nil, c.fail(Suspect, fmt.Errorf("reply is longer than %d bytes", c.maxReply))
	case response.StatusCode != http.StatusOK:
		return nil, c.fail(kindOfStatus(response.StatusCode), fmt.Errorf("status %d: %s", response.StatusCode, c.excerpt(reply)))
	}
	return reply, nil
}

// Succeeded notes that a reply made sense.
func (c *Client) Succeeded() { c.failures.Store(0) }

// Nonsense notes that a reply made no sense and returns the failure.
func (c *Client) Nonsense(err error) *Failure { return c.fail(Suspect, err) }

// transportFailure tells a service that is not there from one that broke off in the middle.
func (c *Client) transportFailure(err error) *Failure {
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "dial" {
		return c.fail(Away, withoutURL(err))
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return c.fail(Away, withoutURL(err))
	}
	return c.fail(Suspect, withoutURL(err))
}

// fail counts a failure. After several in a row it is the service and not the work that is suspected.
func (c *Client) fail(kind Kind, err error) *Failure {
	const patience = 3
	if c.failures.Add(1) > patience && kind == Suspect {
		kind = Away
	}
	return &Failure{Kind: kind, Err: err}
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

// redactor replaces the key and the password of the address, since a service may repeat in an error what it was sent.
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

// excerpt makes the beginning of a reply fit for a log line. What is secret is taken out before it is cut, so that no part stays.
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
