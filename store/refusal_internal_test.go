package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
	"github.com/stretchr/testify/require"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := refusals{now: func() time.Time { return now }}
	r.note(nil)
	r.note(Classify(t.Context(), "record image", &pq.Error{Code: pqerror.UniqueViolation}))
	r.note(context.Canceled)
	require.NoError(t, r.err())
	r.note(Classify(t.Context(), "record image", fmt.Errorf("insert image: %w", &pq.Error{Code: pqerror.DiskFull})))
	require.ErrorIs(t, r.err(), ErrDiskFull)
	require.ErrorIs(t, r.err(), ErrUnavailable)
	now = now.Add(refusalFresh - 1)
	require.ErrorIs(t, r.err(), ErrDiskFull)
	now = now.Add(1)
	require.NoError(t, r.err(), "nobody was refused for a while")
}
