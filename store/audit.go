package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// Actor is who asked for a change.
type Actor struct {
	Name      string // api_key:<first 8 of its sha256>, anonymous, cli
	IPAddress string
	UserAgent string
	RequestID string
}

// AuditEntry is one row of the audit trail.
type AuditEntry struct {
	ID           int64           `db:"id"`
	Timestamp    time.Time       `db:"timestamp"`
	Action       string          `db:"action"`
	ResourceType string          `db:"resource_type"`
	ResourceID   *string         `db:"resource_id"`
	Actor        string          `db:"actor"`
	IPAddress    *string         `db:"ip_address"`
	UserAgent    *string         `db:"user_agent"`
	Details      json.RawMessage `db:"details"`
	Status       string          `db:"status"`
}

// AuditEntries lists the newest limit entries, newest first.
func (db *DB) AuditEntries(ctx context.Context, limit int) ([]AuditEntry, error) {
	entries, err := list[AuditEntry](ctx, db, "list audit entries", `
		SELECT id, timestamp, action, resource_type, resource_id, actor, ip_address, user_agent,
		       coalesce(details, 'null') AS details, status
		FROM audit_logs ORDER BY timestamp DESC, id DESC LIMIT $1`, limit)
	for i := range entries {
		entries[i].Timestamp = entries[i].Timestamp.UTC()
	}
	return entries, err
}

// audit adds one entry to the transaction that makes the change.
func audit(
	ctx context.Context, tx *sqlx.Tx, action, resourceType string, actor Actor, details map[string]any,
) error {
	return Audit(ctx, tx, action, resourceType, "", actor, details)
}

// Audit adds one entry to the transaction that makes the change, for the packages below store.
// resourceID is empty when the change is of no single thing. details is changed.
func Audit(
	ctx context.Context, tx *sqlx.Tx, action, resourceType, resourceID string, actor Actor, details map[string]any,
) error {
	if actor.RequestID != "" {
		details["request_id"] = clean(actor.RequestID, maxRequestID)
	}
	encoded, err := json.Marshal(details)
	if err != nil {
		return fmt.Errorf("encode audit details: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO audit_logs (timestamp, action, resource_type, resource_id, actor, ip_address, user_agent, details)
		VALUES (clock_timestamp(), $1, $2, $3, $4, $5, $6, $7)`,
		action, resourceType, nullString(clean(resourceID, maxResourceID)), clean(actor.Name, maxActor),
		nullString(clean(actor.IPAddress, maxIPAddress)), nullString(clean(actor.UserAgent, maxUserAgent)), string(encoded))
	if err != nil {
		return fmt.Errorf("insert audit entry: %w", err)
	}
	return nil
}
