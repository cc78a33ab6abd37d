package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// redacted stands for a secret wherever settings are printed.
const redacted = "(secret)"

// seconds is a duration written as a number of seconds, as the replaced server's settings have it.
type seconds time.Duration

// UnmarshalText reads "90" or "0.5".
func (s *seconds) UnmarshalText(text []byte) error {
	value, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	if err != nil || value != value || value > float64(maxBatchTime/time.Second) || value < 0 {
		return errors.New("must be a number of seconds")
	}
	*s = seconds(value * float64(time.Second))
	return nil
}

func (s seconds) String() string {
	return strconv.FormatFloat(time.Duration(s).Seconds(), 'g', -1, 64)
}

// flag is a boolean in any of the spellings that the replaced server takes.
type flag bool

// UnmarshalText reads true/1/t/yes/y/on and their opposites in any case.
func (f *flag) UnmarshalText(text []byte) error {
	switch strings.ToLower(strings.TrimSpace(string(text))) {
	case "true", "1", "t", "yes", "y", "on":
		*f = true
	case "false", "0", "f", "no", "n", "off":
		*f = false
	default:
		return errors.New("must be true or false")
	}
	return nil
}

// stringList is a JSON array of strings or a comma list.
type stringList []string

// UnmarshalText reads `["a","b"]` or `a, b`.
func (l *stringList) UnmarshalText(text []byte) error {
	raw := strings.TrimSpace(string(text))
	var items []string
	if strings.HasPrefix(raw, "[") {
		if err := json.Unmarshal([]byte(raw), &items); err != nil {
			return errors.New("must be a JSON array of strings or a comma list")
		}
	} else {
		items = strings.Split(raw, ",")
	}
	*l = nil
	for _, item := range items {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

func (l stringList) String() string { return strings.Join(l, ",") }

// secretList is a stringList that is never printed.
type secretList []string

// UnmarshalText reads what stringList reads.
func (l *secretList) UnmarshalText(text []byte) error { return (*stringList)(l).UnmarshalText(text) }

func (l secretList) String() string {
	if len(l) == 0 {
		return ""
	}
	return fmt.Sprintf("%s, %d of them", redacted, len(l))
}

// secret is a text that is never printed.
type secret string

func (s secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// prefixList is a list of addresses or networks.
type prefixList []netip.Prefix

// UnmarshalText reads addresses ("10.0.0.1") and networks ("10.0.0.0/8").
func (l *prefixList) UnmarshalText(text []byte) error {
	var items stringList
	if err := items.UnmarshalText(text); err != nil {
		return err
	}
	*l = nil
	for _, item := range items {
		prefix, err := netip.ParsePrefix(item)
		if err != nil {
			addr, addrErr := netip.ParseAddr(item)
			if addrErr != nil {
				return fmt.Errorf("%q is neither an address nor a network", item)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		*l = append(*l, prefix.Masked())
	}
	return nil
}

func (l prefixList) String() string {
	items := make(stringList, len(l))
	for i, prefix := range l {
		items[i] = prefix.String()
	}
	return items.String()
}

// secretURL is an address that may carry a password, which is never printed.
type secretURL string

// String shows scheme, host and path; user information and query values are left out.
func (u secretURL) String() string {
	if u == "" {
		return ""
	}
	parsed, err := url.Parse(string(u))
	if err != nil {
		return redacted
	}
	shown := url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path}
	if parsed.User != nil {
		shown.User = url.User(parsed.User.Username())
		if _, hasPassword := parsed.User.Password(); hasPassword {
			shown.User = url.UserPassword(parsed.User.Username(), "xxx")
		}
	}
	return shown.String()
}

// check adds a problem when the URL does not parse or has another scheme; the text of the URL is
// not repeated.
func (u secretURL) check(found *[]error, name string, schemes ...string) {
	if u == "" {
		return
	}
	parsed, err := url.Parse(string(u))
	if err != nil {
		*found = append(*found, fmt.Errorf("%s: is not a URL; write special characters of a password as %%XX", name))
		return
	}
	placed := parsed.Host != "" || parsed.Query().Has("host") || (parsed.Scheme == "unix" && parsed.Path != "")
	if !placed || !slices.Contains(schemes, parsed.Scheme) {
		*found = append(*found, fmt.Errorf("%s: must be a URL that starts with %s://", name, strings.Join(schemes, ":// or ")))
	}
}

// logLevel is a slog level under the names that the replaced server uses.
type logLevel slog.Level

// UnmarshalText reads DEBUG, INFO, WARNING (or WARN), ERROR and CRITICAL in any case.
func (l *logLevel) UnmarshalText(text []byte) error {
	switch strings.ToUpper(strings.TrimSpace(string(text))) {
	case "DEBUG":
		*l = logLevel(slog.LevelDebug)
	case "INFO":
		*l = logLevel(slog.LevelInfo)
	case "WARNING", "WARN":
		*l = logLevel(slog.LevelWarn)
	case "ERROR", "CRITICAL":
		*l = logLevel(slog.LevelError)
	default:
		return errors.New("must be DEBUG, INFO, WARNING or ERROR")
	}
	return nil
}

func (l logLevel) String() string {
	if slog.Level(l) == slog.LevelWarn {
		return "WARNING"
	}
	return slog.Level(l).String()
}

var (
	hostNamePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	keyHashPattern  = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

func validHostName(name string) bool { return hostNamePattern.MatchString(name) }

// checkAPIKey refuses keys that could be guessed and hashes that are none. The key is not repeated
// in the error.
func checkAPIKey(key string) error {
	if hash, ok := strings.CutPrefix(key, "sha256:"); ok {
		if !keyHashPattern.MatchString(hash) {
			return errors.New("sha256: must be followed by 64 hexadecimal digits")
		}
		return nil
	}
	if len(key) < minAPIKeyLength {
		return fmt.Errorf("is shorter than %d characters", minAPIKeyLength)
	}
	return nil
}

// minAPIKeyLength keeps out keys that can be tried through; `hsi key new` makes 43 characters.
const minAPIKeyLength = 8
