package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// Why a transaction failed is told as it was, not by what its rollback says, and nothing of it
// stays.
func TestInTx_TellsWhyItFailed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	storetest.Exec(t, db, `CREATE TABLE late (id int PRIMARY KEY, parent int REFERENCES late DEFERRABLE INITIALLY DEFERRED)`)
	insert := func(after func(cancel func()) error) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return db.InTx(ctx, "try", func(ctx context.Context, tx *sqlx.Tx) error {
			if _, err := tx.ExecContext(ctx, `INSERT INTO late VALUES (1, 2)`); err != nil {
				return err
			}
			return after(cancel)
		})
	}
	odd := errors.New("odd")
	require.ErrorIs(t, insert(func(func()) error { return odd }), odd)
	require.ErrorIs(t, insert(func(cancel func()) error { cancel(); return odd }), context.Canceled)
	require.ErrorIs(t, insert(func(func()) error { return nil }), store.ErrConflict, "refused at the commit")
	require.Zero(t, storetest.QueryOne[int](t, db, `SELECT count(*) FROM late`))
	storetest.Exec(t, db, `ALTER TABLE late DROP CONSTRAINT late_parent_fkey`)
	require.NoError(t, insert(func(func()) error { return nil }))
	require.Equal(t, 1, storetest.QueryOne[int](t, db, `SELECT count(*) FROM late`))
}
