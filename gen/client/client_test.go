package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oapi-codegen/nullable"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/gen/client"
)

const key = "a-key-for-tests"

// connect makes a client with a key, of a server that answers one operation.
func connect(t *testing.T, pattern string, answer http.HandlerFunc) *client.ClientWithResponses {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc(pattern, answer)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	withKey := func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-API-Key", key)
		return nil
	}
	c, err := client.NewClientWithResponses(server.URL, client.WithRequestEditorFn(withKey))
	require.NoError(t, err)
	return c
}

// answerExample answers with the contract's own example of a status.
func answerExample(t *testing.T, path, method string, status int, name string) http.HandlerFunc {
	t.Helper()
	spec, err := gen.GetSpec()
	require.NoError(t, err)
	response := spec.Paths.Find(path).GetOperation(method).Responses.Status(status)
	require.NotNil(t, response, "%s %s %d", method, path, status)
	body, err := json.Marshal(response.Value.Content["application/json"].Examples[name].Value.Value)
	require.NoError(t, err)
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

func TestListEvents(t *testing.T) {
	t.Parallel()
	one := answerExample(t, "/api/events", http.MethodGet, http.StatusOK, "one")
	var asked string
	c := connect(t, "GET /api/events", func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery + " " + r.Header.Get("X-API-Key")
		one(w, r)
	})
	page, err := c.ListEventsWithResponse(t.Context(), &client.ListEventsParams{
		CameraID: client.CameraIDs{"front_door", "garden"}, RiskLevel: client.RiskLevels{client.SeverityHigh}, Reviewed: new(false),
	})
	require.NoError(t, err)
	require.Equal(t, "camera_id=front_door,garden&risk_level=high&reviewed=false "+key, asked)
	require.NotNil(t, page.JSON200)
	require.Len(t, page.JSON200.Events, 1)
	event := page.JSON200.Events[0]
	require.Equal(t, int64(311), event.ID)
	require.Equal(t, "Front Door", *event.CameraName)
	require.Equal(t, []string{"person"}, event.ObjectTypes)
	require.Nil(t, page.JSON200.NextCursor)
}

func TestGetEvent(t *testing.T) {
	t.Parallel()
	const path = "/api/events/{event_id}"
	c := connect(t, "GET "+path, answerExample(t, path, http.MethodGet, http.StatusOK, "one"))
	event, err := c.GetEventWithResponse(t.Context(), 311)
	require.NoError(t, err)
	require.Equal(t, int64(4711), event.JSON200.Detections[0].ID)
	require.NotNil(t, event.JSON200.Stages.AnalyzedAt)

	c = connect(t, "GET "+path, answerExample(t, path, http.MethodGet, http.StatusNotFound, "gone"))
	event, err = c.GetEventWithResponse(t.Context(), 7)
	require.NoError(t, err)
	require.Nil(t, event.JSON200)
	require.Equal(t, "Event with id 7 not found", event.JSON404.Detail)
}

// What is absent stays as it is, and null takes the notes away: both can be sent.
func TestUpdateEvent_TellsNullFromAbsent(t *testing.T) {
	t.Parallel()
	const path = "/api/events/{event_id}"
	one := answerExample(t, path, http.MethodPatch, http.StatusOK, "one")
	var sent string
	c := connect(t, "PATCH "+path, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = string(body)
		one(w, r)
	})
	_, err := c.UpdateEventWithResponse(t.Context(), 311, client.EventUpdate{Reviewed: new(true)})
	require.NoError(t, err)
	require.JSONEq(t, `{"reviewed":true}`, sent)
	changed, err := c.UpdateEventWithResponse(t.Context(), 311, client.EventUpdate{Notes: nullable.NewNullNullable[string]()})
	require.NoError(t, err)
	require.JSONEq(t, `{"notes":null}`, sent)
	require.True(t, changed.JSON200.Reviewed)
}

func TestGetEventImage(t *testing.T) {
	t.Parallel()
	const etag = `"abc"`
	c := connect(t, "GET /api/events/{event_id}/image", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = w.Write([]byte(r.PathValue("event_id") + r.URL.Query().Get("width")))
	})
	params := &client.GetEventImageParams{Width: new(client.GetEventImageParamsWidthN640)}
	picture, err := c.GetEventImageWithResponse(t.Context(), 311, params)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, picture.StatusCode())
	require.Equal(t, "311640", string(picture.Body))
	picture, err = c.GetEventImageWithResponse(t.Context(), 311, params, func(_ context.Context, r *http.Request) error {
		r.Header.Set("If-None-Match", etag)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, http.StatusNotModified, picture.StatusCode())
}

func TestExportEvents_ABrokenConnectionIsAnError(t *testing.T) {
	t.Parallel()
	breaks := false
	c := connect(t, "GET /api/events/export", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/csv")
		_, _ = io.WriteString(w, "event_id\n311\n")
		_ = http.NewResponseController(w).Flush()
		if breaks {
			panic(http.ErrAbortHandler)
		}
	})
	table, err := c.ExportEventsWithResponse(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "event_id\n311\n", string(table.Body))
	breaks = true
	_, err = c.ExportEventsWithResponse(t.Context(), nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// A stream is read as it comes, from the response itself.
func TestStreamEvents(t *testing.T) {
	t.Parallel()
	c := connect(t, "GET /api/events/stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: events_removed\nid: "+r.Header.Get("Last-Event-ID")+"1\ndata: {\"ids\":[17,18]}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	response, err := c.StreamEvents(t.Context(), &client.StreamEventsParams{LastEventID: new("e-1")})
	require.NoError(t, err)
	defer response.Body.Close()
	fields := map[string]string{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() && lines.Text() != "" {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		fields[name] = value
	}
	require.Equal(t, "events_removed", fields["event"])
	require.Equal(t, "e-11", fields["id"])
	var removed client.EventsRemoved
	require.NoError(t, json.Unmarshal([]byte(fields["data"]), &removed))
	require.Equal(t, []int64{17, 18}, removed.Ids)
}
