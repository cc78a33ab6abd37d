//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image"
	_ "image/jpeg" // what pictures are
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/pipeline/aitest"
)

// TestServe_WhatTheCamerasSaw: the smoke test of the server that this one replaces, written as its
// users write it, and then everything else that a new event can be asked for.
func TestServe_WhatTheCamerasSaw(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "CAMERA_OFFLINE_AFTER_SECONDS=3600", "TZ=Europe/Berlin")
	root := lastValue(w.Env, "FOSCAM_BASE_PATH")
	folder := filepath.Join(root, "Smoke Test")

	// Create a camera, drop a picture into its folder, and poll.
	status, body := w.request(http.MethodPost, "/api/cameras", jsonHeader(),
		fmt.Appendf(nil, `{"name":"Smoke test","folder_path":%q,"status":"online"}`, folder))
	require.Equal(t, http.StatusCreated, status, "%s", body)
	var camera struct{ ID, Status string }
	require.NoError(t, json.Unmarshal(body, &camera))
	require.Equal(t, "smoke_test", camera.ID, "the id that intake gives the folder")
	require.Equal(t, "offline", camera.Status)
	status, _ = w.request(http.MethodPost, "/api/cameras", jsonHeader(), []byte(`{"name":"x","folder_path":"Smoke Test"}`))
	require.Equal(t, http.StatusConflict, status)

	socket, _, err := websocket.Dial(t.Context(), strings.Replace(w.BaseURL, "http", "ws", 1)+"/ws/events", nil) //nolint:bodyclose // see its documentation
	require.NoError(t, err)
	defer func() { _ = socket.CloseNow() }()
	stream, err := http.DefaultClient.Do(mustRequest(t, w.BaseURL+"/api/events/stream"))
	require.NoError(t, err)
	defer stream.Body.Close()

	picture := aitest.Picture(1, person(1)...)
	require.NoError(t, e2e.WriteRenamed(filepath.Join(folder, "1.jpg"), picture, time.Time{}))
	var detections struct {
		Detections []struct {
			ID           int64
			FilePath     string `json:"file_path"`
			ObjectType   string `json:"object_type"`
			PictureWidth int    `json:"picture_width"`
		}
		Count int
	}
	w.eventually("a detection", func() bool {
		w.getJSON("/api/detections?camera_id=smoke_test", &detections)
		return detections.Count > 0
	})
	require.Equal(t, "Smoke Test/1.jpg", detections.Detections[0].FilePath)
	require.Equal(t, "person", detections.Detections[0].ObjectType)
	decoded, _, err := image.DecodeConfig(bytes.NewReader(picture))
	require.NoError(t, err)
	require.Equal(t, decoded.Width, detections.Detections[0].PictureWidth)
	var events struct {
		Events []struct {
			ID           int64
			ThumbnailURL string   `json:"thumbnail_url"`
			ObjectTypes  []string `json:"object_types"`
			Reviewed     bool
		}
		Count    int
		Position string
	}
	w.eventually("an event", func() bool {
		w.getJSON("/api/events?camera_id=smoke_test", &events)
		return events.Count > 0
	})
	event := events.Events[0]
	require.Equal(t, []string{"person"}, event.ObjectTypes)

	// Both ways of being told say the same.
	_, message, err := socket.Read(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(message), fmt.Sprintf(`"event_id":%d`, event.ID))
	lines := bufio.NewScanner(stream.Body)
	told := false
	for !told && lines.Scan() {
		told = strings.HasPrefix(lines.Text(), "data:") && strings.Contains(lines.Text(), fmt.Sprintf(`"id":%d,`, event.ID))
	}
	require.True(t, told)
	// Its position is known now: what a list is read at does not go beyond what the stream has
	// told.
	w.getJSON("/api/events?camera_id=smoke_test", &events)

	// Its pictures.
	for path, width := range map[string]int{
		event.ThumbnailURL: 0, event.ThumbnailURL + "?width=160": 160,
		fmt.Sprintf("/api/detections/%d/image", detections.Detections[0].ID): 0,
		fmt.Sprintf("/api/media/detections/%d", detections.Detections[0].ID): decoded.Width,
		"/api/cameras/smoke_test/snapshot":                                   decoded.Width,
	} {
		status, body := w.get(path)
		require.Equal(t, http.StatusOK, status, "%s: %s", path, body)
		got, _, err := image.DecodeConfig(bytes.NewReader(body))
		require.NoError(t, err, path)
		if width > 0 {
			require.Equal(t, min(width, decoded.Width), got.Width, path)
		}
	}

	// Why, and what people say about it.
	var detail struct {
		Analyzer   string
		Detections []struct{ ID int64 }
		Stages     map[string]*time.Time
	}
	w.getJSON(fmt.Sprintf("/api/events/%d", event.ID), &detail)
	require.NotEmpty(t, detail.Analyzer)
	require.Len(t, detail.Detections, 1)
	for stage, at := range detail.Stages {
		require.NotNil(t, at, stage)
	}
	status, body = w.request(http.MethodPatch, fmt.Sprintf("/api/events/%d", event.ID), jsonHeader(), []byte(`{"notes":"the postman"}`))
	require.Equal(t, http.StatusOK, status, "%s", body)
	status, body = w.request(http.MethodPost, "/api/events/review", jsonHeader(),
		fmt.Appendf(nil, `{"matching":{"position":%q,"camera_id":["smoke_test"]}}`, events.Position))
	require.Equal(t, http.StatusOK, status, "%s", body)
	w.getJSON("/api/events?camera_id=smoke_test&reviewed=true&object_type=person&min_score=0&order=asc", &events)
	require.Equal(t, 1, events.Count)
	var results struct {
		Total int `json:"total_count"`
	}
	w.getJSON("/api/events/search?q=smoke", &results)
	require.Equal(t, 1, results.Total, "by the camera's name")
	status, body = w.get("/api/events/export?camera_id=smoke_test")
	require.Equal(t, http.StatusOK, status)
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 2)
	var summary struct {
		Buckets  []struct{ Events, Unreviewed int }
		TimeZone string `json:"time_zone"`
	}
	w.getJSON("/api/events/summary", &summary)
	require.Equal(t, "Europe/Berlin", summary.TimeZone)
	require.Len(t, summary.Buckets, 1)
	require.Zero(t, summary.Buckets[0].Unreviewed)
	w.getJSON("/api/cameras/smoke_test", &camera)
	require.Equal(t, "online", camera.Status)

	// The original is gone, and the thumbnail stays.
	require.NoError(t, os.Remove(filepath.Join(folder, "1.jpg")))
	status, _ = w.get(fmt.Sprintf("/api/media/detections/%d", detections.Detections[0].ID))
	require.Equal(t, http.StatusGone, status)
	status, _ = w.get(event.ThumbnailURL)
	require.Equal(t, http.StatusOK, status)
	w.stop()
	require.NotContains(t, w.log(), `"level":"ERROR"`)
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }

func mustRequest(t *testing.T, address string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	require.NoError(t, err)
	return request
}
