package main

import (
	"errors"
	"fmt"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// disk is what lies in the folder of thumbnails.
type disk struct {
	// files are the problems of the thumbnails by their paths below the folder; empty for a whole picture.
	files map[string]string
	// temporary are files that were being written when the server was killed.
	temporary []string
}

// readDisk lists and decodes the thumbnails.
func readDisk(root string) (*disk, error) {
	d := &disk{files: map[string]string{}}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(filepath.Base(rel), ".tmp-"):
			d.temporary = append(d.temporary, rel)
		case !strings.HasPrefix(filepath.Base(rel), "."): // the folder's own marker
			d.files[rel] = problemOf(path)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil // nothing was ever seen
	}
	if err != nil {
		return nil, fmt.Errorf("read the thumbnails: %w", err)
	}
	return d, nil
}

func problemOf(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }() // only read
	if _, err := jpeg.Decode(file); err != nil {
		return err.Error()
	}
	return ""
}

// thumbnails holds the rows against the files. It returns the files that no row names: a kill between writing and storing leaves
// them, and the server has to remove them when they are old enough.
func (a *audit) thumbnails(l *ledger, d *disk) (unnamed []string) {
	named := map[string]bool{}
	for _, row := range l.detections {
		path := row.Thumbnail.String
		problem, there := d.files[path]
		switch {
		case !row.Thumbnail.Valid:
			a.add(dangling, "detection %d: no thumbnail", row.ID)
		case named[path]:
			a.add(doubled, "detection %d: its thumbnail %s is another's too", row.ID, path)
		case !there:
			a.add(dangling, "detection %d: no file %s", row.ID, path)
		case problem != "":
			a.add(dangling, "detection %d: %s: %s", row.ID, path, problem)
		}
		named[path] = true
	}
	for path := range d.files {
		if !named[path] {
			unnamed = append(unnamed, path)
		}
	}
	return append(unnamed, d.temporary...)
}
