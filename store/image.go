package store

import (
	"strings"
	"time"
)

// ImageState is where an image stands. Every image ends in one of the last four.
type ImageState string

// The states of an image.
const (
	ImageSeen         ImageState = "seen"          // recorded, waits for the detector
	ImageQueued       ImageState = "queued"        // its id was handed to the queue
	ImageDetecting    ImageState = "detecting"     // claimed by a detect worker
	ImageBatched      ImageState = "batched"       // its detections belong to a batch that has no event yet
	ImageAnalyzed     ImageState = "analyzed"      // in one event
	ImageFiltered     ImageState = "filtered"      // left out, with a reason
	ImageDeadLettered ImageState = "dead_lettered" // given up, with a cause
	ImageExpired      ImageState = "expired"       // results deleted by retention; the row lives as long as the file
)

// Reasons that this package writes itself or goes by. Other reasons are the callers' words.
const (
	ReasonDuplicate    = "duplicate"     // the same bytes came from the same camera shortly before
	ReasonNoDetections = "no_detections" // the detector found nothing above the threshold
	ReasonReplaced     = "replaced"      // the file was overwritten before it was detected; its new content is another image
	ReasonFileGone     = "file_gone"     // the file was removed or renamed before it was detected
)

// Image is one row of the ledger. A time is nil until its stage was reached; a repeated stage has
// its last time.
type Image struct {
	ID              int64      `db:"id"`
	CameraID        string     `db:"camera_id"`
	FilePath        string     `db:"file_path"`
	SizeBytes       int64      `db:"size_bytes"`
	ModTime         time.Time  `db:"mtime"`
	SHA256          *string    `db:"sha256"` // lower-case hex, nil when the file could not be read
	State           ImageState `db:"state"`
	Reason          *string    `db:"reason"`   // of filtered and dead_lettered
	Attempts        int        `db:"attempts"` // claims that were not given back
	BatchID         *int64     `db:"batch_id"`
	SeenAt          time.Time  `db:"seen_at"`
	QueuedAt        *time.Time `db:"queued_at"`
	DetectStartedAt *time.Time `db:"detect_started_at"`
	DetectedAt      *time.Time `db:"detected_at"` // when the results were stored, not the image time
	BatchedAt       *time.Time `db:"batched_at"`
	AnalyzedAt      *time.Time `db:"analyzed_at"`
}

const imageColumns = `id, camera_id, file_path, size_bytes, mtime, sha256, state, reason, attempts, batch_id,
	seen_at, queued_at, detect_started_at, detected_at, batched_at, analyzed_at`

// imageColumnsOf are the columns of images under an alias.
func imageColumnsOf(alias string) string {
	return alias + "." + strings.ReplaceAll(strings.Join(strings.Fields(imageColumns), ""), ",", ", "+alias+".")
}

func (i *Image) toUTC() {
	i.ModTime, i.SeenAt = i.ModTime.UTC(), i.SeenAt.UTC()
	toUTC(&i.QueuedAt, &i.DetectStartedAt, &i.DetectedAt, &i.BatchedAt, &i.AnalyzedAt)
}

// ImageKey is the identity of a file: another size or time is another image.
type ImageKey struct {
	CameraID  string
	FilePath  string
	SizeBytes int64
	ModTime   time.Time // compared in microseconds
}

// NewImage is a file that intake has looked at.
type NewImage struct {
	ImageKey
	SHA256       string        // lower-case hex, empty when the file could not be read
	State        ImageState    // ImageSeen or ImageFiltered
	Reason       string        // required with ImageFiltered
	SeenAt       time.Time     // zero means now, by the clock of the database
	DedupeWindow time.Duration // how far back the same bytes make a duplicate; 0 switches it off
}

// RecordedImage says what became of a NewImage.
type RecordedImage struct {
	ID      int64
	State   ImageState
	Reason  *string
	Created bool // false: the same file was recorded before, and this is how it stands
}

// WaitingImage can be handed to the queue.
type WaitingImage struct {
	ID       int64     `db:"id"`
	CameraID string    `db:"camera_id"`
	SeenAt   time.Time `db:"seen_at"`
}

// QueuedImage has been marked as handed to the queue.
type QueuedImage struct {
	ID       int64     `db:"id"`
	CameraID string    `db:"camera_id"`
	SeenAt   time.Time `db:"seen_at"`
	QueuedAt time.Time `db:"queued_at"`
	First    bool      `db:"first"` // false: it was handed over before
}

// ImageClaim is the right to change one image, held until its lease ends and somebody else claims
// it.
type ImageClaim struct {
	ImageID int64
	Token   string // unique for each claim
}

// The range of times that both Go and PostgreSQL can print; clocks and files with other times
// exist.
var ( //nolint:gochecknoglobals // constants that Go cannot write as such
	minTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// storable rounds a time down to what the database keeps, so that it compares equal when read back.
func storable(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Microsecond)
	switch {
	case t.Before(minTime):
		return minTime
	case t.After(maxTime):
		return maxTime
	}
	return t
}
