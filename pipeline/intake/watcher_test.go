package intake_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/intake"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// picture returns a JPEG that differs for each n.
func picture(tb testing.TB, n int) []byte {
	tb.Helper()
	img := image.NewGray(image.Rect(0, 0, 32, 24))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * (n + 1))
	}
	img.SetGray(n%32, n/32%24, color.Gray{Y: uint8(n)})
	var buffer bytes.Buffer
	require.NoError(tb, jpeg.Encode(&buffer, img, nil))
	return append(buffer.Bytes(), fmt.Sprint(n)...) // bytes after the end are allowed, and make it unique
}

type alive struct {
	beats   atomic.Int64
	mu      sync.Mutex
	message string
}

func (a *alive) Beat() { a.beats.Add(1) }
func (a *alive) Say(message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.message = message
}

func (a *alive) says() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.message
}

// faultyLedger is the real store, which a test can make unreachable.
type faultyLedger struct {
	*store.DB
	away atomic.Bool
	// same counts how often bytes were found recorded, scans how often files were looked up.
	same, scans atomic.Int64
	// failing is how many of the next questions whether bytes are recorded fail.
	failing atomic.Int64
	// now is the clock of the database instead of its own, where a test has set the watcher's.
	now func() time.Time
}

func (l *faultyLedger) Clock(ctx context.Context) (time.Time, error) {
	if l.now != nil {
		return l.now(), nil
	}
	return l.DB.Clock(ctx)
}

func (l *faultyLedger) broken() error {
	if l.away.Load() {
		return fmt.Errorf("refused: %w", store.ErrUnavailable)
	}
	return nil
}

func (l *faultyLedger) EnsureCamera(ctx context.Context, c store.Camera) error {
	if err := l.broken(); err != nil {
		return err
	}
	return l.DB.EnsureCamera(ctx, c)
}

func (l *faultyLedger) RecordImage(ctx context.Context, img store.NewImage) (store.RecordedImage, error) {
	if err := l.broken(); err != nil {
		return store.RecordedImage{}, err
	}
	return l.DB.RecordImage(ctx, img)
}

func (l *faultyLedger) KnownImages(ctx context.Context, keys []store.ImageKey) ([]bool, error) {
	if err := l.broken(); err != nil {
		return nil, err
	}
	l.scans.Add(1)
	return l.DB.KnownImages(ctx, keys)
}

func (l *faultyLedger) SameContent(ctx context.Context, cameraID, path, sha256 string) (recorded, decided bool, err error) {
	if err := l.broken(); err != nil {
		return false, false, err
	}
	if l.failing.Add(-1) >= 0 {
		return false, false, errors.New("refused this once")
	}
	recorded, decided, err = l.DB.SameContent(ctx, cameraID, path, sha256)
	if recorded {
		l.same.Add(1)
	}
	return recorded, decided, err
}

// fixture is a watcher over a temporary folder and a real database.
type fixture struct {
	t       *testing.T
	root    string
	db      *store.DB
	ledger  *faultyLedger
	options intake.Options
	alive   *alive
	stop    func()
	woken   atomic.Int64
	open    func(path string, flags int, mode os.FileMode) (*os.File, error) // instead of the system's
	ahead   atomic.Int64                                                     // of the watcher's clock, once it was set
	looks   sync.Map                                                         // the size that each path had when it was last looked at
}

// setClock gives the watcher, and the database as it sees it, a clock that is ahead of ours by what
// the test says.
func (f *fixture) setClock(ahead time.Duration) {
	f.ahead.Store(int64(ahead))
	f.options.Now = func() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) }
	f.ledger.now = f.options.Now
}

// pass lets time pass for the watcher.
func (f *fixture) pass(d time.Duration) { f.ahead.Add(int64(d)) }

// awaitLook waits until the watcher has looked at a file as it is now.
func (f *fixture) awaitLook(path string) {
	f.t.Helper()
	info, err := os.Stat(path)
	require.NoError(f.t, err)
	await.True(f.t, func() bool {
		size, looked := f.looks.Load(path)
		return looked && size == info.Size()
	}, "the watcher does not look at the file")
}

// setup prepares a fixture; start runs it.
func setup(t *testing.T, polling bool) *fixture {
	t.Helper()
	f := &fixture{t: t, root: filepath.Join(t.TempDir(), "cameras"), db: storetest.New(t), alive: &alive{}}
	f.ledger = &faultyLedger{DB: f.db}
	require.NoError(t, os.MkdirAll(f.root, 0o750))
	f.options = intake.Options{
		Root: f.root, Ledger: f.ledger, Log: storetest.Logger(t), Recorded: func() { f.woken.Add(1) },
		DedupeWindow: 5 * time.Minute, Polling: polling, PollInterval: 20 * time.Millisecond,
		SettleTime: 30 * time.Millisecond, GiveUpTime: time.Hour, CheckInterval: 50 * time.Millisecond,
	}
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	done := make(chan error, 1)
	watcher := intake.New(f.options)
	if f.open != nil {
		watcher.SetOpen(f.open)
	}
	watcher.SetExamined(func(path string, size int64) { f.looks.Store(path, size) })
	go func() { done <- watcher.Run(ctx, f.alive) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("watcher stopped with %v", err)
		}
	})
	f.t.Cleanup(f.stop)
}

// write puts a file in place the way a simple camera does.
func (f *fixture) write(name string, data []byte) string {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o750))
	require.NoError(f.t, os.WriteFile(path, data, 0o600))
	return path
}

// put puts a whole file in place at once, the way a careful camera does.
func (f *fixture) put(name string, data []byte) {
	f.t.Helper()
	path := f.write(filepath.Join(filepath.Dir(name), "."+filepath.Base(name)), data)
	require.NoError(f.t, os.Rename(path, filepath.Join(f.root, name)))
}

// append adds to a file, which is closed again then.
func (f *fixture) append(path string, data []byte) {
	f.t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(f.t, err)
	_, err = file.Write(data)
	require.NoError(f.t, err)
	require.NoError(f.t, file.Close())
}

// row is what the ledger says of a file.
type row struct {
	CameraID string  `db:"camera_id"`
	Path     string  `db:"file_path"`
	State    string  `db:"state"`
	Reason   *string `db:"reason"`
}

// rows returns "camera name state[/reason]" for each row, sorted.
func (f *fixture) rows() []string {
	var list []string
	for _, r := range storetest.Query[row](f.t, f.db, `SELECT camera_id, file_path, state, reason FROM images`) {
		line := fmt.Sprintf("%s %s %s", r.CameraID, strings.TrimPrefix(r.Path, f.root+"/"), r.State)
		if r.Reason != nil {
			line += "/" + *r.Reason
		}
		list = append(list, line)
	}
	slices.Sort(list)
	return list
}

// expect waits until the ledger has exactly these rows.
func (f *fixture) expect(want ...string) {
	f.t.Helper()
	slices.Sort(want)
	var got []string
	defer func() {
		if f.t.Failed() {
			f.t.Logf("want %q\n got %q", want, got)
		}
	}()
	await.True(f.t, func() bool {
		got = f.rows()
		return slices.Equal(got, want)
	})
}

// bothModes runs a test with notifications and with polling.
func bothModes(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	for name, polling := range map[string]bool{"notified": false, "polling": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, setup(t, polling))
		})
	}
}

func TestWatcher_RecordsNewFiles(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.start()
		f.write("Front Door/a.jpg", picture(t, 1))
		f.expect("front_door Front Door/a.jpg seen")
		f.write("Front Door/2026/11/23/b.JPEG", picture(t, 2)) // a folder made at run time
		f.write("back-yard/c.png", encodePNG(t))
		f.expect("front_door Front Door/a.jpg seen", "front_door Front Door/2026/11/23/b.JPEG seen", "back_yard back-yard/c.png seen")
		await.True(t, func() bool { return f.woken.Load() >= 3 }, "each is told after its row is there")
		cameras, err := f.db.Cameras(t.Context())
		require.NoError(t, err)
		require.Equal(t, "Front Door", cameras[1].Name)
		require.Equal(t, filepath.Join(f.root, "Front Door"), cameras[1].FolderPath)
	})
}

func encodePNG(t *testing.T) []byte {
	t.Helper()
	var buffer bytes.Buffer
	require.NoError(t, png.Encode(&buffer, image.NewGray(image.Rect(0, 0, 8, 8))))
	return buffer.Bytes()
}

func TestWatcher_FindsWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.write("front/old.jpg", picture(t, 1))
		f.write("front/deep/er/older.jpg", picture(t, 2))
		f.start()
		f.expect("front front/old.jpg seen", "front front/deep/er/older.jpg seen")
		f.stop()
		f.write("front/meanwhile.jpg", picture(t, 3))
		f.start()
		f.expect("front front/old.jpg seen", "front front/deep/er/older.jpg seen", "front front/meanwhile.jpg seen")
	})
}

// TestWatcher_FilesDoNotPutOffWhatIsDue: a camera that sends more often than the watcher ticks must
// not keep it from showing that it is alive, from its scans, and from noticing an exchanged folder.
func TestWatcher_FilesDoNotPutOffWhatIsDue(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.start()
		for n := 0; f.alive.beats.Load() < 4; n++ {
			woken := f.woken.Load()
			f.write(fmt.Sprintf("front/%d.jpg", n), picture(t, n))
			await.True(t, func() bool { return f.woken.Load() > woken || f.alive.beats.Load() >= 4 })
		}
	})
}

func TestWatcher_IgnoresTemporaryNamesUntilRenamed(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.start()
		var paths []string
		for _, name := range []string{"front/a.jpg.part", "front/b.tmp", "front/.c.jpg", "front/d.jpg~", "front/readme.txt", "stray.jpg", "front/.hidden/e.jpg"} {
			paths = append(paths, f.write(name, picture(t, len(paths))))
		}
		f.write("front/last.jpg", picture(t, 99))
		f.expect("front front/last.jpg seen")
		require.NoError(t, os.Rename(paths[0], strings.TrimSuffix(paths[0], ".part")))
		f.expect("front front/last.jpg seen", "front front/a.jpg seen")
	})
}

func TestWatcher_SaysWhyAFileIsFiltered(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		whole := picture(t, 1)
		bomb := encodePNG(t)
		copy(bomb[16:24], "\x00\x01\x00\x00\x00\x01\x00\x00")
		deep := encodePNG(t) // not too many pixels, but 16 bits of four colours each, and interlaced
		copy(deep[16:29], "\x00\x00\x13\x88\x00\x00\x13\x88\x10\x06\x00\x00\x01")
		outside := filepath.Join(t.TempDir(), "secret.jpg")
		require.NoError(t, os.WriteFile(outside, whole, 0o600))
		f.options.Limits.MaxBytes = 100_000
		f.options.GiveUpTime = 100 * time.Millisecond

		f.start()
		f.put("front/good.jpg", whole)
		f.expect("front front/good.jpg seen")
		f.put("front/again.jpg", whole)
		f.put("front/empty.jpg", nil)
		f.put("front/text.jpg", []byte("this is a text"))
		f.put("front/cut.jpg", whole[:len(whole)/2])
		f.put("front/bomb.png", bomb)
		f.put("front/deep.png", deep)
		f.put("front/large.jpg", make([]byte, 100_001))
		f.put("front/film.mp4", []byte("film"))
		f.put("front/odd\xff.jpg", picture(t, 2))
		require.NoError(t, os.Symlink(outside, filepath.Join(f.root, "front", "link.jpg")))
		require.NoError(t, os.Symlink("/nowhere/at/all.jpg", filepath.Join(f.root, "front", "dangling.jpg")))
		f.put("front/last.jpg", picture(t, 3))
		f.expect(
			"front front/good.jpg seen",
			"front front/again.jpg filtered/duplicate",
			"front front/empty.jpg filtered/empty_file",
			"front front/text.jpg filtered/not_an_image",
			"front front/cut.jpg filtered/truncated",
			"front front/bomb.png filtered/too_many_pixels",
			"front front/deep.png filtered/too_many_pixels",
			"front front/large.jpg filtered/too_large",
			"front front/film.mp4 filtered/video_unsupported",
			`front front/odd\xff.jpg filtered/name_not_utf8`,
			"front front/link.jpg filtered/symlink_outside",
			"front front/last.jpg seen",
		)
	})
}

func TestWatcher_ALinkWithinTheFoldersIsAFile(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.options.DedupeWindow = 0
		target := f.write("front/a.jpg", picture(t, 1))
		f.start()
		f.expect("front front/a.jpg seen")
		require.NoError(t, os.Symlink(target, filepath.Join(f.root, "front", "b.jpg")))
		require.NoError(t, os.Link(target, filepath.Join(f.root, "front", "c.jpg")))
		f.expect("front front/a.jpg seen", "front front/b.jpg seen", "front front/c.jpg seen")
		f.stop()
		f.start() // the scan knows them all
		f.write("front/d.jpg", picture(t, 2))
		f.expect("front front/a.jpg seen", "front front/b.jpg seen", "front front/c.jpg seen", "front front/d.jpg seen")
	})
}

func TestWatcher_WaitsForASlowUpload(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.setClock(0)
		whole := picture(t, 1)
		end := bytes.LastIndex(whole, []byte{0xff, 0xd9}) // the end marker, which makes it whole
		f.start()
		path := f.write("front/slow.jpg", nil)
		// Longer in all than the time after which a file that does not change is given up, and
		// closed between the parts.
		for part := range slices.Chunk(whole[:end], end/11) {
			f.awaitLook(path)
			require.Empty(t, f.rows())
			f.pass(f.options.GiveUpTime * 2 / 3)
			f.append(path, part)
		}
		f.awaitLook(path)
		f.append(path, whole[end:])
		f.expect("front front/slow.jpg seen")
	})
}

func TestWatcher_SameNameWithOtherBytesIsAnotherImage(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.start()
		f.write("front/snapshot.jpg", picture(t, 1))
		f.expect("front front/snapshot.jpg seen")
		f.write("front/snapshot.jpg", picture(t, 2))
		f.expect("front front/snapshot.jpg seen", "front front/snapshot.jpg seen")
		f.write("front/snapshot.jpg", picture(t, 2)) // uploaded once more
		f.write("front/other.jpg", picture(t, 2))
		// The same bytes under the same name are the same image; under another name they are a
		// duplicate.
		f.expect("front front/snapshot.jpg seen", "front front/snapshot.jpg seen", "front front/other.jpg filtered/duplicate")
	})
}

// TestWatcher_AnImageIsSeenWhenItsFileAppears: the time that a file takes to become whole belongs
// to its latency.
func TestWatcher_AnImageIsSeenWhenItsFileAppears(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.setClock(0)
		f.start()
		f.write("front/a.jpg", picture(t, 1))
		f.expect("front front/a.jpg seen")
		whole := picture(t, 2)
		appeared := f.options.Now()
		path := f.write("front/b.jpg", whole[:len(whole)/2])
		f.awaitLook(path)
		looked := f.options.Now()
		f.pass(10 * time.Second)
		f.append(path, whole[len(whole)/2:])
		f.expect("front front/a.jpg seen", "front front/b.jpg seen")
		seenAt := storetest.QueryOne[time.Time](t, f.db, `SELECT seen_at FROM images ORDER BY id DESC LIMIT 1`)
		require.False(t, seenAt.After(looked), "%v is after %v", seenAt, looked)
		require.True(t, seenAt.After(appeared.Add(-5*time.Second)), "%v is before %v", seenAt, appeared)
	})
}

// TestWatcher_AnotherTimeIsNotAnotherImage: upload clients set the time of a file after they have
// closed it.
func TestWatcher_AnotherTimeIsNotAnotherImage(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.options.DedupeWindow = 0
		f.options.ScanInterval = 100 * time.Millisecond
		f.start()
		path := f.write("front/a.jpg", picture(t, 1))
		f.expect("front front/a.jpg seen")
		storetest.Exec(t, f.db, `UPDATE images SET state = 'filtered', reason = 'no_detections'`)
		old := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
		require.NoError(t, os.Chtimes(path, old, old))
		await.True(t, func() bool { return f.ledger.same.Load() > 0 })
		scans := f.ledger.scans.Load()
		await.True(t, func() bool { return f.ledger.scans.Load() > scans+5 })
		require.EqualValues(t, 1, f.ledger.same.Load(), "it is read again once")
		f.expect("front front/a.jpg filtered/no_detections")
	})
}

// TestWatcher_AQuestionThatFailsIsAskedAgain: taken for a no it would make another image of the
// same bytes.
func TestWatcher_AQuestionThatFailsIsAskedAgain(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.options.DedupeWindow = 0
		f.options.ScanInterval = 100 * time.Millisecond
		f.start()
		path := f.write("front/a.jpg", picture(t, 1))
		f.expect("front front/a.jpg seen")
		storetest.Exec(t, f.db, `UPDATE images SET state = 'filtered', reason = 'no_detections'`)
		f.ledger.failing.Store(2)
		old := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
		require.NoError(t, os.Chtimes(path, old, old))
		await.True(t, func() bool { return f.ledger.same.Load() > 0 || len(f.rows()) > 1 })
		require.Negative(t, f.ledger.failing.Load())
		f.expect("front front/a.jpg filtered/no_detections")
	})
}

func TestWatcher_AFileThatBecomesReadable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Log("root may read everything: only the way of a readable file is tried")
	}
	f := setup(t, false)
	f.start()
	path := f.write("front/.upload", picture(t, 1))
	require.NoError(t, os.Chmod(path, 0))
	require.NoError(t, os.Rename(path, filepath.Join(f.root, "front", "a.jpg")))
	require.NoError(t, os.Chmod(filepath.Join(f.root, "front", "a.jpg"), 0o600))
	f.expect("front front/a.jpg seen")
}

func TestWatcher_SurvivesADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.start()
		f.write("front/a.jpg", picture(t, 1))
		f.expect("front front/a.jpg seen")
		f.ledger.away.Store(true)
		f.write("front/b.jpg", picture(t, 2))
		await.True(t, func() bool { return f.alive.says() == "waiting for the database" })
		f.write("back/c.jpg", picture(t, 3))
		f.ledger.away.Store(false)
		f.expect("front front/a.jpg seen", "front front/b.jpg seen", "back back/c.jpg seen")
		require.Empty(t, f.alive.says())
	})
}

func TestWatcher_WaitsForTheRootAndNoticesAnotherOne(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		require.NoError(t, os.Remove(f.root))
		f.start()
		await.True(t, func() bool { return f.alive.says() == "waiting for the camera folder, which is missing" })
		f.write("front/a.jpg", picture(t, 1))
		f.expect("front front/a.jpg seen")

		// The disk goes away and another one comes in its place.
		require.NoError(t, os.Rename(f.root, f.root+".away"))
		f.write("front/b.jpg", picture(t, 2))
		f.expect("front front/a.jpg seen", "front front/b.jpg seen")
		require.NoError(t, os.RemoveAll(f.root))
		require.NoError(t, os.Rename(f.root+".away", f.root))
		f.write("front/c.jpg", picture(t, 3))
		f.expect("front front/a.jpg seen", "front front/b.jpg seen", "front front/c.jpg seen")
	})
}

func TestWatcher_FoldersThatComeAndGo(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.start()
		f.write("front/a.jpg", picture(t, 1))
		f.expect("front front/a.jpg seen")
		require.NoError(t, os.RemoveAll(filepath.Join(f.root, "front")))
		f.write("front/b.jpg", picture(t, 2))
		// A whole folder moved in has its images in it already.
		elsewhere := filepath.Join(t.TempDir(), "moved")
		require.NoError(t, os.MkdirAll(filepath.Join(elsewhere, "day"), 0o750))
		require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "day", "c.jpg"), picture(t, 3), 0o600))
		require.NoError(t, os.Rename(elsewhere, filepath.Join(f.root, "back")))
		f.expect("front front/a.jpg seen", "front front/b.jpg seen", "back back/day/c.jpg seen")
		require.NoError(t, os.WriteFile(filepath.Join(f.root, "back", "day", "d.jpg"), picture(t, 4), 0o600))
		f.expect("front front/a.jpg seen", "front front/b.jpg seen", "back back/day/c.jpg seen", "back back/day/d.jpg seen")
	})
}

func TestWatcher_RecordsACameraBeforeItsFirstImage(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.start()
		require.NoError(t, os.Mkdir(filepath.Join(f.root, "Garage"), 0o750))
		await.True(t, func() bool {
			cameras, err := f.db.Cameras(t.Context())
			return err == nil && len(cameras) == 1 && cameras[0].ID == "garage"
		})
		// A row that somebody deletes is made again when it is needed.
		storetest.Exec(t, f.db, `DELETE FROM cameras`)
		f.write("Garage/a.jpg", picture(t, 1))
		f.expect("garage Garage/a.jpg seen")
	})
}

func TestWatcher_TakesManyFilesAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t, false)
	const cameras, images = 5, 200
	for n := range cameras * images {
		f.write(fmt.Sprintf("camera %d/%03d.jpg", n%cameras, n), picture(t, n))
	}
	f.start()
	for n := range images {
		f.write(fmt.Sprintf("camera 0/live-%03d.jpg", n), picture(t, 10_000+n))
	}
	await.True(t, func() bool {
		return storetest.QueryOne[int](t, f.db, `SELECT count(*) FROM images WHERE state = 'seen'`) == (cameras+1)*images
	})
	require.Equal(t, (cameras+1)*images, storetest.QueryOne[int](t, f.db, `SELECT count(*) FROM images`))
}
