package store_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func TestRecordImage_Once(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	var created atomic.Int64
	var group errgroup.Group
	for range 8 { // scans and watchers report the same twenty files at the same time
		group.Go(func() error {
			for i := range 20 {
				img := newImage("a", fmt.Sprintf("/a/%d.jpg", i))
				img.DedupeWindow = 5 * time.Minute
				recorded, err := db.RecordImage(t.Context(), img)
				if err != nil {
					return err
				}
				if recorded.Created {
					created.Add(1)
				}
				if recorded.State != store.ImageSeen {
					return fmt.Errorf("state %s: a file is not its own duplicate", recorded.State)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, int64(20), created.Load())
	require.Equal(t, 20, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images`))
}

func TestRecordImage_Identity(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a", "b")
	first := record(t, db, newImage("a", "/x.jpg"))
	require.True(t, first.Created)
	for name, change := range map[string]func(*store.NewImage){
		"other camera": func(i *store.NewImage) { i.CameraID = "b" },
		"other path":   func(i *store.NewImage) { i.FilePath = "/y.jpg" },
		"other size":   func(i *store.NewImage) { i.SizeBytes++ },
		"other time":   func(i *store.NewImage) { i.ModTime = i.ModTime.Add(time.Microsecond) },
	} {
		img := newImage("a", "/x.jpg")
		change(&img)
		recorded := record(t, db, img)
		require.True(t, recorded.Created, name)
		require.Equal(t, store.ImageSeen, recorded.State, name)
		known, err := db.KnownImages(t.Context(), []store.ImageKey{img.ImageKey})
		require.NoError(t, err)
		require.Equal(t, []bool{true}, known, name)
	}
	same := newImage("a", "/x.jpg")
	same.ModTime = same.ModTime.Add(999 * time.Nanosecond).In(time.FixedZone("x", 3600))
	again := record(t, db, same)
	require.False(t, again.Created)
	require.Equal(t, first.ID, again.ID)
}

func TestRecordImage_Duplicates(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a", "b")
	upload := func(camera, path string, at time.Duration) store.RecordedImage {
		img := newImage(camera, path)
		img.SHA256, img.SeenAt, img.DedupeWindow = hash("same"), base().Add(at), 300*time.Second
		return record(t, db, img)
	}
	require.Equal(t, store.ImageSeen, upload("a", "/1", 0).State)
	duplicate := upload("a", "/2", 299*time.Second)
	require.Equal(t, store.ImageFiltered, duplicate.State)
	require.Equal(t, store.ReasonDuplicate, *duplicate.Reason)
	require.Equal(t, store.ImageSeen, upload("b", "/3", 10*time.Second).State, "another camera")
	require.Equal(t, store.ImageSeen, upload("a", "/4", 301*time.Second).State, "the window does not creep with duplicates")
	require.Equal(t, store.ImageFiltered, upload("a", "/5", -100*time.Second).State, "the clock was set back")

	img := newImage("a", "/6")
	img.SHA256, img.SeenAt = hash("same"), base().Add(2*time.Second)
	require.Equal(t, store.ImageSeen, record(t, db, img).State, "no window, no duplicates")
}

func TestRecordImage_DuplicatesRace(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	var group errgroup.Group
	for i := range 24 {
		group.Go(func() error {
			img := newImage("a", fmt.Sprintf("/a/%d.jpg", i))
			img.SHA256, img.DedupeWindow = hash("same"), time.Minute
			_, err := db.RecordImage(t.Context(), img)
			return err
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, 1, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images WHERE state = 'seen'`))
	require.Equal(t, 23, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images WHERE reason = 'duplicate' AND filtered_at IS NOT NULL`))
}

func TestRecordImage_OddFiles(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	for name, change := range map[string]func(*store.NewImage){
		"very long path":   func(i *store.NewImage) { i.FilePath = "/" + strings.Repeat("é", 2000) },
		"time before 1":    func(i *store.NewImage) { i.ModTime = time.Unix(-1<<60, 0) },
		"time after 9999":  func(i *store.NewImage) { i.ModTime = time.Unix(1<<60, 0) },
		"zero time":        func(i *store.NewImage) { i.ModTime = time.Time{} },
		"unreadable":       func(i *store.NewImage) { i.SHA256, i.State, i.Reason = "", store.ImageFiltered, "unreadable" },
		"empty":            func(i *store.NewImage) { i.SizeBytes = 0 },
		"newlines in name": func(i *store.NewImage) { i.FilePath = "/a\n1000\n5" },
	} {
		img := newImage("a", "/"+name)
		change(&img)
		require.True(t, record(t, db, img).Created, name)
		require.False(t, record(t, db, img).Created, name)
		known, err := db.KnownImages(t.Context(), []store.ImageKey{img.ImageKey})
		require.NoError(t, err, name)
		require.Equal(t, []bool{true}, known, name)
	}
	img := newImage("nobody", "/x")
	_, err := db.RecordImage(t.Context(), img)
	require.ErrorIs(t, err, store.ErrNotFound, "the camera is missing")
	img = newImage("a", "/a\x00b")
	_, err = db.RecordImage(t.Context(), img)
	require.ErrorIs(t, err, store.ErrInvalid)
	img = newImage("a", "/z")
	img.State = store.ImageBatched
	_, err = db.RecordImage(t.Context(), img)
	require.ErrorIs(t, err, store.ErrInvalid)
}

func TestRecordImage_TouchesCamera(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	img := newImage("a", "/1")
	img.SeenAt = base()
	record(t, db, img)
	cameras, err := db.Cameras(t.Context())
	require.NoError(t, err)
	require.Len(t, cameras, 1)
	require.Equal(t, base(), *cameras[0].LastSeenAt)
	require.Equal(t, "online", cameras[0].Status)
	addCamera(t, db, "a")
	require.Equal(t, int64(1), requireNoDrift(t, db).Cameras, "ensured again")
}
