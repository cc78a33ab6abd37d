package intake

import (
	"context"
	"sync"
	"time"

	"hsi.home.arpa/store"
)

// maxSame bounds how many files with a new time are remembered. Beyond it they are read again at
// the next scan.
const maxSame = 100_000

// sameSet remembers files that bear another time than their row in the ledger although their bytes
// are the same, so that not every scan reads them again.
type sameSet struct {
	mu    sync.Mutex
	until map[store.ImageKey]time.Time // guarded by mu; zero: for good
}

func (s *sameSet) add(key store.ImageKey, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil || len(s.until) >= maxSame {
		s.until = make(map[store.ImageKey]time.Time)
	}
	s.until[normal(key)] = until
}

func (s *sameSet) has(key store.ImageKey, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, found := s.until[normal(key)]
	return found && (until.IsZero() || now.Before(until))
}

// normal is the key with its time in the one form in which equal times are equal.
func normal(key store.ImageKey) store.ImageKey {
	key.ModTime = time.UnixMicro(key.ModTime.UnixMicro()).UTC()
	return key
}

// known tells for each key whether nothing is to be done for it: the ledger has it, or has its
// bytes under an older time.
func (w *Watcher) known(ctx context.Context, keys []store.ImageKey) ([]bool, error) {
	known, err := w.options.Ledger.KnownImages(ctx, keys)
	if err != nil {
		return nil, err
	}
	now := w.now()
	for i, key := range keys {
		known[i] = known[i] || w.same.has(key, now)
	}
	return known, nil
}

// sameImage tells whether the file was recorded already and has only got another time, as clients
// give it after an upload.
func (w *Watcher) sameImage(ctx context.Context, img store.NewImage) (bool, error) {
	if img.SHA256 == "" {
		return false, nil
	}
	recorded, decided, err := w.options.Ledger.SameContent(ctx, img.CameraID, img.FilePath, img.SHA256)
	if err != nil || !recorded {
		return false, err
	}
	var until time.Time
	if !decided { // the row may still turn out to have lost its bytes
		until = w.now().Add(w.options.ScanInterval)
	}
	w.same.add(img.ImageKey, until)
	return true, nil
}
