package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
	"github.com/stretchr/testify/require"
)

func TestKindOfCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[pqerror.Code]error{
		pqerror.UniqueViolation: ErrConflict, pqerror.ForeignKeyViolation: ErrConflict, pqerror.ExclusionViolation: ErrConflict,
		pqerror.CheckViolation: ErrInvalid, pqerror.NotNullViolation: ErrInvalid, pqerror.NumericValueOutOfRange: ErrInvalid,
		pqerror.UndefinedTable: ErrUnavailable, pqerror.InvalidSchemaName: ErrUnavailable,
		pqerror.ReadOnlySQLTransaction: ErrReadOnly, pqerror.DiskFull: ErrDiskFull,
		pqerror.IdleInTransactionSessionTimeout: ErrUnavailable, pqerror.InsufficientPrivilege: ErrUnavailable,
		pqerror.InvalidPassword: ErrLoginRefused, pqerror.InvalidCatalogName: ErrNoDatabase,
		"08006": ErrUnavailable, "40001": ErrUnavailable, "53200": ErrUnavailable, "55006": ErrUnavailable, "57014": ErrUnavailable,
		"58030": ErrUnavailable, "42601": nil, "42703": nil, "XX000": nil,
	} {
		require.Equal(t, want, kindOfCode(code), string(code))
	}
}

func TestIsConnectionError_AndWhetherAReadIsRepeated(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		errConnectionLost, driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pq.ErrSSLNotSupported,
		&net.OpError{Op: "dial", Err: errors.New("odd")}, syscall.ECONNRESET,
	} {
		wrapped := fmt.Errorf("read: %w", err)
		require.True(t, isConnectionError(wrapped), err)
		require.True(t, isRetryableRead(wrapped), err)
		require.Equal(t, ErrUnavailable, kindOf(wrapped), err)
	}
	for _, err := range []error{errors.New("odd"), context.Canceled, sql.ErrNoRows} {
		require.False(t, isConnectionError(err), err)
		require.False(t, isRetryableRead(err), err)
	}
	require.Equal(t, ErrNotFound, kindOf(sql.ErrNoRows))
	require.Equal(t, ErrUnavailable, kindOf(context.DeadlineExceeded))
	require.NoError(t, kindOf(errors.New("odd")))
	for code, want := range map[pqerror.Code]bool{
		pqerror.AdminShutdown: true, pqerror.CannotConnectNow: true, pqerror.QueryCanceled: false, pqerror.UniqueViolation: false, "53300": false,
	} {
		require.Equal(t, want, isRetryableRead(fmt.Errorf("read: %w", &pq.Error{Code: code})), string(code))
	}
}

// Only tables that have vanished make Run migrate again.
func TestObserve_ReportsALostSchema(t *testing.T) {
	t.Parallel()
	db := &DB{migration: newMigration(), refused: refusals{now: time.Now}}
	lost := func() bool {
		select {
		case <-db.migration.lost:
			return true
		default:
			return false
		}
	}
	for _, err := range []error{
		nil, errors.New("odd"), ErrUnavailable, &pq.Error{Code: pqerror.UniqueViolation}, &pq.Error{Code: pqerror.UndefinedColumn},
	} {
		require.Equal(t, err, db.observe(err))
		require.False(t, lost(), err)
	}
	for _, code := range []pqerror.Code{pqerror.UndefinedTable, pqerror.InvalidSchemaName} {
		_ = db.observe(Classify(t.Context(), "list", &pq.Error{Code: code})) // handed on
		_ = db.observe(&pq.Error{Code: code})                                // told already; does not block
		require.True(t, lost(), string(code))
		require.False(t, lost(), string(code))
	}
}

func TestBound(t *testing.T) {
	t.Parallel()
	before := time.Now()
	ctx, cancel := bound(t.Context())
	deadline, ok := ctx.Deadline()
	require.True(t, ok)
	require.WithinRange(t, deadline, before.Add(callTimeout), time.Now().Add(callTimeout))
	cancel()
	require.ErrorIs(t, ctx.Err(), context.Canceled)
	own, cancelOwn := context.WithTimeout(t.Context(), time.Hour)
	defer cancelOwn()
	ctx, cancel = bound(own)
	require.Equal(t, own, ctx, "who has a deadline keeps it")
	cancel()
	require.NoError(t, own.Err())
}

// The table refuses these values too, but only one at a time.
func TestSystemConfigUpdate_Validate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		update SystemConfigUpdate
		names  []string
	}{
		"nothing":  {SystemConfigUpdate{}, nil},
		"least":    {SystemConfigUpdate{new(1), new(time.Second), new(time.Second), new(0.0)}, nil},
		"most":     {SystemConfigUpdate{new(365), new(math.MaxInt32 * time.Second), new(math.MaxInt32 * time.Second), new(1.0)}, nil},
		"days 0":   {SystemConfigUpdate{RetentionDays: new(0)}, []string{"retention_days"}},
		"days 366": {SystemConfigUpdate{RetentionDays: new(366)}, []string{"retention_days"}},
		"all": {
			SystemConfigUpdate{new(-1), new(time.Duration(0)), new(time.Second + 1), new(-0.1)},
			[]string{"retention_days", "batch_window_seconds", "batch_idle_timeout_seconds", "detection_confidence_threshold"},
		},
		"too long": {
			SystemConfigUpdate{BatchWindow: new((math.MaxInt32 + 1) * time.Second), BatchIdleTimeout: new((math.MaxInt32 + 1) * time.Second)},
			[]string{"batch_window_seconds", "batch_idle_timeout_seconds"},
		},
		"above 1": {SystemConfigUpdate{DetectionConfidenceThreshold: new(1.1)}, []string{"detection_confidence_threshold"}},
		"NaN":     {SystemConfigUpdate{DetectionConfidenceThreshold: new(math.NaN())}, []string{"detection_confidence_threshold"}},
	} {
		err := test.update.Validate()
		if test.names == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, ErrInvalid, name)
		for _, field := range []string{"retention_days", "batch_window_seconds", "batch_idle_timeout_seconds", "detection_confidence_threshold"} {
			require.Equal(t, strings.Contains(strings.Join(test.names, " "), field), strings.Contains(err.Error(), field), "%s: %s", name, err)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":          "",
		"abc":       "abc",
		"abcd":      "abc",
		"äöü":       "äöü",
		"äöüß":      "äöü",
		"a\x00b":    "a\uFFFDb",
		"a\xff\xfe": "a\uFFFD",
		"日本語の":      "日本語",
	} {
		require.Equal(t, want, clean(text, 3), "%q", text)
	}
}
