package detect

import (
	"math"
	"time"
)

// How the motion detector judges. Brightness is 0 to 255.
const (
	// minDelta is the least difference from the background that counts, however quiet the scene.
	minDelta = 12
	// noiseFactor is how many times a cell's usual deviation a difference must be.
	noiseFactor = 5
	// firstNoise and leastNoise bound what is assumed and learned about a cell's deviation.
	firstNoise, leastNoise = 3, 0.5
	// changedShare is the share of differing cells from which on the whole scene has changed:
	// lights on, camera turned.
	changedShare = 0.5
	// confirmChange is after how many such images the new scene is believed. A single flash is not.
	confirmChange = 2
	// stillFor is how many images a cell may stay unchanged and still count as moving.
	stillFor = 2
	// movingShare is the share of an object's cells that must have moved; what an object leaves
	// behind does not move.
	movingShare = 0.15
	// absorbAfter is after how many unchanged images a difference becomes background.
	absorbAfter = 20
	// loneGap is the time without images after which the next one has no neighbour that could
	// confirm it. Cameras that upload single pictures on alarm are believed at once.
	loneGap = 15 * time.Second
	// learnTime is the time in which the background follows a lasting change of light.
	learnTime = 20 * time.Second
	// maxLearn is the most that one image weighs against the background once that is known.
	maxLearn = 0.5
	// warmUp is for how many images the background is their plain mean.
	warmUp = 6
)

// look finds what moves in g and learns from it.
func (s *scene) look(g grid, takenAt time.Time) []blob {
	if s.frames == 0 || s.cols != g.cols || s.rows != g.rows {
		s.start(g, takenAt)
		return nil
	}
	gap := max(0, takenAt.Sub(s.takenAt))
	s.takenAt = takenAt
	shift := measureLight(g.cells, s.mean)
	s.adaptToLight(shift)
	mask, differing := s.compare(g.cells)
	if float64(differing) > changedShare*float64(len(mask)) {
		return s.sceneChanged(g, takenAt)
	}
	s.changed = 0
	s.countStill(g.cells)
	moving := s.movingBlobs(mask, g.cells)
	found := moving
	if gap <= loneGap {
		found = confirmed(moving, s.seen)
	}
	s.seen = moving
	s.learn(g.cells, mask, gap)
	return found
}

// start takes g as the background.
func (s *scene) start(g grid, takenAt time.Time) {
	n := len(g.cells)
	s.cols, s.rows, s.frames, s.changed, s.takenAt = g.cols, g.rows, 1, 0, takenAt
	s.mean, s.last, s.still, s.noise = make([]float32, n), make([]float32, n), make([]uint8, n), make([]float32, n)
	copy(s.mean, g.cells)
	copy(s.last, g.cells)
	for i := range s.noise {
		s.noise[i] = firstNoise
	}
	s.seen = nil
}

// sceneChanged handles an image in which nearly everything differs. One such image is a flash and
// changes nothing.
func (s *scene) sceneChanged(g grid, takenAt time.Time) []blob {
	s.changed++
	if s.changed >= confirmChange {
		s.start(g, takenAt)
	}
	s.seen = nil
	return nil
}

// threshold is the difference that cell i must exceed.
func (s *scene) threshold(i int) float32 {
	return clamp(noiseFactor*s.noise[i], minDelta, math.MaxFloat32)
}

// compare marks the cells that differ from the background and counts them.
func (s *scene) compare(cells []float32) (mask []bool, differing int) {
	mask = make([]bool, len(cells))
	for i, value := range cells {
		if absolute(value-visible(s.mean[i])) > s.threshold(i) {
			mask[i] = true
			differing++
		}
	}
	return mask, differing
}

// adaptToLight carries background and last image over to the light of the present image. They may
// leave 0 to 255 on the way, so that they come back whole when a flash is over.
func (s *scene) adaptToLight(shift lightShift) {
	for i := range s.mean {
		s.mean[i] = shift.apply(s.mean[i])
		s.last[i] = shift.apply(s.last[i])
	}
}

// countStill counts for each cell how long it has not changed, and keeps the image for the next
// one.
func (s *scene) countStill(cells []float32) {
	for i, value := range cells {
		switch {
		case absolute(value-visible(s.last[i])) > s.threshold(i)/2:
			s.still[i] = 0
		case s.still[i] < math.MaxUint8:
			s.still[i]++
		}
	}
	copy(s.last, cells)
}

// learn moves the background towards the image: slowly where something is in front of it, at once
// where that has not moved for long.
func (s *scene) learn(cells []float32, mask []bool, gap time.Duration) {
	s.frames++
	weight := min(maxLearn, 1-float32(math.Exp(-gap.Seconds()/learnTime.Seconds())))
	if s.frames <= warmUp {
		weight = max(weight, 1/float32(s.frames))
	}
	weight = max(weight, 0.02)
	for i, value := range cells {
		difference := value - visible(s.mean[i])
		switch {
		case !mask[i]:
			s.mean[i] += weight * difference
			s.noise[i] += 0.05 * (absolute(difference) - s.noise[i])
		case s.still[i] >= absorbAfter:
			s.mean[i] = value
		default:
			s.mean[i] += weight / 10 * difference
			// What keeps crossing the same place, such as a branch in the wind, becomes noise.
			s.noise[i] += 0.01 * (min(absolute(difference), 60) - s.noise[i])
		}
		s.noise[i] = max(s.noise[i], leastNoise)
	}
}

// visible is how a camera shows a brightness.
func visible(value float32) float32 { return clamp(value, 0, 255) }

// clamp is min(most, max(least, value)) for numbers. Those builtins also care for NaN and -0, which
// takes three times as long.
func clamp(value, least, most float32) float32 {
	if value < least {
		return least
	}
	if value > most {
		return most
	}
	return value
}

// absolute clears the sign.
func absolute(value float32) float32 {
	return math.Float32frombits(math.Float32bits(value) &^ (1 << 31))
}
