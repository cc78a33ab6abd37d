package media

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// A file that we wrote is named <shard>/<name>-<16 hex digits><extension>; the shard is the first
// two of the digits. The digits are random, so that a name is never used twice: a mark for an old
// file can never hit a new one. 256 shards keep a folder below 100,000 files up to 25 million
// files.
var (
	namePattern      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.[a-z0-9]{1,5}$`)
	ourPattern       = regexp.MustCompile(`^([0-9a-f]{2})/[A-Za-z0-9][A-Za-z0-9._-]*-([0-9a-f]{16})\.[a-z0-9]{1,5}$`)
	temporaryPattern = regexp.MustCompile(`^([0-9a-f]{2})/\.tmp-([0-9a-f]{16})$`)
)

// ours tells whether a relative path is one that we made, temporary or final. Whatever else lies in
// the folder is never deleted unless a row named it.
func ours(rel string) (final, temporary bool) {
	if m := ourPattern.FindStringSubmatch(rel); m != nil {
		return m[1] == m[2][:2], false
	}
	if m := temporaryPattern.FindStringSubmatch(rel); m != nil {
		return false, m[1] == m[2][:2]
	}
	return false, false
}

// Write stores a thumbnail and returns its path for detections.thumbnail_path: relative to the
// thumbnail folder, so that the data can be moved. The path is new on each call. When Write returns
// without error the file is on the disk, whatever happens next; a file that no row names afterwards
// is removed after Options.OrphanAge. The name is that of a plain file with an extension, such as
// "front-17.jpg". Errors wrap ErrUnavailable when the folder is missing or the wrong one; a full
// disk is a plain error. Both pass: try again later.
func (s *Store) Write(ctx context.Context, name string, data []byte) (string, error) {
	return s.write(ctx, s.thumbnails, name, data)
}

// WriteClip stores a clip and returns its path for events.clip_path, like Write.
func (s *Store) WriteClip(ctx context.Context, name string, data []byte) (string, error) {
	return s.write(ctx, s.clips, name, data)
}

func (s *Store) write(ctx context.Context, r *root, name string, data []byte) (string, error) {
	if !namePattern.MatchString(name) {
		return "", fmt.Errorf("write %s: %q is not a plain file name with an extension", r.kind, name)
	}
	if err := s.prepare(ctx, r); err != nil {
		return "", fmt.Errorf("write %s: %w", r.kind, err)
	}
	path, err := s.place(ctx, r, name, data)
	s.writes.note(r.kind, err)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", r.kind, err)
	}
	return path, nil
}

// place writes under a temporary name, syncs, renames, syncs the folder.
func (s *Store) place(ctx context.Context, r *root, name string, data []byte) (path string, err error) {
	dir, err := r.open()
	if err != nil {
		return "", err
	}
	defer closeRoot(dir, &err)

	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	id := hex.EncodeToString(random[:])
	shard := id[:2]
	extension := filepath.Ext(name)
	temporary := shard + "/.tmp-" + id
	final := shard + "/" + strings.TrimSuffix(name, extension) + "-" + id + extension

	if err := ensureShard(dir, shard); err != nil {
		return "", err
	}
	if err := writeFileDurably(dir, temporary, data); err != nil {
		_ = dir.Remove(temporary) // the sweep takes what this leaves
		return "", fmt.Errorf("write the temporary file: %w", err)
	}
	renamed := func() error { return dir.Rename(temporary, final) }
	if err := s.tallies[r.kind].change(ctx, shard, renamed, 1, int64(len(data))); err != nil {
		_ = dir.Remove(temporary) // the sweep takes what this leaves
		return "", fmt.Errorf("rename the file into place: %w", err)
	}
	if err := syncDir(dir, shard); err != nil {
		return "", err // the file stays without a row: an orphan, swept later
	}
	return final, nil
}

// ensureShard makes the shard's folder durably.
func ensureShard(dir *os.Root, shard string) error {
	info, err := dir.Lstat(shard)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("look at folder %s: %w", shard, err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", shard)
	default:
		return nil
	}
	if err := dir.Mkdir(shard, folderPermissions); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder %s: %w", shard, err)
	}
	return syncDir(dir, ".")
}

func closeRoot(dir *os.Root, err *error) {
	if closeErr := dir.Close(); closeErr != nil && *err == nil {
		*err = closeErr
	}
}

// diskErrors are those of a disk that takes no writes: full, over its quota, read-only, broken, or
// closed to this process by a limit on the size of its files.
var diskErrors = [...]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EFBIG}

// diskFull tells whether an error is one of diskErrors.
func diskFull(err error) bool {
	return slices.ContainsFunc(diskErrors[:], func(errno syscall.Errno) bool { return errors.Is(err, errno) })
}
