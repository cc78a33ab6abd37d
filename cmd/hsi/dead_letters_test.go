//go:build e2e

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/pipeline/aitest"
)

type letterPage struct {
	DeadLetters []struct {
		ID            int64
		Kind          string
		CameraID      string `json:"camera_id"`
		File          string
		Cause         string
		Attempts      int
		FirstFailedAt *string `json:"first_failed_at"`
		LastFailedAt  *string `json:"last_failed_at"`
	} `json:"dead_letters"`
	Total int64
	Next  *int64 `json:"next_after_id"`
}

func (w *world) deadLetters(query string) (page letterPage) {
	w.tb.Helper()
	w.getJSON("/api/system/dead-letters"+query, &page)
	return page
}

func (w *world) requeue(body string) (requeued int64) {
	w.tb.Helper()
	status, answer := w.request(http.MethodPost, "/api/system/dead-letters/requeue", asJSON, []byte(body))
	require.Equal(w.tb, 200, status, "%s", answer)
	var result struct{ Requeued int64 }
	require.NoError(w.tb, json.Unmarshal(answer, &result))
	return result.Requeued
}

// An image that the detector refuses and a batch that the model makes nothing of are told over the
// API with their causes, and become events soon after they are requeued there.
func TestDeadLetters_OverTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Zero(t, w.deadLetters("").Total)

	w.Detector.SetBehaviour(aitest.Status(http.StatusUnprocessableEntity))
	shoot := func(i int) {
		data := aitest.Picture(uint64(i), person(i)...)
		s := w.plan(0, []string{"refused.jpg", "senseless.jpg"}[i], data, "")
		require.NoError(t, e2e.WriteRenamed(s.Path, data, time.Time{}))
	}
	shoot(0)
	w.eventually("the image is given up", func() bool { return w.deadLetters("").Total == 1 })
	letter := w.deadLetters("").DeadLetters[0]
	require.Equal(t, "image", letter.Kind)
	require.Equal(t, "front_door", letter.CameraID)
	require.Equal(t, "refused.jpg", letter.File)
	require.Contains(t, letter.Cause, "422")
	require.Equal(t, 1, letter.Attempts)
	require.NotNil(t, letter.FirstFailedAt)
	require.NotNil(t, letter.LastFailedAt)
	w.Detector.SetBehaviour(aitest.Behaviour{})

	w.Model.SetBehaviour(aitest.NoVerdict())
	shoot(1)
	w.eventually("the batch is given up", func() bool {
		// As if a worker had died over it again and again: nobody waits half a minute for the
		// retries.
		_, err := w.Database.ExecContext(t.Context(), `
			UPDATE batches SET next_attempt_at = now(), attempts = 5 WHERE state = 'closed' AND next_attempt_at > now()`)
		require.NoError(t, err)
		return w.deadLetters("").Total == 2
	})
	page := w.deadLetters("?limit=1&after_id=" + jsonOf(t, letter.ID))
	require.Nil(t, page.Next)
	require.Equal(t, "batch", page.DeadLetters[0].Kind)
	require.Equal(t, "senseless.jpg", page.DeadLetters[0].File)
	require.Equal(t, 6, page.DeadLetters[0].Attempts)
	require.Equal(t, "not finished after 5 attempts", page.DeadLetters[0].Cause)
	require.EqualValues(t, 1, w.deadLetters("?cause="+strings.ReplaceAll(page.DeadLetters[0].Cause, " ", "%20")).Total)
	require.Zero(t, w.deadLetters("?cause=nothing").Total)
	w.Model.SetBehaviour(aitest.Behaviour{})

	// By its id the image, by its cause the batch; each becomes an event.
	requireRequeued := func(body string, events int64) {
		require.EqualValues(t, 1, w.requeue(body), body)
		took := w.eventually("an event", func() bool { return w.count("SELECT count(*) FROM events") == events })
		t.Logf("%s: an event %v after the requeue", body, took)
	}
	requireRequeued(`{"ids":[`+jsonOf(t, letter.ID)+`]}`, 1)
	requireRequeued(`{"cause":`+jsonOf(t, page.DeadLetters[0].Cause)+`}`, 2)
	require.Zero(t, w.requeue(`{"all":true}`))
	require.Zero(t, w.deadLetters("").Total)
	require.EqualValues(t, 2, w.count("SELECT count(*) FROM audit_logs WHERE action = 'dead_letters_requeued' AND actor = 'anonymous' AND ip_address IS NOT NULL"))
	require.EqualValues(t, 2, w.count("SELECT count(*) FROM images WHERE state = 'analyzed'"))
	w.stop()
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}
