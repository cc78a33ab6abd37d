package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// pictureRows are a thumbnail, whole and as 304, beside http.ServeContent of the same file.
func pictureRows(ctx context.Context, w *world, t *table) error {
	s, err := w.newSite(ctx, "pictures")
	if err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { _ = s.close(ctx) }()
	content, err := picture(320, 240, 1)
	if err != nil {
		return err
	}
	file := filepath.Join(s.dataDir, "thumbnails", "bench", "1.jpg")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // see newWorld
		return err
	}
	if err := os.WriteFile(file, content, 0o644); err != nil { //nolint:gosec // as the server does
		return err
	}
	for _, query := range []string{
		`INSERT INTO cameras (id, name, folder_path) VALUES ('gate', 'Gate', '/cameras/gate')`,
		`INSERT INTO events (id, camera_id, started_at) VALUES (1, 'gate', now())`,
		`INSERT INTO detections (id, camera_id, file_path, detected_at, event_id, thumbnail_path)
		VALUES (1, 'gate', '/cameras/gate/1.jpg', now(), 1, '` + file + `')`,
	} {
		if err := s.exec(ctx, query); err != nil {
			return err
		}
	}
	bare, err := startBare(ctx, bareFile, file)
	if err != nil {
		return err
	}
	defer bare.close()
	const path = "/api/detections/1/image"
	if err := s.await(ctx, path, func() bool {
		return status(ctx, s.baseURL+path) == http.StatusOK
	}); err != nil {
		return err
	}
	thumbnail := endpoint{fmt.Sprintf("thumbnail (%d kB)", len(content)/1000), path, 80}
	if err := w.compare(ctx, t, thumbnail, s, bare); err != nil {
		return err
	}
	return w.compareNotModified(ctx, t, s.baseURL+path, bare.baseURL+path)
}

// compareNotModified asks both for what the client has already.
func (w *world) compareNotModified(ctx context.Context, t *table, ours, theirs string) error {
	const percent = 85
	var ratios, rates, bareRates []float64
	for range w.rounds {
		var both [2]float64
		for i, url := range []string{ours, theirs} {
			a, err := get(ctx, url)
			if err != nil {
				return err
			}
			if both[i], err = w.wrk(ctx, url, "If-None-Match: "+a.etag); err != nil {
				return err
			}
		}
		ratios = append(ratios, 100*both[0]/both[1])
		rates, bareRates = append(rates, both[0]), append(bareRates, both[1])
	}
	t.add(row{
		what:     "thumbnail that the client has (304)",
		measured: fmt.Sprintf("%s, %.0f %%", rate(median(rates)), median(ratios)),
		compared: "bare server " + rate(median(bareRates)),
		target:   fmt.Sprintf("≥ %d %%", percent), ok: median(ratios) >= percent,
	})
	return nil
}

// serveFile answers with a file as http.ServeContent does, and with an ETag that never changes.
func serveFile(path string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, err := os.Open(path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer file.Close()
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Type", "image/jpeg")
		http.ServeContent(w, r, "", time.Time{}, file)
	})
}
