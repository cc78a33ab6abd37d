package server

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/seen"
)

// TestSeen_NotFound: what is not there has a sentence that names it.
func TestSeen_NotFound(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	for _, test := range []struct{ method, target, body, detail string }{
		{"GET", "/api/cameras/attic", "", "Camera with id attic not found"},
		{"PATCH", "/api/cameras/attic", `{"name":"x"}`, "Camera with id attic not found"},
		{"GET", "/api/events/7", "", "Event with id 7 not found"},
		{"PATCH", "/api/events/7", `{"reviewed":true}`, "Event with id 7 not found"},
		{"GET", "/api/events/7/detections", "", "Event with id 7 not found"},
		{"GET", "/api/detections/7", "", "Detection with id 7 not found"},
	} {
		got := s.send(t, test.method, test.target, test.body).want(t, http.StatusNotFound)
		require.JSONEq(t, fmt.Sprintf(`{"detail":%q}`, test.detail), string(got.body))
	}
	// A folder's name has up to 255 bytes, and an id is made of it.
	s.get(t, "/api/cameras/"+strings.Repeat("x", 255)).want(t, http.StatusNotFound)
	s.get(t, "/api/cameras/"+strings.Repeat("x", 256)).wantInvalid(t, "path camera_id")
	for _, id := range []string{"x", "0", "-1", "1.5", "9007199254740992"} {
		s.get(t, "/api/events/"+id).wantInvalid(t, "path event_id")
		s.get(t, "/api/detections/"+id).wantInvalid(t, "path detection_id")
	}
}

// TestListEvents_Parameters: each parameter arrives as what it means.
func TestListEvents_Parameters(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f)
	utc := func(text string) *time.Time { return new(at(t, text)) }
	for query, want := range map[string]seen.EventFilter{
		"":                                {Zone: "UTC"},
		"camera_id=garden,a%20b":          {CameraIDs: []string{"garden", "a b"}, Zone: "UTC"},
		"risk_level=high,critical":        {RiskLevels: []string{"high", "critical"}, Zone: "UTC"},
		"object_type=person,vehicle":      {ObjectTypes: []string{"person", "vehicle"}, Zone: "UTC"},
		"reviewed=false&min_score=60":     {Reviewed: new(false), MinScore: new(60), Zone: "UTC"},
		"start_date=2025-12-23T09:00:00Z": {From: utc("2025-12-23T09:00:00Z"), Zone: "UTC"},
		"end_date=2025-12-23":             {Before: utc("2025-12-24T00:00:00Z"), Zone: "UTC"},
		"hours=22:00-06:30":               {Hours: &seen.Hours{From: 1320, Before: 390}, Zone: "UTC"},
		"hours=00:00-00:00&camera_id=garden": {
			Hours: &seen.Hours{}, CameraIDs: []string{"garden"}, Zone: "Europe/Berlin", // the camera's own
		},
		"start_date=2025-03-30&end_date=2025-03-30&time_zone=Europe/Berlin": { // 23 hours
			From: utc("2025-03-29T23:00:00Z"), Before: utc("2025-03-30T22:00:00Z"), Zone: "Europe/Berlin",
		},
	} {
		body := decoded(t, s.get(t, "/api/events?"+query).want(t, 200).body)
		require.Equal(t, want, f.seen.filter, query)
		used := strings.Contains(query, "hours") || strings.Contains(query, "_date=2025-03-30") || strings.Contains(query, "end_date")
		require.Equal(t, used, body["time_zone"] != nil, query)
		if used {
			require.Equal(t, want.Zone, body["time_zone"])
		}
	}
	for query, place := range map[string]string{
		"risk_level=grave": "query risk_level 0", "camera_id=": "query camera_id", "min_score=101": "query min_score",
		"hours=22-6": "query hours", "hours=24:00-01:00": "query hours", "time_zone=Mars/Olympus": "query time_zone",
		"time_zone=Local": "query time_zone", "time_zone=/UTC": "query time_zone",
		"time_zone=Europe//Berlin": "query time_zone", "time_zone=posix/UTC": "query time_zone",
		"time_zone=localtime": "query time_zone", "limit=0": "query limit", "limit=1001": "query limit", "offset=-1": "query offset",
		"order=up": "query order", "start_date=2025-02-30": "query start_date", "skip=5": "query skip", "cursor=abcdefgh": "query cursor",
	} {
		s.get(t, "/api/events?"+query).wantInvalid(t, place)
	}
}

// TestListEvents_Cursor: the answer's cursor leads on, in the same list only.
func TestListEvents_Cursor(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.seen.next = &seen.Position{At: at(t, "2025-12-23T10:28:30.123456Z"), ID: 311}
	s := start(t, f)
	cursor, ok := decoded(t, s.get(t, "/api/events?reviewed=false").want(t, 200).body)["next_cursor"].(string)
	require.True(t, ok)
	require.Nil(t, f.seen.page.After)
	s.get(t, "/api/events?reviewed=false&limit=7&cursor="+cursor).want(t, 200)
	require.Equal(t, seen.Page{Limit: 7, After: f.seen.next}, f.seen.page)
	for _, other := range []string{"/api/events?", "/api/events?reviewed=true&", "/api/events?reviewed=false&order=asc&", "/api/detections?"} {
		s.get(t, other+"cursor="+cursor).wantInvalid(t, "query cursor")
	}
	s.get(t, "/api/events?reviewed=false&offset=1&cursor="+cursor).wantInvalid(t, "query offset")
	s.get(t, "/api/events?order=asc").want(t, 200)
	require.True(t, f.seen.page.Ascending)
}

// TestUpdateEvent: absent leaves, null removes, and a text is taken as it is.
func TestUpdateEvent(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f)
	for body, want := range map[string]seen.EventUpdate{
		`{}`:                               {},
		`{"reviewed":null}`:                {},
		`{"reviewed":false}`:               {Reviewed: new(false)},
		`{"notes":null}`:                   {Notes: new("")},
		`{"notes":""}`:                     {Notes: new("")},
		`{"notes":"a\nb","reviewed":true}`: {Notes: new("a\nb"), Reviewed: new(true)},
	} {
		s.send(t, "PATCH", "/api/events/311", body).want(t, 200)
		require.Equal(t, want, f.seen.update, body)
	}
	s.send(t, "PATCH", "/api/events/311", `{"note":"x"}`).wantInvalid(t, "body note")
	s.send(t, "PATCH", "/api/events/311", `{"notes":"a\u0000b"}`).wantInvalid(t, "body notes")
	s.send(t, "PATCH", "/api/events/311", fmt.Sprintf(`{"notes":%q}`, strings.Repeat("x", 10_001))).wantInvalid(t, "body notes")
}

// TestCameras: status, folder and time zone on the wire.
func TestCameras(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.seen.cameras = append(f.seen.cameras, seen.Camera{ID: "old", Name: "Old", FolderPath: "/elsewhere/old"})
	names := func(s *testServer, query string) (ids []string) {
		var body struct {
			Cameras []struct {
				ID         string
				FolderPath *string `json:"folder_path"`
				Status     *string
			}
			Count int
		}
		require.NoError(t, json.Unmarshal(s.get(t, "/api/cameras"+query).want(t, 200).body, &body))
		require.Len(t, body.Cameras, body.Count)
		for _, camera := range body.Cameras {
			status := "null"
			if camera.Status != nil {
				status = *camera.Status
			}
			ids = append(ids, camera.ID+" "+status)
			require.Equal(t, camera.ID == "old", camera.FolderPath == nil)
		}
		return ids
	}
	clock := func(o *Options) { o.Now = func() time.Time { return at(t, "2025-12-23T10:30:00Z") } }
	s := start(t, f, clock)
	require.Equal(t, []string{"front_door online", "garden offline", "old offline"}, names(s, ""))
	require.Equal(t, []string{"front_door online"}, names(s, "?status=online"))
	unknown := start(t, f, clock, func(o *Options) { o.CameraOfflineAfter = 0 })
	require.Equal(t, []string{"front_door null", "garden null", "old null"}, names(unknown, ""))
	require.Empty(t, names(unknown, "?status=online"))

	for body, want := range map[string]seen.CameraUpdate{
		`{}`: {}, `{"name":"Barn"}`: {Name: new("Barn")}, `{"time_zone":null}`: {TimeZone: new("")},
		`{"time_zone":"Asia/Tokyo"}`: {TimeZone: new("Asia/Tokyo")},
	} {
		s.send(t, "PATCH", "/api/cameras/garden", body).want(t, 200)
		require.Equal(t, want, f.seen.cameraUpdate, body)
	}
	for body, place := range map[string]string{
		`{"name":""}`: "body name", `{"name":" "}`: "body name", `{"time_zone":"Mars"}`: "body time_zone", `{"time_zone":"Europe/./Berlin"}`: "body time_zone", `{"id":"x"}`: "body id",
	} {
		s.send(t, "PATCH", "/api/cameras/garden", body).wantInvalid(t, place)
	}
}

func TestCreateCamera(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f)
	got := s.send(t, "POST", "/api/cameras", `{"name":"G","folder_path":"garden"}`).want(t, http.StatusConflict)
	require.JSONEq(t, `{"detail":"A camera of this folder exists already: garden"}`, string(got.body))
	s.send(t, "POST", "/api/cameras", `{"name":"G","folder_path":"shed","time_zone":"Mars"}`).wantInvalid(t, "body time_zone")
	s.send(t, "POST", "/api/cameras", `{"name":"G"}`).wantInvalid(t, "body folder_path")
	// What older clients send.
	s.send(t, "POST", "/api/cameras", `{"name":"G","folder_path":"shed","status":"online"}`).want(t, http.StatusCreated)
	f.seen.folder = func(string) (CameraFolder, error) { return CameraFolder{}, fmt.Errorf("x: %w", ErrNoCameraFolder) }
	s.send(t, "POST", "/api/cameras", `{"name":"G","folder_path":"../x"}`).wantInvalid(t, "body folder_path")
	f.seen.folder = func(string) (CameraFolder, error) { return CameraFolder{}, fmt.Errorf("/srv: %w", ErrReadOnlyRoot) }
	got = s.send(t, "POST", "/api/cameras", `{"name":"G","folder_path":"x"}`).want(t, http.StatusConflict)
	require.Contains(t, string(got.body), "read-only")
	require.NotContains(t, string(got.body), "/srv")
}

// TestEventSummary_Bounds: days are those of the zone, whole or cut to what was asked for.
func TestEventSummary_Bounds(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f, func(o *Options) { o.Now = func() time.Time { return at(t, "2025-12-23T10:30:00Z") } })
	for query, want := range map[string][]string{
		"start_date=2025-03-29&end_date=2025-03-31&time_zone=Europe/Berlin": { // the second day has 23 hours
			"2025-03-28T23:00:00Z", "2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z", "2025-03-31T22:00:00Z",
		},
		"start_date=2025-10-26&end_date=2025-10-26&time_zone=Europe/Berlin":                {"2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"},
		"start_date=2025-12-23T09:30:00Z&end_date=2025-12-23T10:29:59.999999Z&bucket=hour": {"2025-12-23T09:30:00Z", "2025-12-23T10:00:00Z", "2025-12-23T10:30:00Z"},
		"start_date=2025-12-23T09:30:00Z&end_date=2025-12-23T10:29:59.999999Z&bucket=hour&time_zone=Asia/Kathmandu": {
			"2025-12-23T09:30:00Z", "2025-12-23T10:15:00Z", "2025-12-23T10:30:00Z",
		},
	} {
		s.get(t, "/api/events/summary?"+query).want(t, 200)
		var got []string
		for _, bound := range f.seen.bounds {
			got = append(got, bound.Format(time.RFC3339Nano))
		}
		require.Equal(t, want, got, query)
	}
	s.get(t, "/api/events/summary").want(t, 200)
	require.Empty(t, f.seen.types)
	require.Len(t, f.seen.bounds, 31)
	require.Equal(t, at(t, "2025-11-24T00:00:00Z"), f.seen.bounds[0])
	s.get(t, "/api/events/summary?start_date=2024-12-01&end_date=2025-12-31").wantInvalid(t, "query start_date")
	s.get(t, "/api/events/summary?bucket=hour&start_date=2025-11-01").wantInvalid(t, "query start_date")
	body := decoded(t, s.get(t, "/api/events/summary?start_date=2026-01-01").want(t, 200).body)
	require.Empty(t, body["buckets"])
	s.get(t, "/api/events/summary?object_type=person,vehicle").want(t, 200)
	require.Equal(t, []string{"person", "vehicle"}, f.seen.types)
	s.get(t, "/api/events/summary?object_type=person,person").wantInvalid(t, "query object_type")
}

// TestExportEvents: what a spreadsheet would take for a formula is a text, what is not known is
// empty, and an error on the way is a download that failed.
func TestExportEvents(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	event := f.seen.events[0]
	event.CameraName, event.Summary, event.EndedAt, event.RiskScore, event.Reviewed = new("@home"), new("=1+1,\"x\"\ny"), nil, nil, true
	f.seen.events = append(f.seen.events, event)
	s := start(t, f)
	got := s.get(t, "/api/events/export?min_score=5").want(t, 200)
	require.Equal(t, "text/csv", got.Header.Get("Content-Type"))
	require.Equal(t, 5, *f.seen.filter.MinScore)
	rows, err := csv.NewReader(strings.NewReader(string(got.body))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, [][]string{
		{"event_id", "camera_name", "started_at", "ended_at", "risk_score", "risk_level", "summary", "detection_count", "reviewed"},
		{"311", "Front Door", "2025-12-23T10:28:30Z", "2025-12-23T10:29:58Z", "75", "high", "A person waits at the door", "1", "No"},
		{"311", "'@home", "2025-12-23T10:28:30Z", "", "", "high", "'=1+1,\"x\"\ny", "1", "Yes"},
	}, rows)

	broken := start(t, newFakes(t), func(o *Options) { o.Seen = brokenExport{f.seen} })
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, broken.url+"/api/events/export", nil)
	require.NoError(t, err)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err == nil { // it may break before or after the beginning has left
		_, err = io.ReadAll(response.Body)
		require.NoError(t, response.Body.Close())
	}
	require.Error(t, err)
}

// brokenExport fails after the first part.
type brokenExport struct{ *fakeSeen }

func (b brokenExport) ExportEvents(
	ctx context.Context, filter seen.EventFilter, actor store.Actor, details map[string]any, write func([]seen.Event) error,
) error {
	if err := b.fakeSeen.ExportEvents(ctx, filter, actor, details, write); err != nil {
		return err
	}
	return errors.New("the database went away")
}

// TestDetectionPaths: where the camera root lies is nobody's business.
func TestDetectionPaths(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.seen.detections[0].FilePath = "/home/somebody/private/1.jpg"
	got := start(t, f).get(t, "/api/detections/4711").want(t, 200)
	require.Equal(t, "1.jpg", decoded(t, got.body)["file_path"])
	require.NotContains(t, string(got.body), "somebody")
}

// TestReviewEvents: ids, or a filter with the position of a list; never both, and never neither.
func TestReviewEvents(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f)
	review := func(body string) answer { return s.send(t, http.MethodPost, "/api/events/review", body) }
	got := review(`{"matching":{"position":"`+examplePosition+`","camera_id":["garden"],"end_date":"2025-12-23"}}`).want(t, 200)
	require.JSONEq(t, `{"reviewed":2}`, string(got.body))
	require.Equal(t, []string{"garden"}, f.seen.filter.CameraIDs)
	require.Equal(t, at(t, "2025-12-23T23:00:00Z"), *f.seen.filter.Before, "the end of the day where the camera is")
	for body, place := range map[string]string{
		`{}`: "body", `{"ids":[]}`: "body ids", `{"ids":[1],"matching":{"position":"a-1"}}`: "body",
		`{"matching":{}}`: "body matching position", `{"matching":{"position":"a-1"}}`: "body matching position",
		`{"matching":{"position":"` + examplePosition + `","end_date":"2025-02-30"}}`: "body matching end_date",
		`{"matching":{"position":"` + examplePosition + `","time_zone":"Mars"}}`:      "body matching time_zone",
	} {
		review(body).wantInvalid(t, place)
	}
}
