package store

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// maxStatements bounds the statements that one connection keeps prepared. The constant texts of
// this package are fewer; whatever comes beyond is sent as it is.
const maxStatements = 128

// preparedStmt is what a statement of lib/pq can do.
type preparedStmt interface {
	driver.Stmt
	driver.StmtQueryContext
	driver.StmtExecContext
}

// unpreparedKey is the key of Unprepared.
type unpreparedKey struct{}

// Unprepared returns a context in which statements are sent as they are: for texts that differ with
// what is asked, of which there are more than a connection keeps, and whose plan should fit the
// values.
func Unprepared(ctx context.Context) context.Context {
	return context.WithValue(ctx, unpreparedKey{}, true)
}

// Prepared undoes Unprepared, for a statement whose text is always the same.
func Prepared(ctx context.Context) context.Context {
	return context.WithValue(ctx, unpreparedKey{}, nil)
}

// statements keeps statements prepared on one connection: the server plans each of them once and
// not at every call, which for the short statements of the pipeline is most of the work.
type statements map[string]preparedStmt

// get returns the prepared statement, nil when the query is to be sent as it is.
func (s statements) get(ctx context.Context, conn innerConn, query string, args []driver.NamedValue) (preparedStmt, error) {
	if len(args) == 0 { // may hold several statements, or one that cannot be prepared
		return nil, nil
	}
	if stmt, ok := s[query]; ok {
		return stmt, nil
	}
	if len(s) >= maxStatements || ctx.Value(unpreparedKey{}) != nil {
		return nil, nil
	}
	prepared, err := conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	stmt, ok := prepared.(preparedStmt)
	if !ok {
		return nil, errors.Join(errors.New("the driver's statement lacks a method"), prepared.Close())
	}
	s[query] = stmt
	return stmt, nil
}

// isStalePlan reports that a prepared statement no longer fits the schema.
func isStalePlan(err error) bool {
	pgErr, ok := errors.AsType[*pq.Error](err)
	return ok && (pgErr.Code == pqerror.FeatureNotSupported || pgErr.Code == pqerror.InvalidSQLStatementName)
}
