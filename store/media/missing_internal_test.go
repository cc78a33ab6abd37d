package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
)

// A camera folder that is missing is not one without images.
func TestWalkImages_MissingFolder(t *testing.T) {
	t.Parallel()
	cameras, err := newRoot(Image, filepath.Join(t.TempDir(), "none"), false)
	require.NoError(t, err)
	s := &Store{cameras: cameras, thumbnails: cameras, clips: cameras, now: time.Now, log: slog.New(slog.DiscardHandler)}
	require.ErrorIs(t, s.walkImages(t.Context()), ErrUnavailable)
	_, known := s.images.get()
	require.False(t, known)
}

func TestExpected(t *testing.T) {
	t.Parallel()
	s := &Store{}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	odd := errors.New("odd")
	require.True(t, s.expected(t.Context(), &UnavailableError{}))
	require.True(t, s.expected(t.Context(), fmt.Errorf("sweep: %w", store.ErrUnavailable)))
	require.False(t, s.expected(t.Context(), odd))
	require.True(t, s.expected(ended, odd))
}
