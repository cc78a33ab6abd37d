package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// proxies are the addresses whose X-Forwarded-For is believed.
type proxies []netip.Prefix

func (p proxies) trusts(address netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// trustsPeer tells whether a request comes directly from a trusted proxy.
func (p proxies) trustsPeer(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && p.trusts(peer.Addr().Unmap())
}

// clientIP returns the address of the client, or "" when it is not known. Each trusted proxy adds
// the address that it saw at the end of X-Forwarded-For, so the list is read from the end and the
// first address that is not a trusted proxy is the client; what stands before it may be made up.
func (p proxies) clientIP(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	client := peer.Addr().Unmap()
	if !p.trusts(client) {
		return client.String()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(hops) {
		hop, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			break
		}
		client = hop.Unmap().WithZone("")
		if !p.trusts(client) {
			break
		}
	}
	return client.String()
}
