package media

import (
	"fmt"
	"math"
	"time"
)

// Report is what the files and the disk come to.
type Report struct {
	// DiskUsedBytes, DiskTotalBytes and DiskFreeBytes describe the file system of the thumbnail
	// folder. Free is what may still be written, so used and free need not add up to the total.
	DiskUsedBytes, DiskTotalBytes, DiskFreeBytes int64
	// DiskUsagePercent is used of total, 0 to 100, rounded to two decimals.
	DiskUsagePercent float64
	// Thumbnails and Clips are exact. Images is what the last walk over the cameras' folder found.
	Thumbnails, Clips, Images Figure
	// At is the time of the oldest part.
	At time.Time
}

// Storage returns the figures from memory: its cost does not depend on the number of files. The
// error wraps ErrUnavailable when a part is not known: never counted so far, or the disk does not
// answer.
func (s *Store) Storage() (Report, error) {
	found := s.condition.Load()
	switch {
	case found == nil:
		return Report{}, fmt.Errorf("%w: not looked at yet", ErrUnavailable)
	case s.now().Sub(found.at) > s.patience():
		return Report{}, fmt.Errorf("%w: no answer since %s", ErrUnavailable, found.at.UTC().Format(time.RFC3339))
	case found.disk == nil:
		return Report{}, fmt.Errorf("%w: the size of the disk cannot be read", ErrUnavailable)
	}
	report := Report{
		DiskUsedBytes:    found.disk.used,
		DiskTotalBytes:   found.disk.total,
		DiskFreeBytes:    found.disk.free,
		DiskUsagePercent: percent(found.disk.used, found.disk.total),
		At:               found.at,
	}
	for kind, figure := range map[Kind]*Figure{Thumbnail: &report.Thumbnails, Clip: &report.Clips, Image: &report.Images} {
		counted, known := s.figure(kind)
		if !known {
			return Report{}, fmt.Errorf("%w: files of kind %q were not counted yet", ErrUnavailable, kind)
		}
		*figure = counted
		if counted.AsOf.Before(report.At) {
			report.At = counted.AsOf
		}
	}
	return report, nil
}

// figure returns the figure of one kind, and false as long as nobody ever counted.
func (s *Store) figure(kind Kind) (Figure, bool) {
	if t := s.tallies[kind]; t != nil {
		return t.figure()
	}
	return s.images.get()
}

// percent is part of total in percent with two decimals.
func percent(part, total int64) float64 {
	if total <= 0 {
		return 0
	}
	return math.Round(float64(part)/float64(total)*1e4) / 1e2
}
