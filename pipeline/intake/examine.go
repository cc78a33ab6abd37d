package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/pipeline/video"
	"hsi.home.arpa/store"
)

// look is one examination of a file.
type look struct {
	path string
	// final says that nothing has changed for long enough: what is unfinished now is taken as it
	// is.
	final bool
	// unclosed says that the file may still be written: if it has just changed it is waited for.
	unclosed bool
	// seenAt is when the file was first seen, by our clock.
	seenAt time.Time
	// size and modTime are what the file was like at the look before, and since is when it was
	// first like that.
	size    int64
	modTime time.Time
	since   time.Time
}

// finding is the result of a look.
type finding struct {
	path   string
	seenAt time.Time
	// size and modTime are what the file was like; both are zero when it could not be looked at.
	size    int64
	modTime time.Time
	outcome outcome
	// reason is why the file is waited for or filtered.
	reason string
	err    error
}

// outcome says what to do with a file now.
type outcome int

const (
	settled     outcome = iota // recorded, or none of our business
	unfinished                 // look again when it has changed, or finally after a while
	failed                     // could not be looked at; try again
	databaseOut                // could not be recorded; scan when the database is back
)

// examine looks at one file and records it if it is finished.
func (w *Watcher) examine(ctx context.Context, l look) finding {
	found := finding{path: l.path, seenAt: l.seenAt}
	info, err := os.Lstat(l.path)
	if err != nil {
		return found.failedBy(err, l.final)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := filepath.EvalSymlinks(l.path)
		switch {
		case err == nil && !inside(w.realRoot(), target):
			return w.record(ctx, found.like(info), ReasonSymlinkOutside, "")
		case err == nil:
			info, err = os.Stat(l.path)
		case errors.Is(err, fs.ErrNotExist) && w.links.first(l.path):
			w.log.WarnContext(ctx, "link to a file that is not there", "path", storablePath(l.path))
		}
		if err != nil {
			return found.failedBy(err, l.final)
		}
	}
	if !info.Mode().IsRegular() {
		return found // a folder, a pipe, a device
	}
	found = found.like(info)
	if age := w.now().Sub(info.ModTime()); l.unclosed && !l.final && age >= 0 && age < w.options.SettleTime {
		found.outcome, found.reason = unfinished, reasonChanging
		return found
	}
	if !utf8.ValidString(l.path) {
		return w.record(ctx, found, ReasonNameNotUTF8, "")
	}
	if kindOf(filepath.Base(l.path)) == movie {
		return w.examineVideo(ctx, found, l)
	}
	return w.examineImage(ctx, found, l.final)
}

// examineVideo records a video. Nothing in it says that it is whole, and cameras close and open it
// again while they write: so it is taken when it was the same at two looks.
func (w *Watcher) examineVideo(ctx context.Context, found finding, l look) finding {
	same := found.size == l.size && found.modTime.Equal(l.modTime) && w.now().Sub(l.since) >= w.options.SettleTime
	switch {
	case !same:
		found.outcome, found.reason = unfinished, reasonChanging
		return found
	case found.size == 0 && !l.final:
		found.outcome, found.reason = unfinished, ReasonEmptyFile
		return found
	case found.size == 0:
		return w.record(ctx, found, ReasonEmptyFile, "")
	}
	if w.options.Videos == nil || w.options.Videos.Available() != nil {
		return w.record(ctx, found, ReasonVideoUnsupported, "")
	}
	return w.examineOpened(ctx, found, l.final, func(_ *os.File, size int64) error {
		if size > video.MaxBytes {
			return picture.ErrTooLarge
		}
		return nil
	})
}

// examineImage reads an image.
func (w *Watcher) examineImage(ctx context.Context, found finding, final bool) finding {
	return w.examineOpened(ctx, found, final, func(file *os.File, size int64) error {
		_, err := picture.Verify(file, size, w.options.Limits)
		return err
	})
}

// examineOpened opens a file, verifies it and records it with the hash of its bytes. The file that
// was opened decides, whatever its name stands for meanwhile.
func (w *Watcher) examineOpened(ctx context.Context, found finding, final bool, verify func(file *os.File, size int64) error) finding {
	// Not blocking, because what was a file a moment ago may be a pipe now.
	file, err := w.open(found.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if final && errors.Is(err, fs.ErrPermission) && w.unreadable.first(found.path) {
			w.log.WarnContext(ctx, "file may not be read, trying again at each scan", "path", storablePath(found.path), "error", err)
		}
		return found.failedBy(err, final)
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return found.failedBy(err, final)
	}
	found = found.like(info)
	err = verify(file, info.Size())
	reason := reasonFor(err)
	if err != nil && reason == "" {
		return found.failedBy(err, final)
	}
	if (reason == ReasonEmptyFile || reason == ReasonTruncated) && !final {
		found.outcome, found.reason = unfinished, reason
		return found
	}
	hash, err := hashOf(ctx, file, info.Size(), reason == ReasonTooLarge)
	if err != nil {
		return found.failedBy(err, final)
	}
	if after, err := file.Stat(); err != nil || after.Size() != info.Size() || !after.ModTime().Equal(info.ModTime()) {
		found.outcome, found.reason = unfinished, reasonChanging
		return found
	}
	return w.record(ctx, found, reason, hash)
}

// reasonFor turns what is wrong with a picture into a filter reason; empty for no error, and for
// one that is not the picture's.
func reasonFor(err error) string {
	switch {
	case errors.Is(err, picture.ErrEmpty):
		return ReasonEmptyFile
	case errors.Is(err, picture.ErrTruncated):
		return ReasonTruncated
	case errors.Is(err, picture.ErrNotAnImage):
		return ReasonNotAnImage
	case errors.Is(err, picture.ErrTooLarge):
		return ReasonTooLarge
	case errors.Is(err, picture.ErrTooManyPixels), errors.Is(err, picture.ErrTooMuchMemory):
		return ReasonTooManyPixels
	}
	return ""
}

// hashOf returns the SHA-256 of the file in hex; none for a file that is too large to bother.
func hashOf(ctx context.Context, file io.ReaderAt, size int64, tooLarge bool) (string, error) {
	if tooLarge {
		return "", nil
	}
	const part = 8 << 20 // a video may be large, and we may be told to stop
	hash := sha256.New()
	for at := int64(0); at < size; at += part {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if _, err := io.Copy(hash, io.NewSectionReader(file, at, min(part, size-at))); err != nil {
			return "", fmt.Errorf("hash image: %w", err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// record writes the ledger row of a file: filtered when there is a reason, else waiting for the
// detector.
func (w *Watcher) record(ctx context.Context, found finding, reason, hash string) finding {
	folder, ok := cameraFolder(w.options.Root, found.path)
	if !ok {
		return found // lies in the root itself, so it belongs to no camera
	}
	img := store.NewImage{ImageKey: keyOf(found, folder), SHA256: hash, State: store.ImageSeen, DedupeWindow: w.options.DedupeWindow}
	if reason != "" {
		img.State, img.Reason = store.ImageFiltered, reason
	}
	same, err := w.sameImage(ctx, img)
	if same {
		return found
	}
	var recorded store.RecordedImage
	if err == nil {
		img.SeenAt, err = w.clock.at(ctx, found.seenAt)
	}
	if err == nil {
		recorded, err = w.ensureAndRecord(ctx, folder, img)
	}
	switch {
	case errors.Is(err, store.ErrUnavailable):
		found.outcome, found.err = databaseOut, err
		return found
	case err != nil:
		return found.failedBy(err, false)
	}
	if recorded.Created && recorded.State == store.ImageSeen {
		w.options.Recorded()
	}
	if recorded.Created && reason != "" {
		w.log.InfoContext(ctx, "image filtered", "camera_id", img.CameraID, "path", img.FilePath, "reason", reason)
	}
	return found
}

// ensureAndRecord records an image, after its camera where that is new or was deleted meanwhile.
func (w *Watcher) ensureAndRecord(ctx context.Context, folder string, img store.NewImage) (store.RecordedImage, error) {
	for attempt := 0; ; attempt++ {
		if err := w.ensureCamera(ctx, folder); err != nil {
			return store.RecordedImage{}, err
		}
		recorded, err := w.options.Ledger.RecordImage(ctx, img)
		if errors.Is(err, store.ErrNotFound) && attempt == 0 {
			w.cameras.Delete(folder)
			continue
		}
		return recorded, err
	}
}

// ensureCamera stores the camera of a folder once per process.
func (w *Watcher) ensureCamera(ctx context.Context, folder string) error {
	if _, known := w.cameras.Load(folder); known {
		return nil
	}
	err := w.options.Ledger.EnsureCamera(ctx, store.Camera{
		ID: CameraID(folder), Name: storablePath(folder), FolderPath: storablePath(filepath.Join(w.options.Root, folder)),
	})
	if err != nil {
		return err
	}
	w.cameras.Store(folder, struct{}{})
	return nil
}

// keyOf is the identity of a file in the ledger.
func keyOf(found finding, folder string) store.ImageKey {
	return store.ImageKey{CameraID: CameraID(folder), FilePath: storablePath(found.path), SizeBytes: found.size, ModTime: found.modTime}
}

// like notes what a file was like.
func (f finding) like(info fs.FileInfo) finding {
	f.size, f.modTime = info.Size(), info.ModTime()
	return f
}

// failedBy turns an error of the file system into an outcome. A file that is gone needs nothing;
// one that we may not read is waited for, because the rights often come after the bytes, and in the
// end left to the next scan; all else may pass.
func (f finding) failedBy(err error, final bool) finding {
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO):
		f.outcome = settled
	case errors.Is(err, fs.ErrPermission):
		f.outcome, f.reason = unfinished, reasonUnreadable
		if final {
			f.outcome = settled
		}
	default:
		f.outcome, f.err = failed, err
	}
	return f
}

// inside tells whether a path without links lies below root.
func inside(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
