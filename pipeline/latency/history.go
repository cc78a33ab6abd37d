package latency

import (
	"sync"
	"time"
)

const (
	// MaxWindowMinutes is the longest window of a Summary.
	MaxWindowMinutes = 1440

	// The history is a ring of minutes, kept a little longer than the longest window. Whole blocks
	// of minutes that are over are merged once, so that the longest window costs about a hundred
	// merges and not 1,441.
	blockShift   = 5
	blockMinutes = 1 << blockShift
	ringBlocks   = 48
	ringMinutes  = ringBlocks * blockMinutes
)

// minute is what is known of one minute.
type minute struct {
	number  int64                  // Unix time / 60
	own     [stageCount]*histogram // measured by this writer
	others  [stageCount]*histogram // measured by all other writers, as far as they have written it to Redis
	all     [stageCount]*histogram // both together
	unsaved [stageCount]bool       // own is newer than what Redis has
}

// history holds the last ringMinutes minutes. It belongs to the goroutine of Recorder.Run.
type history struct {
	minutes [ringMinutes]minute
	blocks  [stageCount][ringBlocks]block
	changed [stageCount]bool // since the last figures
	newest  int64            // the minute that the last figures end with
	last    *figures
}

// block is the sum of one stage over blockMinutes minutes, all of them over.
type block struct {
	number int64 // minute number / blockMinutes
	valid  bool
	sum    *histogram
}

// slot returns the place of a number in a ring, also for the negative numbers of a clock before
// 1970.
func slot(number, size int64) int64 {
	return (number%size + size) % size
}

// at returns the slot of a minute, emptied if it still holds another one.
func (h *history) at(number int64) *minute {
	m := &h.minutes[slot(number, ringMinutes)]
	if m.number != number {
		*m = minute{number: number}
	}
	return m
}

// observed adds what this writer has measured since the last call.
func (h *history) observed(stage Stage, number int64, measured *histogram) {
	m := h.at(number)
	m.own[stage] = merge(m.own[stage], measured)
	m.unsaved[stage] = true
	h.touch(m, stage)
}

// loaded takes over what the other writers have in Redis. A writer's figures only grow, so fewer
// samples than before mean that Redis has lost some, and what is known here stays.
func (h *history) loaded(number int64, others [stageCount]*histogram) {
	for stage, found := range others {
		if found == nil {
			continue
		}
		m := h.at(number)
		if known := m.others[stage]; known == nil || found.count > known.count {
			m.others[stage] = found
			h.touch(m, Stage(stage))
		}
	}
}

func (h *history) touch(m *minute, stage Stage) {
	m.all[stage] = merge(m.own[stage], m.others[stage])
	h.changed[stage] = true
	h.blocks[stage][slot(m.number>>blockShift, ringBlocks)].valid = false
}

// figures is an immutable copy of the history for readers. Summaries are worked out when they are
// first asked for.
type figures struct {
	newest  int64
	minutes [stageCount]*[ringMinutes]*histogram // nil = no samples
	blocks  [stageCount]*[ringBlocks]*histogram

	mu        sync.Mutex
	summaries map[summaryKey]Summary // guarded by mu
}

type summaryKey struct {
	stage  Stage
	window int
}

// figures returns the figures as of the given minute; the last ones when nothing has changed.
func (h *history) figures(newest int64) *figures {
	sameMinute := h.last != nil && h.newest == newest
	next := &figures{newest: newest, summaries: make(map[summaryKey]Summary)}
	fresh := !sameMinute
	for stage := range Stage(stageCount) {
		if sameMinute && !h.changed[stage] {
			next.minutes[stage], next.blocks[stage] = h.last.minutes[stage], h.last.blocks[stage]
			continue
		}
		fresh = true
		h.changed[stage] = false
		next.minutes[stage], next.blocks[stage] = h.copyStage(stage, newest)
	}
	if fresh {
		h.newest, h.last = newest, next
	}
	return h.last
}

func (h *history) copyStage(stage Stage, newest int64) (*[ringMinutes]*histogram, *[ringBlocks]*histogram) {
	oldest := newest - MaxWindowMinutes
	minutes, blocks := new([ringMinutes]*histogram), new([ringBlocks]*histogram)
	for i := range h.minutes {
		if m := &h.minutes[i]; m.number >= oldest && m.number <= newest {
			minutes[i] = m.all[stage]
		}
	}
	for number := (oldest + blockMinutes - 1) >> blockShift; (number+1)<<blockShift <= newest; number++ {
		i := slot(number, ringBlocks)
		b := &h.blocks[stage][i]
		if !b.valid || b.number != number {
			first := slot(number<<blockShift, ringMinutes)
			*b = block{number: number, valid: true, sum: mergeAll(minutes[first : first+blockMinutes])}
		}
		blocks[i] = b.sum
	}
	return minutes, blocks
}

func mergeAll(histograms []*histogram) *histogram {
	var sum *histogram
	for _, h := range histograms {
		sum = merge(sum, h)
	}
	return sum
}

// summary describes the minutes newest-window to newest: the current minute, which is not over yet,
// and so many whole ones.
func (f *figures) summary(stage Stage, window int) Summary {
	key := summaryKey{stage: stage, window: window}
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.summaries[key]; ok {
		return known
	}
	sum := accumulators.Get().(*accumulator) //nolint:forcetypeassert // the pool holds nothing else
	defer accumulators.Put(sum)
	sum.reset()
	for number := f.newest - int64(window); number <= f.newest; {
		if number&(blockMinutes-1) == 0 && number+blockMinutes <= f.newest {
			sum.add(f.blocks[stage][slot(number>>blockShift, ringBlocks)])
			number += blockMinutes
			continue
		}
		sum.add(f.minutes[stage][slot(number, ringMinutes)])
		number++
	}
	result := sum.summary()
	f.summaries[key] = result
	return result
}

// accumulators are 30 kB each and needed for microseconds.
var accumulators = sync.Pool{New: func() any { return new(accumulator) }}

// view is what readers see: figures, and when Redis was last known to agree with them.
type view struct {
	figures     *figures
	refreshedAt time.Time
}
