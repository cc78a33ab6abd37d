package intake

import (
	"bytes"
	"context"
	stdimage "image"
	"image/png"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
)

// emptyLedger knows nothing and notes what is recorded.
type emptyLedger struct{ recorded []store.NewImage }

func (*emptyLedger) EnsureCamera(context.Context, store.Camera) error { return nil }
func (l *emptyLedger) RecordImage(_ context.Context, img store.NewImage) (store.RecordedImage, error) {
	l.recorded = append(l.recorded, img)
	return store.RecordedImage{State: img.State, Created: true}, nil
}

func (*emptyLedger) KnownImages(_ context.Context, keys []store.ImageKey) ([]bool, error) {
	return make([]bool, len(keys)), nil
}

func (*emptyLedger) SameContent(context.Context, string, string, string) (recorded, decided bool, err error) {
	return false, false, nil
}
func (*emptyLedger) Clock(context.Context) (time.Time, error) { return time.Now(), nil }

// TestExamine_AFileThatMayNotBeReadIsTriedAgain: the super-user, who often runs tests, may read
// everything, so that the refusal is made up here.
func TestExamine_AFileThatMayNotBeReadIsTriedAgain(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, "front", "a.png")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o750))
	var picture bytes.Buffer
	require.NoError(t, png.Encode(&picture, stdimage.NewGray(stdimage.Rect(0, 0, 8, 8))))
	require.NoError(t, os.WriteFile(path, picture.Bytes(), 0o600))

	var log bytes.Buffer
	ledger := &emptyLedger{}
	w := New(Options{Root: root, Ledger: ledger, Recorded: func() {}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	w.open = func(name string, _ int, _ os.FileMode) (*os.File, error) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	require.Equal(t, unfinished, w.examine(t.Context(), look{path: path}).outcome)
	require.Empty(t, log.String(), "the rights may come after the bytes")
	for range 3 { // three scans
		require.Equal(t, settled, w.examine(t.Context(), look{path: path, final: true}).outcome)
	}
	require.Empty(t, ledger.recorded, "what is recorded is never looked at again")
	require.Equal(t, 1, strings.Count(log.String(), "may not be read"))

	w.open = os.OpenFile
	require.Equal(t, settled, w.examine(t.Context(), look{path: path}).outcome)
	require.Len(t, ledger.recorded, 1)
	require.Equal(t, store.ImageSeen, ledger.recorded[0].State)
}
