package store

import (
	"context"
	"fmt"

	"github.com/lib/pq"
)

// Adopt makes the methods of this DB usable on a schema that another process keeps, as a command
// beside the server does. It only looks: ErrNewerDatabase, or ErrUnavailable while the schema is
// missing or older than this program.
func (db *DB) Adopt(ctx context.Context) error {
	provider, err := newProvider(db.pool.DB)
	if err != nil {
		return err
	}
	var version int64
	query := `SELECT coalesce(max(version_id), 0) FROM ` + pq.QuoteIdentifier(versionTable)
	if err := db.pool.GetContext(ctx, &version, query); err != nil {
		return Classify(ctx, "read schema version", err)
	}
	switch latest := latestVersion(provider); {
	case version > latest:
		return fmt.Errorf("%w: its schema has version %d, this program knows %d", ErrNewerDatabase, version, latest)
	case version < latest:
		return fmt.Errorf("the schema has version %d, this program needs %d: %w", version, latest, ErrUnavailable)
	}
	db.migration.markDone()
	return nil
}
