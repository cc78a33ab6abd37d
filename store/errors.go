package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// The kinds of errors. Every error of this package that a caller can act upon wraps exactly one of
// them.
var (
	// ErrNotFound says that the row asked for does not exist.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the change collides with what is stored (a unique key, a missing
	// parent).
	ErrConflict = errors.New("conflict")
	// ErrInvalid says that the database refused a value (out of range, not representable).
	ErrInvalid = errors.New("invalid value")
	// ErrUnavailable says that the database cannot answer now: gone, frozen, not migrated,
	// read-only, full, or too slow for the deadline. Asking again later is right.
	ErrUnavailable = errors.New("database unavailable")
	// ErrClaimLost says that the claim is no longer held, so nothing was changed: it ran out and
	// somebody else took the work over, or the work is already finished.
	ErrClaimLost = errors.New("claim lost")
	// ErrForeignDatabase says that the database holds tables that our migrations did not make.
	// Nothing was touched.
	ErrForeignDatabase = errors.New("foreign database")
	// ErrNewerDatabase says that a newer version of the program has migrated this database. Nothing
	// was touched.
	ErrNewerDatabase = errors.New("database is newer than this program")
)

// Why the database is unavailable, where that is certain. Each of these is an ErrUnavailable too.
var (
	// ErrLoginRefused says that the server is there and does not let us in: wrong user or password,
	// or no rule that lets us.
	ErrLoginRefused = fmt.Errorf("%w: login refused", ErrUnavailable)
	// ErrNoDatabase says that the server is there and has no database of that name.
	ErrNoDatabase = fmt.Errorf("%w: no such database", ErrUnavailable)
	// ErrReadOnly says that the database can be read and takes no changes: it is a standby, or was
	// made read-only.
	ErrReadOnly = fmt.Errorf("%w: read-only", ErrUnavailable)
	// ErrDiskFull says that the database can be read and has no room for what is to be stored.
	ErrDiskFull = fmt.Errorf("%w: disk full", ErrUnavailable)
)

// errConnectionLost replaces driver.ErrBadConn once something was sent: database/sql would send the
// statement again, and it may have been executed already.
var errConnectionLost = errors.New("connection lost")

// Classify turns an error of the driver into one of the kinds above and names the operation in
// front. Nil stays nil; an error that already has a kind keeps it; a cancelled ctx gives
// context.Canceled, a passed deadline both ErrUnavailable and context.DeadlineExceeded. It is
// exported for the packages below store.
func Classify(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if knownKind(err) != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	// The driver reports an ended context in many ways; the context itself is the only sure
	// witness.
	switch ctxErr := ctx.Err(); {
	case errors.Is(ctxErr, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: %w", op, ErrUnavailable, context.DeadlineExceeded)
	case ctxErr != nil:
		return fmt.Errorf("%s: %w", op, ctxErr)
	}
	if kind := kindOf(err); kind != nil {
		return fmt.Errorf("%s: %w: %w", op, kind, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// Outward returns an error of the same kind in words of our own, for what everybody may read, such
// as the cause of a dead letter. What the server and the driver said stays behind: it names tables
// and quotes what was stored.
func Outward(err error) error {
	kind := knownKind(err)
	switch _, said := errors.AsType[*pq.Error](err); {
	case kind == nil:
		return errors.New("the database refused it")
	case said || isConnectionError(err):
		return fmt.Errorf("the database refused it: %w", kind)
	}
	return err // this package found it out by itself
}

// knownKind returns which of the kinds above an error has, nil when it has none.
func knownKind(err error) error {
	for _, kind := range []error{
		ErrNotFound, ErrConflict, ErrInvalid, ErrUnavailable, ErrClaimLost, ErrForeignDatabase, ErrNewerDatabase,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

// kindOf decides the kind of a driver error, nil when it is none we know.
func kindOf(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if pgErr, ok := errors.AsType[*pq.Error](err); ok {
		return kindOfCode(pgErr.Code)
	}
	if isConnectionError(err) || errors.Is(err, context.DeadlineExceeded) {
		return ErrUnavailable
	}
	return nil
}

// kindOfCode follows the SQLSTATE classes of PostgreSQL, never the message text.
func kindOfCode(code pqerror.Code) error {
	switch code {
	case pqerror.UniqueViolation, pqerror.ForeignKeyViolation, pqerror.ExclusionViolation:
		return ErrConflict
	case pqerror.UndefinedTable, pqerror.InvalidSchemaName:
		return ErrUnavailable // not migrated, or dropped under us
	case pqerror.ReadOnlySQLTransaction:
		return ErrReadOnly
	case pqerror.DiskFull:
		return ErrDiskFull
	case pqerror.IdleInTransactionSessionTimeout, pqerror.InsufficientPrivilege:
		return ErrUnavailable
	}
	switch code.Class() {
	case "22", "23": // data exception, integrity constraint violation
		return ErrInvalid
	case "28":
		return ErrLoginRefused
	case "3D":
		return ErrNoDatabase
	case "08", "40", "53", "55", "57", "58": // connection, rollback, resources, lock, operator, system
		return ErrUnavailable
	}
	return nil
}

// isConnectionError reports that the connection, not the statement, is the trouble.
func isConnectionError(err error) bool {
	if errors.Is(err, errConnectionLost) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, pq.ErrSSLNotSupported) {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	_, ok := errors.AsType[syscall.Errno](err)
	return ok
}

// isSchemaMissing reports that the tables are not there although the schema was current once.
func isSchemaMissing(err error) bool {
	pgErr, ok := errors.AsType[*pq.Error](err)
	return ok && (pgErr.Code == pqerror.UndefinedTable || pgErr.Code == pqerror.InvalidSchemaName)
}

// isRetryableRead reports that a read may be sent once more: the connection broke, the server did
// not refuse it.
func isRetryableRead(err error) bool {
	if pgErr, ok := errors.AsType[*pq.Error](err); ok {
		return pgErr.Code.Class() == "57" && pgErr.Code != pqerror.QueryCanceled
	}
	return isConnectionError(err)
}
