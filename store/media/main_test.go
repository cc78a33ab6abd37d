package media_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// env is a store on folders of its own.
type env struct {
	*media.Store
	db                         *store.DB
	thumbnails, clips, cameras string
	options                    media.Options
}

func setup(t *testing.T, change ...func(*media.Options)) *env {
	t.Helper()
	return setupIn(t, storetest.New(t), t.TempDir(), change...)
}

func setupIn(t *testing.T, db *store.DB, dir string, change ...func(*media.Options)) *env {
	t.Helper()
	e := &env{
		db:         db,
		thumbnails: filepath.Join(dir, "thumbnails"),
		clips:      filepath.Join(dir, "clips"),
		cameras:    filepath.Join(dir, "cameras"),
	}
	require.NoError(t, os.MkdirAll(e.cameras, 0o750))
	e.options = media.Options{
		DB: db, Thumbnails: e.thumbnails, Clips: e.clips, Cameras: e.cameras,
		Log: storetest.Logger(t), CheckInterval: 5 * time.Millisecond, WalkPause: 10 * time.Millisecond,
	}
	for _, f := range change {
		f(&e.options)
	}
	e.thumbnails = e.options.Thumbnails
	var err error
	e.Store, err = media.New(e.options)
	require.NoError(t, err)
	storetest.Exec(t, db, `INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/x') ON CONFLICT DO NOTHING`)
	return e
}

// run keeps the store's background work going until the test, or stop, ends it.
func (e *env) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return stop
}

func (e *env) write(t *testing.T, data string) string {
	t.Helper()
	path, err := e.Write(t.Context(), "front-1.jpg", []byte(data))
	require.NoError(t, err)
	return path
}

// name stores a detection that names a thumbnail.
func (e *env) name(t *testing.T, path string) {
	t.Helper()
	storetest.Exec(t, e.db, `INSERT INTO detections (camera_id, file_path, detected_at, thumbnail_path) VALUES ('front', '/x/1.jpg', now(), $1)`, path)
}

func (e *env) mark(t *testing.T, marks ...media.Mark) {
	t.Helper()
	require.NoError(t, e.db.InTx(t.Context(), "mark", func(ctx context.Context, tx *sqlx.Tx) error { return e.Mark(ctx, tx, marks) }))
}

func (e *env) marks(t *testing.T) int {
	t.Helper()
	return storetest.QueryOne[int](t, e.db, `SELECT count(*) FROM media_deletions`)
}

// tree lists all files below a folder with a fingerprint of their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		sum := sha256.Sum256(content)
		files[path] = hex.EncodeToString(sum[:])
		return err
	}))
	return files
}

func TestWrite_FileIsThereUnderItsPath(t *testing.T) {
	t.Parallel()
	e := setup(t)

	first, second := e.write(t, "one"), e.write(t, "two")

	require.NotEqual(t, first, second, "the same name twice makes two files")
	require.Regexp(t, `^[0-9a-f]{2}/front-1-[0-9a-f]{16}\.jpg$`, first)
	content, err := os.ReadFile(filepath.Join(e.thumbnails, second))
	require.NoError(t, err)
	require.Equal(t, "two", string(content))
	clip, err := e.WriteClip(t.Context(), "front.mp4", []byte("clip"))
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(e.clips, clip))
	for path := range tree(t, e.thumbnails) {
		require.NotContains(t, path, ".tmp-")
	}
}

func TestWrite_RefusesNames(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for _, name := range []string{"", "a", ".jpg", "../a.jpg", "a/b.jpg", ".hidden.jpg", "a b.jpg", strings.Repeat("a", 120) + ".jpg", "a.jpg\x00"} {
		_, err := e.Write(t.Context(), name, nil)
		require.Error(t, err, name)
	}
}

func TestWrite_FailsWholeWithoutATrace(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.write(t, "x")
	for i := range 256 { // wherever the next file would go, something is in the way
		shard := filepath.Join(e.thumbnails, hex.EncodeToString([]byte{byte(i)}))
		require.NoError(t, os.RemoveAll(shard))
		require.NoError(t, os.WriteFile(shard, nil, 0o600))
	}
	before := tree(t, e.thumbnails)
	_, err := e.Write(t.Context(), "front.jpg", []byte("x"))
	require.ErrorContains(t, err, "is not a folder")
	require.Equal(t, before, tree(t, e.thumbnails))
}

func TestNew_RefusesFoldersInEachOther(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, o := range []media.Options{
		{Thumbnails: "/a", Clips: "/a", Cameras: "/c"},
		{Thumbnails: "/a/b", Clips: "/a", Cameras: "/c"},
		{Thumbnails: "/a", Clips: "/a/b", Cameras: "/c"},
		{Thumbnails: "/a", Clips: "/b", Cameras: "/a/c"},
		{Thumbnails: "/a", Clips: "", Cameras: "/c"},
	} {
		o.DB = db
		_, err := media.New(o)
		require.Error(t, err, "%+v", o)
	}
	_, err := media.New(media.Options{DB: db, Thumbnails: "/d/ab", Clips: "/d/a", Cameras: "/d"})
	require.NoError(t, err)
}
