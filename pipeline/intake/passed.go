package intake

import (
	"hash/maphash"
	"slices"
	"sync"
)

// passedSet remembers files by a hash of 8 bytes each: those of the last whole scan, and those of
// the one under way. A file that shares its hash with another would be overlooked until the set is
// made anew, which happens to one of 10^13 for a million files.
type passedSet struct {
	seed maphash.Seed
	last []uint64 // sorted; does not change while a scan is under way

	mu   sync.Mutex
	next []uint64 // guarded by mu
}

func newPassedSet() *passedSet { return &passedSet{seed: maphash.MakeSeed()} }

func (p *passedSet) hash(c candidate) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	_, _ = h.WriteString(c.path) // never fails
	maphash.WriteComparable(&h, c.size)
	maphash.WriteComparable(&h, c.modTime.UnixNano())
	return h.Sum64()
}

// has tells whether the last whole scan found the file recorded.
func (p *passedSet) has(c candidate) bool {
	_, found := slices.BinarySearch(p.last, p.hash(c))
	return found
}

// add notes a file that is recorded.
func (p *passedSet) add(c candidate) {
	hash := p.hash(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = append(p.next, hash)
}

// turn ends a whole scan.
func (p *passedSet) turn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.next = p.next, p.last[:0]
	slices.Sort(p.last)
}
