package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// maxSessionsPerKey bounds the table: a browser that loses its cookie again and again leaves a row
// each time. The oldest go.
const maxSessionsPerKey = 1000

// SessionHash is the SHA-256 of a session's secret, or of a key.
type SessionHash [32]byte

// Session is what a browser's cookie stands for.
type Session struct {
	Key  SessionHash
	Left time.Duration // until it ends, by the clock of the database
}

// SessionCookieSuffix is what tells the cookie of this installation from that of another one on the
// same host.
func (db *DB) SessionCookieSuffix(ctx context.Context) (string, error) {
	var suffix string
	err := db.get(ctx, "read name of session cookie", &suffix, `SELECT suffix FROM session_cookie`)
	return suffix, err
}

// CreateSession stores a session that stands for a key, with an audit entry, and returns when it
// ends. Sessions that have ended go.
func (db *DB) CreateSession(
	ctx context.Context, secret, key SessionHash, lifetime time.Duration, actor Actor,
) (time.Time, error) {
	var expiresAt time.Time
	err := db.InTx(ctx, "create session", func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `
			DELETE FROM sessions WHERE expires_at <= clock_timestamp() OR token_hash IN (
				SELECT token_hash FROM sessions WHERE key_hash = $1
				ORDER BY created_at DESC OFFSET $2)`, key[:], maxSessionsPerKey-1)
		if err != nil {
			return fmt.Errorf("delete old sessions: %w", err)
		}
		err = tx.GetContext(ctx, &expiresAt, `
			INSERT INTO sessions (token_hash, key_hash, expires_at)
			VALUES ($1, $2, date_trunc('second', clock_timestamp()) + $3 * interval '1 second')
			RETURNING expires_at`,
			secret[:], key[:], lifetime.Seconds())
		if err != nil {
			return fmt.Errorf("insert session: %w", err)
		}
		return audit(ctx, tx, "session_created", "session", actor, map[string]any{})
	})
	return expiresAt.UTC(), err
}

// Session returns the session with this secret, or ErrNotFound when there is none or it has ended.
func (db *DB) Session(ctx context.Context, secret SessionHash) (Session, error) {
	var row struct {
		Key  []byte  `db:"key_hash"`
		Left float64 `db:"left_seconds"`
	}
	err := db.get(ctx, "find session", &row, `
		SELECT key_hash,
		       extract(epoch FROM expires_at - clock_timestamp())::double precision AS left_seconds
		FROM sessions WHERE token_hash = $1 AND expires_at > clock_timestamp()`, secret[:])
	if err != nil {
		return Session{}, err
	}
	left := time.Duration(row.Left * float64(time.Second))
	return Session{Key: SessionHash(row.Key), Left: left}, nil
}

// EndSession deletes a session, with an audit entry, and tells whether there was one.
func (db *DB) EndSession(ctx context.Context, secret SessionHash, actor Actor) (bool, error) {
	ended := false
	err := db.InTx(ctx, "end session", func(ctx context.Context, tx *sqlx.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE token_hash = $1`, secret[:])
		if err != nil {
			return fmt.Errorf("delete session: %w", err)
		}
		deleted, err := result.RowsAffected()
		if ended = deleted > 0; err != nil || !ended {
			return err
		}
		return audit(ctx, tx, "session_ended", "session", actor, map[string]any{})
	})
	return ended, err
}

// EndSessionsOfOtherKeys deletes the sessions of keys that are no longer in the configuration, so
// that they stay gone when a key comes back, and returns how many.
func (db *DB) EndSessionsOfOtherKeys(ctx context.Context, keys []SessionHash) (int64, error) {
	configured := make([][]byte, len(keys))
	for i := range keys {
		configured[i] = keys[i][:]
	}
	return db.exec(ctx, "end sessions of other keys",
		`DELETE FROM sessions WHERE key_hash <> ALL ($1::bytea[])`, pq.Array(configured))
}

// RecordRefusedKey notes in the audit trail that a client sends wrong keys.
func (db *DB) RecordRefusedKey(ctx context.Context, actor Actor) error {
	details, err := json.Marshal(map[string]any{"request_id": clean(actor.RequestID, maxRequestID)})
	if err != nil {
		return fmt.Errorf("encode audit details: %w", err)
	}
	_, err = db.exec(ctx, "record refused key", `
		INSERT INTO audit_logs
			(timestamp, action, resource_type, actor, ip_address, user_agent, details, status)
		VALUES (clock_timestamp(), 'key_refused', 'session', $1, $2, $3, $4, 'failure')`,
		clean(actor.Name, maxActor), nullString(clean(actor.IPAddress, maxIPAddress)),
		nullString(clean(actor.UserAgent, maxUserAgent)), string(details))
	return err
}
