// Package batch decides which images belong together: those of one camera that follow each other
// closely become one batch, and later one event. The rules are pure functions; the Closer applies
// them to batches that get no more images.
package batch

import (
	"time"

	"hsi.home.arpa/store"
)

// Config is how long a batch may last. It is read anew for each decision.
type Config struct {
	// Window is how long a batch takes images: by image time, and by the clock since its first
	// image came.
	Window time.Duration
	// IdleTimeout is how long a batch waits for another image.
	IdleTimeout time.Duration
}

// ConfigOf takes the two values out of the live configuration.
func ConfigOf(config store.SystemConfig) Config {
	return Config{Window: config.BatchWindow, IdleTimeout: config.BatchIdleTimeout}
}

// clockTolerance is how far in the future a batch may have been touched: a clock is now and then
// set right. Beyond it the clock must have been set back.
const clockTolerance = 5 * time.Minute

// ShouldClose tells whether an open batch was over when it was read: nothing had come for the idle
// timeout, or the window had passed since its first image came. Both use the clock on the wall, so
// that images that arrive late in a bundle still find each other, and both limits are reached at
// exactly their length. It is one clock, that of the database: it stamped the row and told when it
// was read. A batch from the future, because that clock was set back, is over too: it would stay
// open for as long as the clock was set back.
func ShouldClose(open store.Batch, config Config) bool {
	return open.ReadAt.Sub(open.TouchedAt) >= config.IdleTimeout ||
		open.ReadAt.Sub(open.CreatedAt) >= config.Window ||
		open.TouchedAt.Sub(open.ReadAt) > clockTolerance
}

// Joins tells whether an image belongs to the camera's open batch: the batch is not over, and all
// its images with this one lie within one window by image time. An image at exactly the window's
// length after the first one starts a new batch. An image that is older than the batch, because it
// was detected late, joins under the same rule.
func Joins(open store.Batch, imageTime time.Time, config Config) bool {
	if ShouldClose(open, config) {
		return false
	}
	first, last := open.OpenedAt, open.LastAt
	if imageTime.Before(first) {
		first = imageTime
	}
	if imageTime.After(last) {
		last = imageTime
	}
	return last.Sub(first) < config.Window
}

// Decide is Joins in the form that the store asks for.
func Decide(config Config) store.Join {
	return func(open store.Batch, imageTime time.Time) store.JoinDecision {
		if Joins(open, imageTime, config) {
			return store.JoinOpen
		}
		return store.CloseAndStart
	}
}
