package store

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// ReleaseClaims gives back the images and batches whose claim tokens begin with owner but not with
// except, and returns how many. It is for a process that knows that its predecessor is dead, and so
// need not wait for the leases to end. Their attempts stay counted: the work may be what killed it.
func (db *DB) ReleaseClaims(ctx context.Context, owner, except string) (int64, error) {
	if owner == "" || except == "" {
		return 0, fmt.Errorf("release claims: owner and exception must be named: %w", ErrInvalid)
	}
	var n int64
	err := db.InTx(ctx, "release claims", func(ctx context.Context, tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &n, `
			WITH i AS (
				UPDATE images SET state = 'seen', claimed_by = NULL, claimed_until = NULL
				WHERE state = 'detecting' AND starts_with(claimed_by, $1) AND NOT starts_with(claimed_by, $2) RETURNING 1),
			b AS (
				UPDATE batches SET state = 'closed', claimed_by = NULL, claimed_until = NULL
				WHERE state = 'analyzing' AND starts_with(claimed_by, $1) AND NOT starts_with(claimed_by, $2) RETURNING 1)
			SELECT (SELECT count(*) FROM i) + (SELECT count(*) FROM b)`, owner, except)
	})
	return n, err
}
