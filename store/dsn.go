package store

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"
)

// Settings of each session. They bound what a client that died or froze can hold on to; the
// deadline of a single call is its context's.
const (
	connectTimeout           = 5 * time.Second
	statementTimeout         = 60 * time.Second
	lockTimeout              = 20 * time.Second
	idleInTransactionTimeout = 60 * time.Second
)

// parseURL turns DATABASE_URL into a connection string for lib/pq. No error text ever repeats the
// URL, because it carries the password.
func parseURL(raw string) (string, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", errors.New("database URL: want postgres://user:password@host:port/name")
	}
	switch scheme {
	case "postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2":
	default:
		return "", errors.New("database URL: the scheme must be postgres, postgresql or postgresql+asyncpg")
	}
	u, err := url.Parse("postgres://" + rest)
	if err != nil {
		return "", errors.New("database URL: cannot be parsed (special characters of a password must be percent-encoded)")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", errors.New("database URL: its query part cannot be parsed")
	}
	if ssl := q.Get("ssl"); ssl != "" { // the name asyncpg uses
		q.Del("ssl")
		setDefault(q, "sslmode", sslModeOf(ssl))
	}
	setDefault(q, "sslmode", string(pq.SSLModePrefer))
	setDefault(q, "application_name", "hsi")
	setDefault(q, "connect_timeout", strconv.Itoa(int(connectTimeout/time.Second)))
	setDefault(q, "statement_timeout", millis(statementTimeout))
	setDefault(q, "lock_timeout", millis(lockTimeout))
	setDefault(q, "idle_in_transaction_session_timeout", millis(idleInTransactionTimeout))
	setDefault(q, "binary_parameters", "yes") // one round trip for each statement instead of two
	u.RawQuery = q.Encode()
	dsn := u.String()
	if _, err := pq.NewConfig(dsn); err != nil {
		return "", fmt.Errorf("database URL: %s", redact(err.Error(), u))
	}
	return dsn, nil
}

func setDefault(q url.Values, key, value string) {
	if !q.Has(key) {
		q.Set(key, value)
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func sslModeOf(ssl string) string {
	switch strings.ToLower(ssl) {
	case "true", "on", "1":
		return string(pq.SSLModeRequire)
	case "false", "off", "0":
		return string(pq.SSLModeDisable)
	}
	return ssl
}

// redact removes what is secret from a text of the driver about this URL.
func redact(text string, u *url.URL) string {
	secrets := []string{u.Query().Get("password")}
	if password, ok := u.User.Password(); ok {
		secrets = append(secrets, password, url.QueryEscape(password), url.PathEscape(password))
	}
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "xxxxx")
		}
	}
	return text
}
