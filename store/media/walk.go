package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// readChunk is how many entries of a folder are held at once: memory does not grow with the folder.
const readChunk = 512

// maxNamed bounds how many unreadable parts a message names.
const maxNamed = 3

// walker goes through a folder tree without following a symbolic link and without holding more than
// one chunk of entries and the names of the folders that are still to do.
type walker struct {
	dir *os.Root
	// visit sees each regular file.
	visit func(rel string, info fs.FileInfo) error
	// enter may refuse a folder. Nil enters all.
	enter func(rel string, info fs.FileInfo) bool
	// pace is called after each chunk with the number of entries. Nil never waits.
	pace func(entries int) error

	unreadable parts
}

// parts remembers what could not be read: all are counted, the first few are named.
type parts struct {
	count int
	names []string
}

func (p *parts) add(rel string, err error) {
	p.count++
	if len(p.names) < maxNamed {
		p.names = append(p.names, fmt.Sprintf("%q: %s", rel, rootReason(err)))
	}
}

func (p *parts) String() string {
	names := strings.Join(p.names, ", ")
	if p.count > len(p.names) {
		names += fmt.Sprintf(" and %d more", p.count-len(p.names))
	}
	return names
}

// walk goes through everything below start, which is a folder. What vanishes meanwhile is not an
// error; what cannot be read is noted in unreadable; an error of visit, of pace and of start itself
// ends the walk.
func (w *walker) walk(ctx context.Context, start string) error {
	todo := []string{start}
	for len(todo) > 0 {
		rel := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		folders, err := w.folder(ctx, rel)
		var failed *readError
		switch {
		case errors.As(err, &failed) && rel == start:
			return failed.err
		case errors.As(err, &failed) && errors.Is(err, fs.ErrNotExist):
		case errors.As(err, &failed):
			w.unreadable.add(rel, failed.err)
		case err != nil:
			return err
		}
		todo = append(todo, folders...)
	}
	return nil
}

// readError marks an error of reading the tree, in contrast to one of visit or pace.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// folder visits the files of one folder and returns the folders in it.
func (w *walker) folder(ctx context.Context, rel string) (folders []string, err error) {
	file, err := w.dir.Open(rel)
	if err != nil {
		return nil, &readError{err}
	}
	defer func() { _ = file.Close() }() // only read
	for {
		entries, readErr := file.ReadDir(readChunk)
		for _, entry := range entries {
			name := path.Join(rel, entry.Name())
			folder, err := w.entry(name, entry)
			if err != nil {
				return folders, err
			}
			if folder {
				folders = append(folders, name)
			}
		}
		if err := ctx.Err(); err != nil {
			return folders, err
		}
		if w.pace != nil {
			if err := w.pace(len(entries)); err != nil {
				return folders, err
			}
		}
		if errors.Is(readErr, io.EOF) {
			return folders, nil
		}
		if readErr != nil {
			return folders, &readError{readErr}
		}
	}
}

// entry visits one entry and tells whether it is a folder to enter.
func (w *walker) entry(name string, entry fs.DirEntry) (folder bool, err error) {
	if !entry.IsDir() && !entry.Type().IsRegular() {
		return false, nil
	}
	info, err := entry.Info()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		w.unreadable.add(name, err)
		return false, nil
	case info.IsDir():
		return w.enter == nil || w.enter(name, info), nil
	case info.Mode().IsRegular():
		return false, w.visit(name, info)
	}
	return false, nil
}

// pacer spreads work over time.
type pacer struct {
	perSecond int
	started   time.Time
	done      int
}

// wait returns a pace function that holds perSecond on average.
func (p *pacer) wait(ctx context.Context) func(entries int) error {
	p.started = time.Now()
	return func(entries int) error {
		p.done += entries
		due := p.started.Add(time.Duration(float64(p.done) / float64(p.perSecond) * float64(time.Second)))
		if ahead := time.Until(due); ahead > time.Millisecond && !sleep(ctx, ahead) {
			return ctx.Err()
		}
		return nil
	}
}

// rootReason is the reason of a file error without its path.
func rootReason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}
