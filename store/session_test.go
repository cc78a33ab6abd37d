package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func TestSessions(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ctx := t.Context()
	key, other := store.SessionHash{1}, store.SessionHash{2}
	actor := store.Actor{
		Name: "api_key:01000000", IPAddress: "192.0.2.1", UserAgent: "browser",
		RequestID: "r1",
	}

	expiresAt, err := db.CreateSession(ctx, store.SessionHash{10}, key, time.Hour, actor)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), expiresAt, time.Minute)
	require.Zero(t, expiresAt.Nanosecond())
	found, err := db.Session(ctx, store.SessionHash{10})
	require.NoError(t, err)
	require.Equal(t, key, found.Key)
	require.InDelta(t, time.Hour, found.Left, float64(time.Minute))
	_, err = db.Session(ctx, store.SessionHash{11})
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = db.CreateSession(ctx, store.SessionHash{10}, key, time.Hour, actor)
	require.ErrorIs(t, err, store.ErrConflict)

	// Time ends them, and the next one takes the rows away.
	storetest.Exec(t, db, `UPDATE sessions SET expires_at = clock_timestamp()`)
	_, err = db.Session(ctx, store.SessionHash{10})
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = db.CreateSession(ctx, store.SessionHash{12}, key, time.Hour, actor)
	require.NoError(t, err)
	require.Equal(t, 1, storetest.QueryOne[int](t, db, `SELECT count(*) FROM sessions`))

	ended, err := db.EndSession(ctx, store.SessionHash{12}, actor)
	require.NoError(t, err)
	require.True(t, ended)
	ended, err = db.EndSession(ctx, store.SessionHash{12}, actor)
	require.NoError(t, err)
	require.False(t, ended)

	// Those of keys that have left the configuration.
	for i, hash := range []store.SessionHash{key, other, {3}} {
		_, err = db.CreateSession(ctx, store.SessionHash{20, byte(i)}, hash, time.Hour, actor)
		require.NoError(t, err)
	}
	gone, err := db.EndSessionsOfOtherKeys(ctx, []store.SessionHash{key, {4}})
	require.NoError(t, err)
	require.EqualValues(t, 2, gone)
	_, err = db.Session(ctx, store.SessionHash{20, 0})
	require.NoError(t, err)
	gone, err = db.EndSessionsOfOtherKeys(ctx, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, gone)

	require.NoError(t, db.RecordRefusedKey(ctx, store.Actor{
		Name:      "anonymous",
		IPAddress: "192.0.2.9", RequestID: "r\x002",
	}))
	entries, err := db.AuditEntries(ctx, 10)
	require.NoError(t, err)
	var actions []string
	for _, entry := range entries {
		actions = append(actions, entry.Action+" "+entry.Status)
	}
	require.Equal(t, []string{
		"key_refused failure", "session_created success", "session_created success",
		"session_created success", "session_ended success",
		"session_created success", "session_created success",
	}, actions)
	require.Equal(t, "192.0.2.9", *entries[0].IPAddress)
	require.JSONEq(t, `{"request_id":"r\ufffd2"}`, string(entries[0].Details))
	require.True(t, json.Valid(entries[1].Details))
}

// TestSessions_Bounded: a browser that loses its cookie again and again fills no table.
func TestSessions_Bounded(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	storetest.Exec(t, db, `INSERT INTO sessions (token_hash, key_hash, created_at, expires_at)
		SELECT sha256(i::text::bytea), sha256('key'), clock_timestamp() - (3000 - i) * interval '1 second', clock_timestamp() + interval '1 day'
		FROM generate_series(1, 2000) AS i`)
	key := store.SessionHash(storetest.QueryOne[[]byte](t, db, `SELECT sha256('key')`))
	_, err := db.CreateSession(t.Context(), store.SessionHash{1}, key, time.Hour,
		store.Actor{Name: "x"})
	require.NoError(t, err)
	require.Equal(t, 1000, storetest.QueryOne[int](t, db, `SELECT count(*) FROM sessions`))
	_, err = db.Session(t.Context(), store.SessionHash{1})
	require.NoError(t, err)
	require.True(t, storetest.QueryOne[bool](t, db,
		`SELECT NOT EXISTS (SELECT FROM sessions WHERE token_hash = sha256('1'))`),
		"the oldest have gone")
}

func TestSessionCookieSuffix_IsOfTheInstallation(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, storetest.NewEmptyURL(t))
	first, err := db.SessionCookieSuffix(t.Context())
	require.NoError(t, err)
	require.Regexp(t, `^[0-9a-f]{8}$`, first)
	again, err := db.SessionCookieSuffix(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, again)
	other, err := storetest.Open(t, storetest.NewEmptyURL(t)).SessionCookieSuffix(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first, other)
}
