package media

import (
	"context"
	"errors"
	"os"
	"time"
)

// modTimeTolerance is how much the database may have rounded a file's time.
const modTimeTolerance = time.Microsecond

// verdict is what is to happen to one marked file.
type verdict struct {
	remove  bool
	forget  bool  // the ledger row of the image may go
	failure error // it concerns this file alone and sets it aside
	found   inspected
	rel     string
	in      *folders
}

// judge decides about one marked file. The sweep and the preview both ask it, so that they agree.
// The error wraps ErrUnavailable when the file's folder cannot be used.
func (s *Store) judge(ctx context.Context, dirs *openKinds, m *mark) (verdict, error) {
	r := s.root(m.Kind)
	rel, ok := r.relative(m.Path)
	if !ok || m.named {
		return verdict{}, nil
	}
	in, err := dirs.get(ctx, m.Kind)
	if err != nil {
		return verdict{}, err
	}
	found, err := in.inspect(rel, m.Kind == Image)
	switch {
	case err != nil:
		return verdict{failure: err}, nil //nolint:nilerr // it concerns this file alone
	case found.state == fileMissing:
		return verdict{forget: m.Expired}, nil
	case found.state == fileOther:
		return verdict{failure: errors.New("not a regular file")}, nil
	case m.Kind != Image:
	case !m.Expired:
		return verdict{}, nil // the ledger wants it, or does not know it
	case found.sizeBytes != m.SizeBytes.Int64 || found.modTime.Sub(m.ModTime.Time).Abs() > modTimeTolerance:
		return verdict{forget: true}, nil // another picture has taken its name
	}
	return verdict{remove: true, forget: m.Expired, found: found, rel: rel, in: in}, nil
}

func (s *Store) openFolder(ctx context.Context, kind Kind) (*os.Root, error) {
	r := s.root(kind)
	if err := s.prepare(ctx, r); err != nil {
		return nil, err
	}
	return r.open()
}

// Available returns an error that wraps ErrUnavailable when a folder that deletions need is
// missing, unreadable or the wrong one. The cameras' folder is needed only when original images are
// deleted; it has no marker, but an empty one is taken for a disk that is not mounted.
func (s *Store) Available(ctx context.Context, originals bool) error {
	for _, r := range s.markedRoots() {
		dir, err := s.openFolder(ctx, r.kind)
		if err != nil {
			return err
		}
		_ = dir.Close() // only looked at
	}
	if !originals {
		return nil
	}
	dir, err := s.cameras.open()
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // only read
	folder, err := dir.Open(".")
	if err != nil {
		return s.cameras.unavailable(describe(err))
	}
	defer func() { _ = folder.Close() }() // only read
	if _, err := folder.ReadDir(1); err != nil {
		return s.cameras.unavailable("is empty or cannot be read: is its disk mounted?")
	}
	return nil
}

// Candidate is a file that a deletion would mark.
type Candidate struct {
	Kind Kind
	Path string
	// SizeBytes and ModTime are what the ledger knows of an image, unused for other kinds.
	SizeBytes int64
	ModTime   time.Time
}

// Preview tells what a sweep would remove. Not safe for concurrent use.
type Preview struct {
	store *Store
	dirs  openKinds
}

// Preview begins a preview. Close it.
func (s *Store) Preview() *Preview { return &Preview{store: s, dirs: openKinds{store: s}} }

// Close ends the preview.
func (p *Preview) Close() { p.dirs.close() }

// Look returns what a sweep would remove if this file was marked and no row named it any more:
// nothing, or one file with its size.
func (p *Preview) Look(ctx context.Context, candidate Candidate) (Removed, error) {
	m := mark{Kind: candidate.Kind, Path: candidate.Path, Expired: candidate.Kind == Image}
	m.SizeBytes.Int64, m.ModTime.Time = candidate.SizeBytes, candidate.ModTime
	found, err := p.store.judge(ctx, &p.dirs, &m)
	switch {
	case err != nil:
		return Removed{}, err
	case found.failure != nil:
		return Removed{Failed: 1}, nil //nolint:nilerr // it concerns this file alone
	case !found.remove:
		return Removed{}, nil
	}
	return one(candidate.Kind, found.found.sizeBytes), nil
}

// Missing tells whether a path is one of ours and its file is not in its folder. It is false when
// the folder cannot be used.
func (p *Preview) Missing(ctx context.Context, kind Kind, path string) bool {
	return p.absent(ctx, kind, path, false)
}

// Gone tells whether a file is certainly gone: its folder is there and can be read, and the file is
// not in it.
func (p *Preview) Gone(ctx context.Context, kind Kind, path string) bool {
	return p.absent(ctx, kind, path, true)
}

func (p *Preview) absent(ctx context.Context, kind Kind, path string, parentMustExist bool) bool {
	rel, ok := p.store.root(kind).relative(path)
	if !ok {
		return false
	}
	in, err := p.dirs.get(ctx, kind)
	if err != nil {
		return false
	}
	found, err := in.inspect(rel, parentMustExist)
	return err == nil && found.state == fileMissing
}
