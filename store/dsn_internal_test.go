package store

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"testing"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		url, host, user, password, database string
		mode                                pq.SSLMode
	}{
		"plain": {"postgres://u:p@db:5433/hsi", "db", "u", "p", "hsi", pq.SSLModePrefer},
		"long":  {"postgresql://u:p@db/hsi", "db", "u", "p", "hsi", pq.SSLModePrefer},
		"asyncpg of the old server": {
			"postgresql+asyncpg://security:secret%20word@postgres:5432/security", "postgres", "security", "secret word",
			"security", pq.SSLModePrefer,
		},
		"asyncpg's ssl":    {"postgresql+asyncpg://u:p@db/hsi?ssl=require", "db", "u", "p", "hsi", pq.SSLModeRequire},
		"sslmode is kept":  {"postgres://u:p@db/hsi?sslmode=disable", "db", "u", "p", "hsi", pq.SSLModeDisable},
		"socket in query":  {"postgres://hsi@/hsi?host=/run/hsi&sslmode=disable", "/run/hsi", "hsi", "", "hsi", pq.SSLModeDisable},
		"socket, no mode":  {"postgresql+asyncpg://hsi@/hsi?host=/run/hsi", "/run/hsi", "hsi", "", "hsi", pq.SSLModeDisable},
		"password escaped": {"postgres://u:p%40%2F%3F@db/hsi", "db", "u", "p@/?", "hsi", pq.SSLModePrefer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, err := parseURL(test.url)
			require.NoError(t, err)
			cfg, err := pq.NewConfig(dsn)
			require.NoError(t, err)
			require.Equal(t, test.host, cfg.Host)
			require.Equal(t, test.user, cfg.User)
			require.Equal(t, test.password, cfg.Password)
			require.Equal(t, test.database, cfg.Database)
			require.Equal(t, test.mode, cfg.SSLMode)
			require.Equal(t, "hsi", cfg.ApplicationName)
			require.Equal(t, connectTimeout, cfg.ConnectTimeout)
			require.Equal(t, "60000", cfg.Runtime["statement_timeout"])
			require.NotContains(t, cfg.Runtime, "ssl", "the server would refuse it")
			require.True(t, cfg.BinaryParameters)
		})
	}
}

func TestOpen_NoPasswordInErrors(t *testing.T) {
	t.Parallel()
	for _, databaseURL := range []string{
		"postgres://user:hunter2%zz@db/hsi",
		"postgres://user:hunter2@db:port/hsi",
		"postgres://user:hunter2@db/hsi?sslmode=hunter2",
		"postgres://user:hunter2@db/hsi?connect_timeout=hunter2",
		"postgres://user@db/hsi?password=hunter2&sslmode=nonsense",
		"postgres://user:hunter2@[::1/hsi",
		"mysql://user:hunter2@db/hsi",
		"user=user password=hunter2",
		"postgres://user:hunter2@db/hsi?a=%zz",
		"postgres://user:hunter2@db\x7f/hsi",
	} {
		_, err := Open(Config{URL: databaseURL, Log: slog.New(slog.DiscardHandler)})
		require.Error(t, err, databaseURL)
		require.NotContains(t, err.Error(), "hunter2")
	}
	// A server that refuses: port 1 has none.
	db, err := Open(Config{URL: "postgres://user:hunter2@127.0.0.1:1/hsi", Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err, "Open never dials")
	err = db.Migrate(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
	require.NotContains(t, err.Error(), "hunter2")
	require.NoError(t, db.Close())
}

func TestClassify(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	overdue, cancel := context.WithTimeout(t.Context(), 0)
	t.Cleanup(cancel)
	for name, test := range map[string]struct {
		ctx  context.Context
		err  error
		want []error
	}{
		"no rows":              {t.Context(), sql.ErrNoRows, []error{ErrNotFound}},
		"unique":               {t.Context(), &pq.Error{Code: "23505"}, []error{ErrConflict}},
		"check":                {t.Context(), &pq.Error{Code: "23514"}, []error{ErrInvalid}},
		"NUL in text":          {t.Context(), &pq.Error{Code: "22021"}, []error{ErrInvalid}},
		"no table":             {t.Context(), &pq.Error{Code: "42P01"}, []error{ErrUnavailable}},
		"disk full":            {t.Context(), &pq.Error{Code: "53100"}, []error{ErrUnavailable}},
		"too many connections": {t.Context(), &pq.Error{Code: "53300"}, []error{ErrUnavailable}},
		"read-only":            {t.Context(), &pq.Error{Code: "25006"}, []error{ErrUnavailable, ErrReadOnly}},
		"lock":                 {t.Context(), &pq.Error{Code: "55P03"}, []error{ErrUnavailable}},
		"deadlock":             {t.Context(), &pq.Error{Code: "40P01"}, []error{ErrUnavailable}},
		"wrong password":       {t.Context(), &pq.Error{Code: "28P01"}, []error{ErrUnavailable, ErrLoginRefused}},
		"no such user":         {t.Context(), &pq.Error{Code: "28000"}, []error{ErrUnavailable, ErrLoginRefused}},
		"no such database":     {t.Context(), &pq.Error{Code: "3D000"}, []error{ErrUnavailable, ErrNoDatabase}},
		"shutting down":        {t.Context(), &pq.Error{Code: "57P03"}, []error{ErrUnavailable}},
		"connection":           {t.Context(), io.ErrUnexpectedEOF, []error{ErrUnavailable}},
		"kept kind":            {t.Context(), ErrClaimLost, []error{ErrClaimLost}},
		"cancelled":            {cancelled, io.EOF, []error{context.Canceled}},
		"deadline":             {overdue, errors.New("i/o timeout"), []error{ErrUnavailable, context.DeadlineExceeded}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := Classify(test.ctx, "try", test.err)
			require.ErrorContains(t, err, "try: ")
			for _, want := range test.want {
				require.ErrorIs(t, err, want)
			}
			kinds := 0
			for _, kind := range []error{ErrNotFound, ErrConflict, ErrInvalid, ErrUnavailable, ErrClaimLost} {
				if errors.Is(err, kind) {
					kinds++
				}
			}
			require.LessOrEqual(t, kinds, 1, "one kind at most")
			reasons := 0
			for _, reason := range []error{ErrLoginRefused, ErrNoDatabase, ErrReadOnly} {
				if errors.Is(err, reason) {
					reasons++
				}
			}
			require.LessOrEqual(t, reasons, 1, "one reason at most")
		})
	}
	require.NoError(t, Classify(t.Context(), "try", nil))
	require.NotErrorIs(t, Classify(t.Context(), "try", &pq.Error{Code: "42601"}), ErrUnavailable, "our own mistake stays visible")
}

func TestParseURL_KeepsQuery(t *testing.T) {
	t.Parallel()
	dsn, err := parseURL("postgres://u:p@db/hsi?application_name=mine&statement_timeout=5")
	require.NoError(t, err)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	require.Equal(t, "mine", u.Query().Get("application_name"))
	require.Equal(t, "5", u.Query().Get("statement_timeout"))
}
