package server

import (
	"bytes"
	"context"
	"sync"
	"time"

	"hsi.home.arpa/server/pictures"
	"hsi.home.arpa/store"
)

// examplePicture is the smallest JPEG that looks like one.
const examplePicture = "\xff\xd8\xff\xe0\x00\x10JFIF\x00 a picture \xff\xd9"

// fakePictures has the same picture for everything, or an error.
type fakePictures struct {
	err       error
	content   string
	mediaType string

	mu    sync.Mutex
	width int // that was asked for last; guarded by mu
}

func newFakePictures() *fakePictures {
	return &fakePictures{content: examplePicture, mediaType: "image/jpeg"}
}

func (f *fakePictures) picture(immutable bool) (*pictures.File, error) {
	if f.err != nil {
		return nil, f.err
	}
	return &pictures.File{
		ReadSeeker: bytes.NewReader([]byte(f.content)), MediaType: f.mediaType,
		ETag: `"abc"`, Immutable: immutable,
	}, nil
}

func (f *fakePictures) Thumbnail(context.Context, int64) (*pictures.File, error) {
	return f.picture(true)
}

func (f *fakePictures) Original(context.Context, int64) (*pictures.File, error) {
	return f.picture(false)
}

func (f *fakePictures) Event(_ context.Context, _ int64, width int) (*pictures.File, error) {
	f.noteWidth(width)
	return f.picture(false)
}

func (f *fakePictures) Snapshot(_ context.Context, _ string, width int) (*pictures.File, error) {
	f.noteWidth(width)
	return f.picture(false)
}

func (f *fakePictures) noteWidth(width int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.width = width
}

func (f *fakePictures) lastWidth() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.width
}

// fakeSessions keeps sessions in memory.
type fakeSessions struct {
	mu       sync.Mutex
	err      error
	sessions map[store.SessionHash]store.Session
	actors   []store.Actor // of all changes
	refused  []store.Actor
	lookups  int
	during   func() // a lookup
}

func newFakeSessions() *fakeSessions {
	return &fakeSessions{sessions: map[store.SessionHash]store.Session{}}
}

func (f *fakeSessions) SessionCookieSuffix(context.Context) (string, error) {
	return "0123abcd", f.err
}

func (f *fakeSessions) CreateSession(_ context.Context, secret, key store.SessionHash,
	lifetime time.Duration, actor store.Actor,
) (time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return time.Time{}, f.err
	}
	f.sessions[secret] = store.Session{Key: key, Left: lifetime}
	f.actors = append(f.actors, actor)
	return time.Date(2026, 1, 22, 10, 30, 0, 0, time.UTC), nil
}

func (f *fakeSessions) Session(_ context.Context, secret store.SessionHash) (store.Session, error) {
	if f.during != nil {
		defer f.during()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups++
	found, ok := f.sessions[secret]
	switch {
	case f.err != nil:
		return store.Session{}, f.err
	case !ok:
		return store.Session{}, store.ErrNotFound
	}
	return found, nil
}

func (f *fakeSessions) EndSession(_ context.Context, secret store.SessionHash,
	actor store.Actor,
) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.sessions[secret]
	delete(f.sessions, secret)
	f.actors = append(f.actors, actor)
	return ok, f.err
}

func (f *fakeSessions) EndSessionsOfOtherKeys(_ context.Context, keys []store.SessionHash) (int64,
	error,
) {
	return int64(len(keys)), f.err
}

func (f *fakeSessions) RecordRefusedKey(_ context.Context, actor store.Actor) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, actor)
	return f.err
}
