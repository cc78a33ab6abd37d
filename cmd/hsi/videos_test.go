//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/pipeline/video/videotest"
	"hsi.home.arpa/store/storetest"
)

// A video that a camera uploads becomes an event as images do: its pictures come from ffmpeg, what
// moves in them is found, and the thumbnails are on the disk.
func TestServe_AVideoBecomesAnEvent(t *testing.T) {
	t.Parallel()
	url := storetest.NewURL(t)
	p := serve(t, append([]string{"DATABASE_URL=" + url, "REDIS_URL=" + embeddedtest.NewRedis(t).URL()}, quick...)...)
	film := filepath.Join(t.TempDir(), "film.mp4")
	videotest.Make(t, film, "-f", "lavfi", "-i", "color=gray:size=320x240:rate=5:duration=9",
		"-f", "lavfi", "-i", "color=white:size=60x100:rate=5:duration=9", "-filter_complex", "overlay=x=20*t:y=70", "-c:v", "libx264", "-pix_fmt", "yuv420p")
	data, err := os.ReadFile(film)
	require.NoError(t, err)
	gate := filepath.Join(p.DataDir, "cameras", "gate")
	require.NoError(t, os.MkdirAll(gate, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(gate, "film.mp4"), data, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(gate, "broken.mkv"), []byte("no video"), 0o600))

	p.eventually("the video is in an event", func() bool {
		return queryInt(t, url, `SELECT count(*) FROM images AS i JOIN batches AS b ON b.id = i.batch_id
			WHERE i.file_path LIKE '%/film.mp4' AND i.state = 'analyzed' AND b.event_id IS NOT NULL`) == 1
	})
	p.eventually("the other is given up", func() bool {
		return queryInt(t, url, `SELECT count(*) FROM images WHERE file_path LIKE '%/broken.mkv' AND state = 'dead_lettered' AND reason LIKE '%broken video%'`) == 1
	})
	db := sqlx.MustOpen("postgres", url)
	defer db.Close()
	var rows []struct {
		FileType  string `db:"file_type"`
		Thumbnail string `db:"thumbnail_path"`
	}
	require.NoError(t, db.SelectContext(t.Context(), &rows, `SELECT file_type, thumbnail_path FROM detections WHERE media_type = 'video'`))
	require.NotEmpty(t, rows)
	for _, row := range rows {
		require.Equal(t, "video/mp4", row.FileType)
		path := row.Thumbnail
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.DataDir, "thumbnails", path)
		}
		require.FileExists(t, path)
	}
	require.Zero(t, queryInt(t, url, `SELECT count(*) FROM detections WHERE media_type <> 'video'`))
	p.stop()
}
