package store

import (
	"context"
	"time"
)

// Clock reads the clock of the database, by which all rows are dated.
func (db *DB) Clock(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := db.get(ctx, "read clock", &now, `SELECT clock_timestamp()`)
	return now.UTC(), err
}
