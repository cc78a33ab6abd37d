package pictures

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// home is a service on a database and folders of its own.
type home struct {
	*Service
	t          *testing.T
	db         *store.DB
	media      *media.Store
	folder     string // of everything
	cameras    string
	thumbnails string
	asked      *int // rows
	clock      *time.Time
}

// countedRows counts the questions.
type countedRows struct {
	*store.DB
	asked *int
}

func (c countedRows) DetectionPicture(ctx context.Context, id int64) (store.Picture, error) {
	*c.asked++
	return c.DB.DetectionPicture(ctx, id)
}

func newHome(t *testing.T) *home {
	t.Helper()
	folder := t.TempDir()
	h := &home{
		t: t, db: storetest.New(t), folder: folder, cameras: filepath.Join(folder, "cameras"),
		thumbnails: filepath.Join(folder, "thumbnails"),
		asked:      new(int), clock: new(time.Time),
	}
	*h.clock = time.Now()
	require.NoError(t, os.MkdirAll(filepath.Join(h.cameras, "front"), 0o750))
	// an empty folder is an unmounted disk
	require.NoError(t, os.WriteFile(filepath.Join(h.cameras, "front", "always"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "secret.jpg"), photo(t, 40, 30), 0o600))
	var err error
	h.media, err = media.New(media.Options{
		DB: h.db, Thumbnails: h.thumbnails, Clips: filepath.Join(folder, "clips"),
		Cameras: h.cameras, Log: storetest.Logger(t),
	})
	require.NoError(t, err)
	h.Service = New(Options{
		Rows: countedRows{h.db, h.asked}, Files: h.media, KeepAnswers: time.Millisecond,
		// nothing is answered as a moment ago
		Now: func() time.Time { *h.clock = h.clock.Add(time.Second); return *h.clock },
	})
	h.exec(`INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', $1), ('back', 'Back', '/x')`, filepath.Join(h.cameras, "front"))
	return h
}

func (h *home) exec(query string, args ...any) {
	h.t.Helper()
	storetest.Exec(h.t, h.db, query, args...)
}

// photo is a picture with content.
func photo(tb testing.TB, width, height int) []byte {
	tb.Helper()
	var buffer bytes.Buffer
	require.NoError(tb, jpeg.Encode(&buffer, scene(width, height), nil))
	return buffer.Bytes()
}

func scene(width, height int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetRGBA(x, y, color.RGBA{
				R: uint8(x * 255 / width), G: uint8(y * 255 / height),
				B: 80, A: 255,
			})
		}
	}
	return img
}

// write puts a file into the camera's folder.
func (h *home) write(name string, content []byte) (path string) {
	h.t.Helper()
	path = filepath.Join(h.cameras, "front", name)
	require.NoError(h.t, os.MkdirAll(filepath.Dir(path), 0o750))
	require.NoError(h.t, os.WriteFile(path, content, 0o600))
	return path
}

// record writes a file and its row in the ledger, as intake does.
func (h *home) record(name string, content []byte) (imageID int64, path string) {
	h.t.Helper()
	path = h.write(name, content)
	info, err := os.Stat(path)
	require.NoError(h.t, err)
	sum := sha256.Sum256(content)
	return storetest.QueryOne[int64](h.t, h.db,
		`INSERT INTO images (camera_id, file_path, size_bytes, mtime, sha256) VALUES ('front', $1, $2, $3, $4) RETURNING id`,
		path, len(content), info.ModTime().UTC().Truncate(time.Microsecond), hex.EncodeToString(sum[:])), path
}

// detect stores a detection in a recorded file.
func (h *home) detect(imageID int64, path string, thumbnail *string, confidence float64) int64 {
	h.t.Helper()
	return storetest.QueryOne[int64](h.t, h.db, `
		INSERT INTO detections (camera_id, image_id, file_path, detected_at, thumbnail_path, confidence, bbox_x, bbox_y, bbox_width, bbox_height)
		VALUES ('front', $1, $2, now(), $3, $4, 10, 10, 20, 20) RETURNING id`, imageID, path, thumbnail, confidence)
}

// foreign stores a detection as another program does: with a path and nothing else.
func (h *home) foreign(path string) int64 {
	h.t.Helper()
	return storetest.QueryOne[int64](h.t, h.db,
		`INSERT INTO detections (camera_id, file_path, detected_at) VALUES ('front', $1, now()) RETURNING id`, path)
}

func (h *home) thumbnailFile(content []byte) *string {
	h.t.Helper()
	path, err := h.media.Write(h.t.Context(), "1-0.jpg", content)
	require.NoError(h.t, err)
	return &path
}

// bytesOf reads a file to its end.
func bytesOf(t *testing.T, file *File, err error) []byte {
	t.Helper()
	require.NoError(t, err)
	content, err := io.ReadAll(file)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.Regexp(t, `^"[0-9a-f]{32}"$`, file.ETag)
	return content
}

func sizeOf(t *testing.T, content []byte) image.Point {
	t.Helper()
	config, _, err := image.DecodeConfig(bytes.NewReader(content))
	require.NoError(t, err)
	return image.Pt(config.Width, config.Height)
}

func TestOriginal_IsTheFileThatWasRecorded(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	content := photo(t, 40, 30)
	imageID, path := h.record("2025/a b\nü.jpg", content)
	id := h.detect(imageID, path, nil, 0.9)
	original := func() (*File, error) { return h.Original(t.Context(), id) }

	file, err := original()
	require.Equal(t, content, bytesOf(t, file, err))
	require.Equal(t, "image/jpeg", file.MediaType)
	sum := sha256.Sum256(content)
	require.Equal(t, `"`+hex.EncodeToString(sum[:16])+`"`, file.ETag, "from the ledger")
	require.False(t, file.Immutable)
	recordedAt := func() time.Time {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.ModTime()
	}()
	wants := func(want error, why string) {
		t.Helper()
		_, err := original()
		require.ErrorIs(t, err, want, why)
	}
	restore := func() {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.NoError(t, os.Chtimes(path, recordedAt, recordedAt))
	}

	require.NoError(t, os.Chtimes(path, recordedAt, recordedAt.Add(time.Second)))
	wants(ErrReplaced, "another time")
	restore()
	require.NoError(t, os.WriteFile(path, content[:len(content)/2], 0o600))
	require.NoError(t, os.Chtimes(path, recordedAt, recordedAt))
	wants(ErrReplaced, "half written again")
	restore()
	require.NoError(t, os.WriteFile(path, append(bytes.Clone(content), 0), 0o600))
	require.NoError(t, os.Chtimes(path, recordedAt, recordedAt))
	wants(ErrReplaced, "longer")
	restore()
	file, err = original()
	require.Equal(t, content, bytesOf(t, file, err))

	// What is added while it is served is not served.
	file, err = original()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(bytes.Clone(content), "secret"...), 0o600))
	require.Equal(t, content, bytesOf(t, file, nil))

	require.NoError(t, os.Remove(path))
	wants(ErrGone, "deleted")
	require.NoError(t, os.Symlink(filepath.Join(h.folder, "secret.jpg"), path))
	wants(ErrForeign, "a link that leaves has taken its name")
	require.NoError(t, os.Remove(path))
	require.NoError(t, unix.Mkfifo(path, 0o600))
	wants(ErrForeign, "a pipe")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o750))
	wants(ErrForeign, "a folder")

	h.exec(`DELETE FROM images WHERE id = $1`, imageID) // the detection stays
	wants(ErrForeign, "a folder, still")
	h.exec(`DELETE FROM detections`)
	wants(store.ErrNotFound, "the row is gone")
	require.NoError(t, os.RemoveAll(h.cameras))
	id = h.foreign(path)
	wants(media.ErrUnavailable, "the disk is away")
}

// TestOriginal_OfOtherPrograms: a path below the camera root is served; no row makes us read
// anything else.
func TestOriginal_OfOtherPrograms(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	content := photo(t, 40, 30)
	path := h.write("theirs.jpg", content)
	for _, spelling := range []string{path, "front/theirs.jpg"} {
		file, err := h.Original(t.Context(), h.foreign(spelling))
		require.Equal(t, content, bytesOf(t, file, err), spelling)
	}
	first, err := h.Original(t.Context(), h.foreign(path))
	bytesOf(t, first, err)
	require.NoError(t, os.WriteFile(path, photo(t, 41, 30), 0o600))
	second, err := h.Original(t.Context(), h.foreign(path))
	bytesOf(t, second, err)
	require.NotEqual(t, first.ETag, second.ETag, "other bytes have another tag")

	require.NoError(t, os.Symlink("../../secret.jpg",
		filepath.Join(h.cameras, "front", "link.jpg")))
	require.NoError(t, os.Symlink(h.folder, filepath.Join(h.cameras, "front", "up")))
	for _, odd := range []string{
		"", ".", "..", "/", "/etc/passwd", "/proc/self/environ", "/dev/zero",
		filepath.Join(h.folder, "secret.jpg"), "../secret.jpg", "front/../../secret.jpg",
		h.cameras + "/../secret.jpg", h.cameras + "/front/../../secret.jpg",
		h.cameras + "//front/theirs.jpg", h.cameras + "x/theirs.jpg", h.cameras,
		"front/link.jpg", "front/up/secret.jpg", "file://" + path, `..\secret.jpg/..`,
		"front/theirs.jpg/", strings.Repeat("x", 300),
	} {
		_, err := h.Original(t.Context(), h.foreign(odd))
		require.ErrorIs(t, err, ErrForeign, "%q", odd)
		_, err = h.Event(t.Context(), storetest.QueryOne[int64](t, h.db, `INSERT INTO events (camera_id, started_at, detection_ids)
			VALUES ('front', now(), '[' || (SELECT max(id) FROM detections) || ']') RETURNING id`), 640)
		require.ErrorIs(t, err, ErrForeign, "%q", odd)
	}
	for _, gone := range []string{
		"nothing.jpg", h.cameras + "/back/1.jpg", "front/theirs.jpg/x",
		`..\secret.jpg`, "%2e%2e/secret.jpg", "~/secret.jpg",
	} {
		_, err := h.Original(t.Context(), h.foreign(gone))
		require.ErrorIs(t, err, ErrGone, "%q", gone)
	}
}

func TestOriginal_ItsTypeIsThatOfItsContent(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	var asPNG bytes.Buffer
	require.NoError(t, png.Encode(&asPNG, scene(8, 8)))
	for name, test := range map[string]struct{ content, want string }{
		"png.jpg":  {asPNG.String(), "image/png"},
		"gif.jpg":  {"GIF89a......", "image/gif"},
		"webp.jpg": {"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"},
		"bmp":      {"BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00" + strings.Repeat("\x00", 30), "image/bmp"},
		"mp4":      {"\x00\x00\x00\x20ftypisom\x00\x00", "video/mp4"},
		"mov":      {"\x00\x00\x00\x14ftypqt  \x00\x00", "video/quicktime"},
		"old.mov":  {"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", "video/quicktime"},
		"mkv":      {"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska", "video/x-matroska"},
		"webm":     {"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "video/webm"},
		"avi":      {"RIFF\x00\x00\x00\x00AVI LIST", "video/x-msvideo"},
		"1.jpg":    {"<html><script>alert(1)</script>", ""},
		"2.jpg":    {"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", ""},
		"3.jpg":    {"%PDF-1.7", ""},
		"4.jpg":    {"", ""},
		"5.jpg": {
			"BM, said the text, which is a text and nothing but a text, and long enough",
			"",
		},
		"6.jpg":  {"GIF", ""},
		"7.jpg":  {"\x00\x00\x00\x20ftypheic\x00\x00", ""},
		"8.jpg":  {"\x00\x00\x00\x20ftyp", ""},
		"9.jpg":  {"\x1a\x45\xdf\xa3", ""},
		"10.jpg": {"root:x:0:0:root:/root:/bin/bash", ""},
		"11.jpg": {"BM", ""},
	} {
		file, err := h.Original(t.Context(), h.foreign(h.write(name, []byte(test.content))))
		if test.want == "" {
			require.ErrorIs(t, err, ErrKind, name)
			continue
		}
		require.Equal(t, test.content, string(bytesOf(t, file, err)))
		require.Equal(t, test.want, file.MediaType, name)
	}
}

func TestThumbnail(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	imageID, path := h.record("a.jpg", photo(t, 800, 600))
	content := photo(t, 320, 240)
	own := h.thumbnailFile(content)
	id := h.detect(imageID, path, own, 0.9)
	file, err := h.Thumbnail(t.Context(), id)
	require.Equal(t, content, bytesOf(t, file, err))
	require.True(t, file.Immutable)
	require.Equal(t, "image/jpeg", file.MediaType)

	// Another program's may be changed, so that it is not promised to stay; one that it keeps
	// elsewhere, or has none of, is made.
	require.NoError(t, os.WriteFile(filepath.Join(h.thumbnails, "theirs.jpg"), content, 0o600))
	for _, thumbnail := range []string{"theirs.jpg", filepath.Join(h.thumbnails, "theirs.jpg")} {
		file, err := h.Thumbnail(t.Context(), h.detect(imageID, path, &thumbnail, 0.9))
		require.Equal(t, content, bytesOf(t, file, err))
		require.False(t, file.Immutable)
	}
	for _, thumbnail := range []*string{
		nil, new(""), new("/app/data/thumbnails/7.jpg"),
		new(filepath.Join(h.folder, "secret.jpg")), new("../secret.jpg"),
	} {
		file, err := h.Thumbnail(t.Context(), h.detect(imageID, path, thumbnail, 0.9))
		made := bytesOf(t, file, err)
		require.Equal(t, image.Pt(320, 240), sizeOf(t, made))
		require.False(t, file.Immutable)
	}
	for _, thumbnail := range []string{"/etc/passwd", "../secret.jpg"} {
		_, err = h.Thumbnail(t.Context(), h.detect(imageID, "/elsewhere/a.jpg", &thumbnail, 0.9))
		require.ErrorIs(t, err, ErrForeign)
	}
	require.NoError(t, os.WriteFile(filepath.Join(h.thumbnails, "page.jpg"), []byte("<html>"),
		0o600))
	_, err = h.Thumbnail(t.Context(), h.detect(imageID, path, new("page.jpg"), 0.9))
	require.ErrorIs(t, err, ErrKind)
	require.NoError(t, os.WriteFile(filepath.Join(h.thumbnails, "huge.jpg"),
		append(bytes.Clone(content), make([]byte, maxThumbnailSize)...), 0o600))
	_, err = h.Thumbnail(t.Context(), h.detect(imageID, path, new("huge.jpg"), 0.9))
	require.ErrorIs(t, err, ErrKind)

	require.NoError(t, os.Remove(filepath.Join(h.thumbnails, *own)))
	_, err = h.Thumbnail(t.Context(), id)
	require.ErrorIs(t, err, ErrGone, "row there, file gone")
	h.exec(`DELETE FROM detections WHERE id = $1`, id)
	_, err = h.Thumbnail(t.Context(), id)
	require.ErrorIs(t, err, store.ErrNotFound, "row gone")
	require.NoError(t, os.RemoveAll(h.thumbnails))
	_, err = h.Thumbnail(t.Context(), h.detect(imageID, path, own, 0.9))
	require.ErrorIs(t, err, media.ErrUnavailable, "its disk is away")
}

func TestThumbnail_IsAnsweredAgainForAMoment(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	imageID, path := h.record("a.jpg", photo(t, 40, 30))
	id := h.detect(imageID, path, h.thumbnailFile(photo(t, 320, 240)), 0.9)
	now := time.Now()
	h.options.Now, h.options.KeepAnswers = func() time.Time { return now }, 100*time.Millisecond
	for range 5 {
		file, err := h.Thumbnail(t.Context(), id)
		require.Len(t, bytesOf(t, file, err), len(photo(t, 320, 240)))
	}
	require.Equal(t, 1, *h.asked)
	h.exec(`DELETE FROM detections`)
	now = now.Add(100 * time.Millisecond)
	_, err := h.Thumbnail(t.Context(), id)
	require.ErrorIs(t, err, store.ErrNotFound)
}

// event stores an event of detections.
func (h *home) event(detections ...int64) int64 {
	h.t.Helper()
	id := storetest.QueryOne[int64](h.t, h.db,
		`INSERT INTO events (camera_id, started_at) VALUES ('front', now()) RETURNING id`)
	for _, detection := range detections {
		h.exec(`UPDATE detections SET event_id = $1 WHERE id = $2`, id, detection)
	}
	return id
}

func TestEvent_ShowsItsBestDetection(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	imageID, path := h.record("a.jpg", photo(t, 800, 600))
	thumbnails := map[int64][]byte{}
	add := func(confidence float64) int64 {
		content := photo(t, 320, 200+len(thumbnails))
		id := h.detect(imageID, path, h.thumbnailFile(content), confidence)
		thumbnails[id] = content
		return id
	}
	low, best, asGood := add(0.3), add(0.8), add(0.8)
	shows := func(want, event int64) {
		t.Helper()
		file, err := h.Event(t.Context(), event, 320)
		require.Equal(t, thumbnails[want], bytesOf(t, file, err))
		require.False(t, file.Immutable, "another detection may become the best one")
	}
	shows(best, h.event(asGood, low, best))
	h.exec(`UPDATE detections SET event_id = NULL`)

	// Rows of other programs name their detections in a text.
	listed := func(ids string) int64 {
		return storetest.QueryOne[int64](t, h.db,
			`INSERT INTO events (camera_id, started_at, detection_ids) VALUES ('front', now(), $1) RETURNING id`, ids)
	}
	shows(best, listed(fmt.Sprintf("[%d, 987654, %d, %d]", low, asGood, best)))
	shows(low, listed(fmt.Sprintf("[987654, %d]", low)))
	h.exec(`UPDATE detections SET confidence = NULL WHERE id IN ($1, $2)`, best, asGood)
	shows(low, listed(fmt.Sprintf("[%d,%d]", best, low)))
	for _, broken := range []string{
		"", "null", "[]", "{}", "[987654]", `["1"]`, "1,2", "[1.5]",
		"[" + strings.Repeat("1", 30) + "]", "[[1]]",
	} {
		_, err := h.Event(t.Context(), listed(broken), 320)
		require.ErrorIs(t, err, ErrNone, broken)
	}
	_, err := h.Event(t.Context(), h.event(), 320)
	require.ErrorIs(t, err, ErrNone)
	_, err = h.Event(t.Context(), 987654, 320)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestEvent_Widths(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	show := func(event int64, width int) []byte {
		t.Helper()
		file, err := h.Event(t.Context(), event, width)
		content := bytesOf(t, file, err)
		require.Equal(t, "image/jpeg", file.MediaType)
		again, err := h.Event(t.Context(), event, width)
		require.Equal(t, content, bytesOf(t, again, err))
		require.Equal(t, file.ETag, again.ETag)
		return content
	}
	imageID, path := h.record("large.jpg", photo(t, 1600, 1200))
	thumbnail := photo(t, 320, 240)
	detection := h.detect(imageID, path, h.thumbnailFile(thumbnail), 0.9)
	large := h.event(detection)
	require.Equal(t, image.Pt(160, 120), sizeOf(t, show(large, 160)))
	require.Equal(t, thumbnail, show(large, 320))
	require.Equal(t, image.Pt(640, 480), sizeOf(t, show(large, 640)))

	imageID, small := h.record("small.jpg", photo(t, 100, 80))
	event := h.event(h.detect(imageID, small, nil, 0.9))
	for _, width := range []int{320, 640} {
		require.Equal(t, image.Pt(100, 80), sizeOf(t, show(event, width)), "never enlarged")
	}
	imageID, tall := h.record("tall.jpg", photo(t, 300, 3000))
	event = h.event(h.detect(imageID, tall, nil, 0.9))
	require.Equal(t, image.Pt(32, 320), sizeOf(t, show(event, 160)), "bounded")

	// A video has its thumbnail.
	imageID, video := h.record("a.mp4", []byte("\x00\x00\x00\x20ftypisom\x00\x00 and more"))
	event = h.event(h.detect(imageID, video, h.thumbnailFile(thumbnail), 0.9))
	require.Equal(t, thumbnail, show(event, 640))
	_, err := h.Event(t.Context(), h.event(h.detect(imageID, video, nil, 0.9)), 640)
	require.ErrorIs(t, err, ErrNone)

	// The small ones outlive the original, which is another one by now, or gone.
	info, err := os.Stat(path)
	require.NoError(t, err)
	other := photo(t, 1600, 1200)
	other[len(other)/2] ^= 1
	require.NoError(t, os.WriteFile(path, other, 0o600))
	_, err = h.Event(t.Context(), large, 640)
	require.ErrorIs(t, err, ErrReplaced)
	require.Equal(t, image.Pt(160, 120), sizeOf(t, show(large, 160)))
	// nothing but the bytes tells
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	h.made = newCache(keptBytes, func(b *blob) int { return len(b.data) })
	_, err = h.Event(t.Context(), large, 640)
	require.ErrorIs(t, err, ErrReplaced)
	require.NoError(t, os.Remove(path))
	_, err = h.Event(t.Context(), large, 640)
	require.ErrorIs(t, err, ErrGone)

	// What cannot be decoded, or would need too much for it.
	bomb := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x01\x00\x00\x00\x01\x00\x00\x08\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00IEND\xae\x42\x60\x82")
	for name, test := range map[string]struct {
		content []byte
		want    error
	}{
		"bomb": {bomb, ErrKind}, "half": {other[:len(other)/2], ErrReplaced},
		"broken": {append(bytes.Clone(other[:700]), "\xff\xd9"...), ErrKind},
	} {
		imageID, path := h.record(name+".jpg", test.content)
		_, err := h.Event(t.Context(), h.event(h.detect(imageID, path, nil, 0.9)), 640)
		require.ErrorIs(t, err, test.want, name)
	}
}

func TestSnapshot_IsTheNewestWholePicture(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	snapshot := func() (*File, error) { return h.Snapshot(t.Context(), "front", 0) }
	_, err := snapshot()
	require.ErrorIs(t, err, ErrNone)
	_, err = h.Snapshot(t.Context(), "attic", 0)
	require.ErrorIs(t, err, store.ErrNotFound)

	old, newer := photo(t, 40, 30), photo(t, 50, 30)
	_, oldPath := h.record("old.jpg", old)
	_, newPath := h.record("new.jpg", newer)
	file, err := snapshot()
	require.Equal(t, newer, bytesOf(t, file, err))
	require.False(t, file.Immutable)

	h.exec(`UPDATE images SET state = 'expired'`) // its results are gone, the file is there
	file, err = snapshot()
	require.Equal(t, newer, bytesOf(t, file, err))

	// What came later and is no picture to show.
	h.record("video.mp4", []byte("\x00\x00\x00\x20ftypisom\x00\x00"))
	h.record("half.jpg", newer[:len(newer)/2])
	h.record("text.jpg", []byte("hello"))
	_, replaced := h.record("replaced.jpg", newer)
	require.NoError(t, os.WriteFile(replaced, old, 0o600))
	_, gone := h.record("gone.jpg", newer)
	require.NoError(t, os.Remove(gone))
	h.exec(`INSERT INTO images (camera_id, file_path, size_bytes, mtime) VALUES ('front', '/etc/passwd', 1, now()), ('back', $1, 1, now())`, newPath)
	file, err = snapshot()
	require.Equal(t, newer, bytesOf(t, file, err))
	require.NoError(t, os.Remove(newPath))
	file, err = snapshot()
	require.Equal(t, old, bytesOf(t, file, err))
	require.NoError(t, os.Remove(oldPath))
	_, err = snapshot()
	require.ErrorIs(t, err, ErrGone)
	_, err = h.Snapshot(t.Context(), "back", 0)
	require.ErrorIs(t, err, ErrGone)
}

func TestSnapshot_Widths(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	show := func(width int) (*File, []byte) {
		t.Helper()
		file, err := h.Snapshot(t.Context(), "front", width)
		content := bytesOf(t, file, err)
		again, err := h.Snapshot(t.Context(), "front", width)
		require.Equal(t, content, bytesOf(t, again, err))
		require.Equal(t, file.ETag, again.ETag)
		require.False(t, file.Immutable, "the next picture takes its place")
		return file, content
	}
	for _, camera := range []string{"front", "attic"} {
		want := map[string]error{"front": ErrNone, "attic": store.ErrNotFound}[camera]
		_, err := h.Snapshot(t.Context(), camera, 320)
		require.ErrorIs(t, err, want)
	}
	large := photo(t, 1600, 1200)
	_, largePath := h.record("large.jpg", large)
	original, content := show(0)
	require.Equal(t, large, content)
	for _, width := range []int{160, 320, 640} {
		file, content := show(width)
		require.Equal(t, "image/jpeg", file.MediaType)
		require.NotEqual(t, original.ETag, file.ETag)
		decoded, err := jpeg.Decode(bytes.NewReader(large))
		require.NoError(t, err)
		scaled, err := picture.NewScaled(decoded, width).Draw()
		require.NoError(t, err)
		require.Equal(t, scaled, content, "the whole picture, without a box")
		require.Equal(t, image.Pt(width, width*3/4), sizeOf(t, content))
	}

	// With no room to make any, what is made already is still there, and so are originals.
	const all = madeAtOnce + madeWaiting
	require.True(t, h.queue.TryAcquire(all))
	show(640)
	var small bytes.Buffer
	require.NoError(t, png.Encode(&small, scene(100, 80)))
	h.record("small.png", small.Bytes())
	_, err := h.Snapshot(t.Context(), "front", 640)
	require.ErrorIs(t, err, ErrBusy)
	_, content = show(0)
	require.Equal(t, small.Bytes(), content)
	h.queue.Release(all)
	file, content := show(640)
	require.Equal(t, "image/jpeg", file.MediaType)
	require.Equal(t, image.Pt(100, 80), sizeOf(t, content), "never enlarged")

	// What came later and cannot be shown, also where that is found out when it is decoded.
	h.record("video.mp4", []byte("\x00\x00\x00\x20ftypisom\x00\x00"))
	h.record("half.jpg", large[:len(large)/2])
	broken := append(bytes.Clone(large[:700]), "\xff\xd9"...)
	_, brokenPath := h.record("broken.jpg", broken)
	_, content = show(320)
	require.Equal(t, image.Pt(100, 80), sizeOf(t, content))
	require.NoError(t, os.Remove(brokenPath))
	require.NoError(t, os.Remove(filepath.Join(h.cameras, "front", "small.png")))
	_, content = show(160)
	require.Equal(t, image.Pt(160, 120), sizeOf(t, content))
	require.NoError(t, os.Remove(largePath))
	_, err = h.Snapshot(t.Context(), "front", 160)
	require.ErrorIs(t, err, ErrGone, "also of what was made of it before")
}

func TestSnapshot_IsAnsweredAgainForAMoment(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	now := time.Now()
	h.options.Now, h.options.KeepAnswers = func() time.Time { return now }, 100*time.Millisecond
	shows := func(width, want int) {
		t.Helper()
		file, err := h.Snapshot(t.Context(), "front", width)
		require.Equal(t, want, sizeOf(t, bytesOf(t, file, err)).X)
	}
	h.record("first.jpg", photo(t, 200, 100))
	shows(160, 160)
	shows(320, 200)
	h.record("second.jpg", photo(t, 100, 100))
	shows(160, 160)
	shows(320, 200)
	now = now.Add(100 * time.Millisecond)
	shows(160, 100)
	shows(320, 100)
}

func TestMake_IsBounded(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	ctx, jpeg := t.Context(), photo(t, 8, 8)
	started, release := make(chan string), make(chan struct{})
	slow := func(name string) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) {
			started <- name
			<-release
			return jpeg, nil
		}
	}
	var group errgroup.Group
	ask := func(name string) {
		group.Go(func() error { _, err := s.make(ctx, name, slow(name)); return err })
	}
	ask("1")
	ask("2")
	await.Value(t, started, "the first")
	await.Value(t, started, "the second")
	for i := range 5 { // for the same picture nobody waits in the queue twice
		ask(fmt.Sprint(1 + i%2))
	}
	for i := range madeWaiting {
		ask(fmt.Sprint("waiting ", i))
	}
	await.True(t, func() bool {
		if s.queue.TryAcquire(1) {
			s.queue.Release(1)
			return false
		}
		return true
	}, "the queue is full")
	_, err := s.make(ctx, "one too many", slow("never"))
	require.ErrorIs(t, err, ErrBusy)
	impatient, cancel := context.WithCancel(ctx)
	cancel()
	_, err = s.make(impatient, "1", slow("never"))
	require.ErrorIs(t, err, context.Canceled)
	go func() {
		for range madeWaiting {
			<-started
		}
	}()
	close(release)
	require.NoError(t, group.Wait())
	kept, err := s.make(ctx, "1", slow("never"))
	require.NoError(t, err)
	require.Equal(t, jpeg, kept.data)

	_, err = s.make(ctx, "panic", func(context.Context) ([]byte,
		error,
	) {
		panic("index out of range")
	})
	require.ErrorContains(t, err, "index out of range")
	require.True(t, s.queue.TryAcquire(madeAtOnce+madeWaiting), "everything was given back")
	require.True(t, s.slots.TryAcquire(madeAtOnce))
}

func TestCache_Memory(t *testing.T) {
	t.Parallel()
	c := newCache(100_000, func(b *blob) int { return len(b.data) })
	for i := range 1000 {
		c.add(fmt.Sprint(i), &blob{data: make([]byte, i)})
		c.add(fmt.Sprint(i), &blob{data: make([]byte, i)})
		require.LessOrEqual(t, c.bytes, 100_000)
	}
	want := 0
	for _, kept := range c.kept.Values() {
		want += len(kept.data) + entryBytes
	}
	require.Equal(t, want, c.bytes)
	c.add("large", &blob{data: make([]byte, 30_000)})
	_, found := c.get("large")
	require.False(t, found, "it would drive out all others")
	_, found = c.get("999")
	require.True(t, found)
}
