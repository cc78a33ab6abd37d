package e2e

import (
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // the format of thumbnails
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hsi.home.arpa/pipeline/aitest"
)

// Disk is what lies in the folder of thumbnails.
type Disk struct {
	// Unnamed are the files that no row names, temporary ones too: a kill between writing and
	// storing leaves them, and the server has to remove them when they are old enough.
	Unnamed []string
	// Files and Bytes are those of the files that rows name.
	Files, Bytes int64
}

// Thumbnails holds the rows against the files below root.
func (a *Audit) Thumbnails(root string) (Disk, error) {
	paths, err := FilesBelow(root)
	if err != nil {
		return Disk{}, fmt.Errorf("read the thumbnails: %w", err)
	}
	var disk Disk
	named := map[string]bool{}
	for _, d := range a.run.Ledger.Detections {
		path := d.Thumbnail.String
		a.Check(!named[path], Doubled, "detection %d: its thumbnail %s is another's too", d.ID,
			path)
		size, problem := checkThumbnail(filepath.Join(root, path), &d)
		a.Check(problem == "", Dangling, "detection %d: thumbnail %q: %s", d.ID, path, problem)
		named[path] = true
		disk.Files++
		disk.Bytes += size
	}
	for _, path := range paths {
		hidden := strings.HasPrefix(filepath.Base(path), ".") &&
			!strings.HasPrefix(filepath.Base(path), ".tmp-")
		if !named[path] && !hidden { // the folder's own marker is hidden
			disk.Unnamed = append(disk.Unnamed, path)
		}
	}
	return disk, nil
}

// checkThumbnail tells what is wrong with the thumbnail of a detection in a picture of aitest.
func checkThumbnail(path string, d *Detection) (size int64, problem string) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return 0, err.Error()
	}
	picture, format, err := image.Decode(file)
	if err != nil {
		return 0, err.Error()
	}
	const width, height = 320, 240
	if bounds := picture.Bounds(); format != "jpeg" || bounds.Dx() != width ||
		bounds.Dy() != height {
		return 0, fmt.Sprintf("%s of %v", format, bounds)
	}
	// The picture fills the width, so that it is not scaled and lies lower by half of the height
	// that is left.
	const lower = (height - aitest.PictureHeight) / 2
	const redder = 0x2000
	if r, g, _, _ := picture.At(d.X, lower+d.Y+d.Height/2).RGBA(); r < g+redder {
		return 0, fmt.Sprintf("no red line at the left of its box %+v", d.seen().Box)
	}
	return info.Size(), ""
}

// FilesBelow lists the plain files below a folder, by their paths from there; none when it is
// missing.
func FilesBelow(root string) (paths []string, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		paths = append(paths, rel)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // nothing was ever seen
	}
	slices.Sort(paths)
	return paths, err
}
