package media_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

// BenchmarkWrite stores thumbnails of 12 kB durably on the disk of the temporary folder.
func BenchmarkWrite(b *testing.B) {
	dir := b.TempDir()
	s, err := media.New(media.Options{
		DB: storetest.New(b), Thumbnails: filepath.Join(dir, "t"), Clips: filepath.Join(dir, "c"), Cameras: filepath.Join(dir, "i"),
	})
	require.NoError(b, err)
	picture := make([]byte, 12_000)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Write(b.Context(), "front-1.jpg", picture); err != nil {
				b.Error(err)
			}
		}
	})
}
