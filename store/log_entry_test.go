package store_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func TestInsertLogs(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	require.NoError(t, db.InsertLogs(t.Context(), nil))
	require.NoError(t, db.InsertLogs(t.Context(), []store.LogEntry{
		{
			Timestamp: base(), Level: "WARNING", Component: "detect", Message: `quotes " ' { } , \ and NULL`, CameraID: "a",
			RequestID: "r-1", Extra: json.RawMessage(`{"n": 1, "text": "a\"b"}`),
		},
		{Timestamp: base(), Level: "ERROR", Component: "x", Message: ""},
		{Timestamp: base(), Level: "ERROR", Component: "x\x00", Message: "bad \xff\xfe bytes", Extra: json.RawMessage(`{"a":"\u0000"}`)},
		{Timestamp: base(), Level: "ERROR", Component: strings.Repeat("é", 99), Message: strings.Repeat("é", 20000), Extra: json.RawMessage(`{`)},
		{Timestamp: time.Time{}, Level: "ERROR", Component: "x", Message: "NULL"},
	}))
	type row struct {
		Timestamp time.Time `db:"timestamp"`
		Level     string    `db:"level"`
		Component string    `db:"component"`
		Message   string    `db:"message"`
		CameraID  *string   `db:"camera_id"`
		RequestID *string   `db:"request_id"`
		Extra     *string   `db:"extra"`
	}
	rows := storetest.Query[row](t, db, `SELECT timestamp, level, component, message, camera_id, request_id, extra FROM logs ORDER BY id`)
	require.Len(t, rows, 5)
	require.True(t, rows[0].Timestamp.Equal(base()))
	require.Equal(t, `quotes " ' { } , \ and NULL`, rows[0].Message)
	require.Equal(t, "a", *rows[0].CameraID)
	require.Equal(t, "r-1", *rows[0].RequestID)
	require.JSONEq(t, `{"n": 1, "text": "a\"b"}`, *rows[0].Extra)
	require.Nil(t, rows[1].CameraID)
	require.Nil(t, rows[1].Extra)
	require.Equal(t, "bad \uFFFD bytes", rows[2].Message)
	require.Equal(t, 50, utf8.RuneCountInString(rows[3].Component))
	require.Equal(t, 8000, utf8.RuneCountInString(rows[3].Message))
	require.JSONEq(t, `{"dropped": "not JSON"}`, *rows[3].Extra)
	require.Equal(t, "NULL", rows[4].Message)
	require.Equal(t, int64(5), requireNoDrift(t, db).Logs)
}
