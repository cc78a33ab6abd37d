package intake

import "sync"

// onceSet remembers what was said already. It forgets when it has grown too large, so that
// something may be said again.
type onceSet struct {
	mu   sync.Mutex
	said map[string]struct{} // guarded by mu
}

// first tells whether it is asked about what for the first time.
func (s *onceSet) first(what string) bool {
	const most = 10_000
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, said := s.said[what]; said {
		return false
	}
	if s.said == nil || len(s.said) >= most {
		s.said = make(map[string]struct{})
	}
	s.said[what] = struct{}{}
	return true
}
