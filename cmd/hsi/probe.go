package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// probeTimeout stays below the shortest usual timeout of a container health check.
const probeTimeout = 3 * time.Second

// probe asks a running server for its liveness, or with ready for its readiness, and returns nil on
// 200. It uses plain net/http so that it works whatever the state of the rest is.
func probe(ctx context.Context, cfg Config, ready bool, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	host := cfg.APIHost
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
	}
	path := "/health"
	if ready {
		path = "/ready"
	}
	address := "http://" + net.JoinHostPort(host, strconv.Itoa(int(cfg.APIPort))) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return fmt.Errorf("probe %s: %w", address, err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}}
	resp, err := client.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // its own words repeat the address
	}
	if err != nil {
		return fmt.Errorf("no answer from %s: is the server running with these settings? (%w)", address, err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("probe %s: %w", address, err)
	}
	if _, err := fmt.Fprintf(w, "%s\n", bytes.TrimSpace(body)); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("probe %s: status %d", address, resp.StatusCode)
	}
	return nil
}
