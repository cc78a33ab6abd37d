package detect

import (
	"cmp"
	"image"
	"slices"
)

const (
	// minCells is the least size of an object in cells.
	minCells = 8
	// neighbours is how many of a cell's eight neighbours must differ too, so that single cells do
	// not count.
	neighbours = 3
	// maxBlobs bounds how many objects one image can have; the largest are kept.
	maxBlobs = 20
	// reach is how far an object may move from one image to the next, as a share of the grid's
	// larger side.
	reach = 0.3
	// likeness is how many times larger or smaller an object may be in the next image.
	likeness = 6
)

// blob is a connected group of cells that differ from the background.
type blob struct {
	box      image.Rectangle // in cells
	cells    int
	moving   int     // cells that changed lately
	strength float32 // sum over cells of difference divided by threshold
}

// confidence rises from 0.5 for a difference that just passes the threshold towards 1.
func (b blob) confidence() float64 {
	mean := float64(b.strength) / float64(b.cells)
	return min(0.99, 1-0.5/max(1, mean))
}

// movingBlobs groups the marked cells into objects and keeps those that are large enough and move,
// largest first.
func (s *scene) movingBlobs(mask []bool, cells []float32) []blob {
	clean := s.withoutLoners(mask)
	visited := make([]bool, len(clean))
	var blobs []blob
	var stack []int
	for start, marked := range clean {
		if !marked || visited[start] {
			continue
		}
		var b blob
		b, stack = s.grow(clean, visited, cells, start, stack[:0])
		if b.cells >= minCells && float64(b.moving) >= movingShare*float64(b.cells) {
			blobs = append(blobs, b)
		}
	}
	slices.SortStableFunc(blobs, func(a, b blob) int { return cmp.Compare(b.cells, a.cells) })
	return blobs[:min(len(blobs), maxBlobs)]
}

// withoutLoners unmarks cells that have too few marked neighbours.
func (s *scene) withoutLoners(mask []bool) []bool {
	clean := make([]bool, len(mask))
	for y := range s.rows {
		for x := range s.cols {
			i := y*s.cols + x
			if !mask[i] {
				continue
			}
			count := -1 // the cell itself
			for ny := max(0, y-1); ny <= min(s.rows-1, y+1); ny++ {
				for nx := max(0, x-1); nx <= min(s.cols-1, x+1); nx++ {
					if mask[ny*s.cols+nx] {
						count++
					}
				}
			}
			clean[i] = count >= neighbours
		}
	}
	return clean
}

// grow collects the object that cell start belongs to. Gaps of one cell do not split an object.
func (s *scene) grow(clean, visited []bool, cells []float32, start int, stack []int) (blob, []int) {
	const gap = 2
	b := blob{box: image.Rectangle{Min: image.Pt(s.cols, s.rows)}}
	stack = append(stack, start)
	visited[start] = true
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		x, y := i%s.cols, i/s.cols
		b.add(x, y)
		b.strength += absolute(cells[i]-visible(s.mean[i])) / s.threshold(i)
		if s.still[i] <= stillFor {
			b.moving++
		}
		for ny := max(0, y-gap); ny <= min(s.rows-1, y+gap); ny++ {
			for nx := max(0, x-gap); nx <= min(s.cols-1, x+gap); nx++ {
				if n := ny*s.cols + nx; clean[n] && !visited[n] {
					visited[n] = true
					stack = append(stack, n)
				}
			}
		}
	}
	return b, stack
}

func (b *blob) add(x, y int) {
	b.cells++
	b.box.Min.X, b.box.Min.Y = min(b.box.Min.X, x), min(b.box.Min.Y, y)
	b.box.Max.X, b.box.Max.Y = max(b.box.Max.X, x+1), max(b.box.Max.Y, y+1)
}

// confirmed keeps the objects that were there, near and of like size, in the image before. What
// shows in one image only is flicker.
func confirmed(blobs, before []blob) []blob {
	var kept []blob
	for _, b := range blobs {
		if slices.ContainsFunc(before, b.follows) {
			kept = append(kept, b)
		}
	}
	return kept
}

// follows tells whether b can be the same object as one of the image before.
func (b blob) follows(before blob) bool {
	if b.cells > likeness*before.cells || before.cells > likeness*b.cells {
		return false
	}
	const far = reach * gridSide
	// Twice the distance of the centres.
	dx := float64(b.box.Min.X + b.box.Max.X - before.box.Min.X - before.box.Max.X)
	dy := float64(b.box.Min.Y + b.box.Max.Y - before.box.Min.Y - before.box.Max.Y)
	return dx*dx+dy*dy <= 4*far*far
}
