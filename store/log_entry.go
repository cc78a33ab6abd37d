package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/lib/pq"
)

// LogEntry is one row of the logs table.
type LogEntry struct {
	Timestamp time.Time
	Level     string // DEBUG, INFO, WARNING, ERROR
	Component string
	Message   string
	CameraID  string          // empty: none
	RequestID string          // empty: none
	Extra     json.RawMessage // a JSON object, empty: none
}

// InsertLogs stores entries in one statement. Texts that the database would refuse are mended,
// over-long ones are cut, so that one odd entry never costs the others.
func (db *DB) InsertLogs(ctx context.Context, entries []LogEntry) error {
	if len(entries) == 0 {
		return nil
	}
	n := len(entries)
	times, levels, components, messages := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	cameras, requests, extras := make([]*string, n), make([]*string, n), make([]*string, n)
	for i, e := range entries {
		times[i] = storable(e.Timestamp).Format(time.RFC3339Nano)
		levels[i], components[i] = clean(e.Level, maxLevel), clean(e.Component, maxComponent)
		messages[i] = clean(e.Message, maxMessage)
		cameras[i] = nullString(clean(e.CameraID, maxCameraID))
		requests[i] = nullString(clean(e.RequestID, maxRequestID))
		extras[i] = nullString(cleanJSON(e.Extra))
	}
	_, err := db.exec(ctx, "insert logs", `
		INSERT INTO logs (timestamp, level, component, message, camera_id, request_id, extra)
		SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[])`,
		pq.Array(times), pq.Array(levels), pq.Array(components), pq.Array(messages),
		pq.Array(cameras), pq.Array(requests), pq.Array(extras))
	return err
}

// cleanJSON drops what jsonb would refuse: broken or huge documents, and the escape of NUL.
func cleanJSON(raw json.RawMessage) string {
	switch {
	case len(raw) == 0:
		return ""
	case len(raw) > maxExtraBytes:
		return `{"dropped":"too long"}`
	case !json.Valid(raw):
		return `{"dropped":"not JSON"}`
	}
	s := strings.ToValidUTF8(string(raw), "\uFFFD")
	// \u0000 is refused by jsonb. An escaped backslash before u0000 changes too, which harms
	// nobody.
	return strings.ReplaceAll(s, `\u0000`, `\ufffd`)
}
