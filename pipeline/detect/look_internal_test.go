package detect

import (
	"testing"
	"time"

	"hsi.home.arpa/pipeline/demo"
)

// BenchmarkLook is what the motion detector does with each image once it is decoded and measured.
func BenchmarkLook(b *testing.B) {
	story := demo.Story(1)
	var grids []grid
	for frame := range 16 {
		grids = append(grids, newGrid(story.Frame(frame)))
	}
	s := &scene{}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for n := 0; b.Loop(); n++ {
		at = at.Add(time.Second)
		s.look(grids[n%len(grids)], at)
	}
}

// BenchmarkNewGrid measures an image of the size that small cameras send.
func BenchmarkNewGrid(b *testing.B) {
	frame := demo.Story(1).Frame(1)
	for b.Loop() {
		newGrid(frame)
	}
}
