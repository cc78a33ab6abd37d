package detect

// lightShift says how the brightness of a whole image differs from the background: by a factor or
// by an amount, whichever explains it better.
type lightShift struct {
	factor, amount float32
}

func (l lightShift) apply(value float32) float32 { return value*l.factor + l.amount }

// measureLight estimates the shift by medians, so that objects in the image do not count.
func measureLight(cells, mean []float32) lightShift {
	cells, mean = sampled(cells), sampled(mean)
	byAmount := lightShift{factor: 1, amount: medianDifference(cells, mean)}
	byFactor := lightShift{factor: medianRatio(cells, mean)}
	// A near-black image has no ratio that would lead back out of it.
	const least = 1.0 / maxRatio
	if byFactor.factor > least && medianError(cells, mean, byFactor) < medianError(cells, mean, byAmount) {
		return byFactor
	}
	return byAmount
}

// sampled takes some thousand cells out of many, which is enough for a median.
func sampled(cells []float32) []float32 {
	const enough = 2500
	step := len(cells)/enough | 1 // odd, because rows mostly have an even number of cells: else it would be the same columns in each
	if step == 1 {
		return cells
	}
	kept := make([]float32, 0, len(cells)/step+1)
	for i := 0; i < len(cells); i += step {
		kept = append(kept, cells[i])
	}
	return kept
}

// Medians are taken over histograms with steps of a quarter of brightness, and a 256th for ratios.
const (
	differenceSteps = 4
	ratioSteps      = 256
	maxRatio        = 4
)

func medianDifference(cells, mean []float32) float32 {
	var counts [2*255*differenceSteps + 1]int
	for i, value := range cells {
		difference := clamp(value-mean[i], -255, 255)
		counts[int((difference+255)*differenceSteps+0.5)]++
	}
	return float32(medianIndex(counts[:], len(cells))-255*differenceSteps) / differenceSteps
}

// medianRatio ignores cells that are too dark to tell a ratio; where most are, it says 1.
func medianRatio(cells, mean []float32) float32 {
	const darkest = 16
	var counts [maxRatio*ratioSteps + 1]int
	n := 0
	for i, value := range cells {
		if mean[i] < darkest {
			continue
		}
		counts[int(clamp(value/mean[i], 0, maxRatio)*ratioSteps+0.5)]++
		n++
	}
	if n < len(cells)/4 {
		return 1
	}
	return float32(medianIndex(counts[:], n)) / ratioSteps
}

// medianError is how far the typical cell is from what the shift predicts.
func medianError(cells, mean []float32, shift lightShift) float32 {
	var counts [255*differenceSteps + 1]int
	for i, value := range cells {
		counts[int(absolute(value-visible(shift.apply(mean[i])))*differenceSteps+0.5)]++
	}
	return float32(medianIndex(counts[:], len(cells))) / differenceSteps
}

func medianIndex(counts []int, n int) int {
	passed := 0
	for i, count := range counts {
		passed += count
		if 2*passed > n {
			return i
		}
	}
	return 0
}
