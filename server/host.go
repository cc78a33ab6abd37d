package server

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// hostCheck decides which Host headers this server answers for. A page in a browser can make a name
// of its own resolve to this machine; the Host header then still carries that name, so refusing
// foreign names keeps such pages out.
type hostCheck struct {
	names map[string]struct{}
}

// newHostCheck accepts localhost, the machine's own name (as it is, its first label, and that with
// .local) and extra names.
func newHostCheck(machine string, extra []string) (*hostCheck, error) {
	check := &hostCheck{names: map[string]struct{}{"localhost": {}}}
	if machine = normalizeName(machine); machine != "" {
		label, _, _ := strings.Cut(machine, ".")
		for _, name := range []string{machine, label, label + ".local"} {
			check.names[name] = struct{}{}
		}
	}
	for _, name := range extra {
		normal := normalizeName(name)
		if !validName(normal) {
			return nil, fmt.Errorf("ALLOWED_HOSTS: %q is not a host name without port", name)
		}
		check.names[normal] = struct{}{}
	}
	return check, nil
}

// allows tells whether the Host header, with or without port, is one of ours. An IP address always
// is: a page cannot make a browser send an address that is not the one in its own URL. So is a name
// without a dot, which nobody outside can own.
func (h *hostCheck) allows(header string) bool {
	host, ok := splitPort(header)
	if !ok {
		return false
	}
	if address, found := strings.CutPrefix(host, "["); found {
		ip, err := netip.ParseAddr(strings.TrimSuffix(address, "]"))
		return err == nil && ip.Is6()
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Is4()
	}
	name := normalizeName(host)
	if !validName(name) {
		return false
	}
	if _, known := h.names[name]; known {
		return true
	}
	return !strings.Contains(name, ".")
}

// splitPort cuts the port off. The brackets of an IPv6 address stay.
func splitPort(header string) (host string, ok bool) {
	host, port := header, ""
	if end := strings.LastIndexByte(header, ']'); strings.HasPrefix(header, "[") {
		if end < 0 {
			return "", false
		}
		host, port = header[:end+1], header[end+1:]
	} else if colon := strings.IndexByte(header, ':'); colon >= 0 {
		host, port = header[:colon], header[colon:]
	}
	if port == "" || port == ":" {
		return host, host != ""
	}
	if port[0] != ':' {
		return "", false
	}
	_, err := strconv.ParseUint(port[1:], 10, 16)
	return host, err == nil && host != ""
}

// normalizeName lowers the case and drops the dot that ends a complete name.
func normalizeName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// validName accepts letters, digits, hyphens and underscores in labels that are not empty.
func validName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" {
			return false
		}
		for _, r := range label {
			switch {
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			default:
				return false
			}
		}
	}
	return true
}
