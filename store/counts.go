package store

import "context"

// Counts are exact numbers of rows, kept by triggers: reading them costs the same whatever they
// are.
type Counts struct {
	Cameras    int64 `db:"cameras"`
	Events     int64 `db:"events"`
	Detections int64 `db:"detections"`
	GPUSamples int64 `db:"gpu_stats"`
	Logs       int64 `db:"logs"`
}

// Counter is a count that triggers keep: of the rows of a table that a condition holds for.
type Counter struct{ Name, Table, Where string }

// Counters are all counts that triggers keep, for those who compare them with the rows.
func Counters() []Counter {
	return []Counter{
		{"cameras", "cameras", "true"},
		{"events", "events", "true"},
		{"detections", "detections", "true"},
		{"gpu_stats", "gpu_stats", "true"},
		{"logs", "logs", "true"},
		{"images_waiting", "images", "state IN ('seen', 'queued', 'detecting')"},
		{"batches_waiting", "batches", "state IN ('closed', 'queued', 'analyzing')"},
	}
}

// Counts reads the row counts of the tables that the API reports.
func (db *DB) Counts(ctx context.Context) (Counts, error) {
	var c Counts
	err := db.get(ctx, "read counts", &c, `
		SELECT coalesce(sum(row_count) FILTER (WHERE table_name = 'cameras'), 0)::bigint AS cameras,
		       coalesce(sum(row_count) FILTER (WHERE table_name = 'events'), 0)::bigint AS events,
		       coalesce(sum(row_count) FILTER (WHERE table_name = 'detections'), 0)::bigint AS detections,
		       coalesce(sum(row_count) FILTER (WHERE table_name = 'gpu_stats'), 0)::bigint AS gpu_stats,
		       coalesce(sum(row_count) FILTER (WHERE table_name = 'logs'), 0)::bigint AS logs
		FROM counters`)
	return c, err
}
