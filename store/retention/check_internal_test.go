package retention

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// taken drives one image through the store to a batch, as the workers do, and returns its id and
// thumbnail.
func (e *env) taken(t *testing.T, name string, at time.Time, join store.JoinDecision) (image int64, thumbnail string) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, e.db.EnsureCamera(ctx, store.Camera{ID: "front", Name: "Front", FolderPath: filepath.Join(e.pictures, "front")}))
	path := filepath.Join(e.pictures, "front", name)
	require.NoError(t, os.WriteFile(path, []byte(name), 0o600))
	require.NoError(t, os.Chtimes(path, at, at))
	recorded, err := e.db.RecordImage(ctx, store.NewImage{
		ImageKey: store.ImageKey{CameraID: "front", FilePath: path, SizeBytes: int64(len(name)), ModTime: at}, State: store.ImageSeen, SeenAt: at,
	})
	require.NoError(t, err)
	_, err = e.db.ClaimImage(ctx, recorded.ID, name, time.Minute)
	require.NoError(t, err)
	thumbnail, err = e.media.Write(ctx, name, []byte("thumbnail"))
	require.NoError(t, err)
	_, err = e.db.CommitDetection(ctx, store.ImageClaim{ImageID: recorded.ID, Token: name}, store.DetectionResult{
		Detector: "motion", ImageAt: at,
		Detections: []store.NewDetection{{ObjectType: "person", Confidence: 0.9, ThumbnailPath: thumbnail}},
	}, func(store.Batch, time.Time) store.JoinDecision { return join })
	require.NoError(t, err)
	return recorded.ID, thumbnail
}

// analyzed closes the open batch of the camera and stores its event.
func (e *env) analyzed(t *testing.T, at time.Time) (batch, event int64) {
	t.Helper()
	batch = e.claimed(t)
	stored, err := e.db.CommitEvent(t.Context(), store.BatchClaim{BatchID: batch, Token: "t"}, store.NewEvent{
		StartedAt: at, EndedAt: at, RiskScore: 10, RiskLevel: "low", Summary: "s", Reasoning: "r", Analyzer: "rules",
	})
	require.NoError(t, err)
	return batch, stored.ID
}

// claimed closes the open batch of the camera and claims it.
func (e *env) claimed(t *testing.T) int64 {
	t.Helper()
	open, err := e.db.OpenBatches(t.Context())
	require.NoError(t, err)
	require.Len(t, open, 1)
	_, _, err = e.db.CloseBatch(t.Context(), open[0].ID, func(store.Batch) bool { return true })
	require.NoError(t, err)
	_, err = e.db.ClaimBatch(t.Context(), open[0].ID, "t", time.Minute)
	require.NoError(t, err)
	return open[0].ID
}

// inOrder makes a state in which everything agrees: an event, a dead letter, a waiting batch, and
// imported history.
func inOrder(t *testing.T, e *env) (image, event int64, thumbnail string) {
	t.Helper()
	image, thumbnail = e.taken(t, "a.jpg", old, store.JoinOpen)
	_, event = e.analyzed(t, old)
	e.taken(t, "b.jpg", old, store.JoinOpen)
	require.NoError(t, e.db.DeadLetterBatch(t.Context(), store.BatchClaim{BatchID: e.claimed(t), Token: "t"}, "gave up"))
	e.taken(t, "c.jpg", old, store.JoinOpen)
	storetest.Exec(t, e.db, `
		INSERT INTO events (id, batch_id, camera_id, started_at) VALUES (1000, 'f00', 'front', now());
		INSERT INTO detections (camera_id, file_path, detected_at, thumbnail_path) VALUES ('front', '/x', now(), 'data/thumbnails/1_thumb.jpg')`)
	return image, event, thumbnail
}

func names(report CheckReport) []string {
	found := make([]string, 0)
	for _, finding := range report.Findings {
		found = append(found, finding.Name)
	}
	return found
}

func TestCheck_AllInOrder(t *testing.T) {
	t.Parallel()
	e := setup(t)
	inOrder(t, e)
	report, err := e.Check(t.Context(), false)
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	require.True(t, report.OK())

	// A cleanup keeps the order: the event and the dead letter go, the batch that waits stays.
	cleaned, err := e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, int64(1), cleaned.EventsDeleted)
	require.Equal(t, int64(2), cleaned.ThumbnailsDeleted)
	report, err = e.Check(t.Context(), false)
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	require.Equal(t, []string{"batched", "expired", "expired"}, storetest.Query[string](t, e.db, `SELECT state FROM images ORDER BY state`))
	require.Equal(t, []string{"open"}, storetest.Query[string](t, e.db, `SELECT state FROM batches`))
}

func TestCheck_FindsAndRepairs(t *testing.T) {
	t.Parallel()
	removeThumbnail := func(e *env, thumbnail string) error { return os.Remove(filepath.Join(e.thumbnails, thumbnail)) }
	// Each fault is made by statements, in which IMAGE and EVENT stand for ids, and by a change on
	// the disk.
	cases := map[string]struct {
		sql      string
		disk     func(e *env, thumbnail string) error
		want     []string
		repaired bool
	}{
		"ThumbnailGone": {disk: removeThumbnail, want: []string{"missing_thumbnail"}, repaired: true},
		"ClipGone": {
			sql:  `UPDATE events SET clip_path = 'aa/x.mp4' WHERE id = EVENT`,
			want: []string{"missing_clip"}, repaired: true,
		},
		"FileWithoutRow": {
			disk: func(e *env, _ string) error {
				before := moment.Add(-2 * time.Hour)
				orphan := filepath.Join(e.thumbnails, "ab", "x-ab00000000000000.jpg")
				return errors.Join(os.MkdirAll(filepath.Dir(orphan), 0o750), os.WriteFile(orphan, nil, 0o600), os.Chtimes(orphan, before, before))
			},
			want: []string{"orphan_file"}, repaired: true,
		},
		"StuckDeletion": {
			sql: `INSERT INTO media_deletions (kind, path, attempts, not_before, last_error)
				VALUES ('thumbnail', 'aa/x.jpg', 3, now() + interval '1 day', 'input/output error')`,
			want: []string{"stuck_deletion"}, repaired: true,
		},
		"CounterDrift": {
			sql:  `UPDATE counters SET row_count = row_count + 3 WHERE table_name IN ('events', 'logs', 'images_waiting', 'batches_waiting') AND slot = 5`,
			want: []string{"counter_drift"}, repaired: true,
		},
		"EventWithoutDetections": {
			sql: `DELETE FROM detections WHERE event_id = EVENT`, disk: removeThumbnail,
			want: []string{"event_without_detections", "image_without_detections"},
		},
		"EventGone": {
			sql:  `DELETE FROM detections WHERE event_id = EVENT; DELETE FROM batches WHERE event_id = EVENT; DELETE FROM events WHERE id = EVENT`,
			disk: removeThumbnail,
			want: []string{"analyzed_without_event"}, repaired: true,
		},
		"EventWithoutBatch": {
			sql:  `UPDATE batches SET event_id = NULL WHERE event_id = EVENT`,
			want: []string{"event_without_batch", "batch_without_event", "analyzed_without_event"},
		},
		"BatchedWithoutBatch": {
			sql:  `UPDATE images SET state = 'batched' WHERE id = IMAGE`,
			want: []string{"batched_without_batch"},
		},
		"BatchWithoutImages": {
			sql:  `INSERT INTO batches (camera_id, state, opened_at, last_at, closed_at) VALUES ('front', 'closed', now(), now(), now())`,
			want: []string{"batch_without_images"},
		},
		"DetectionsOfAFilteredImage": {
			sql:  `UPDATE images SET state = 'filtered', reason = 'x' WHERE id = IMAGE`,
			want: []string{"detections_without_state"},
		},
		"ImageInTwoEvents": {
			sql:  `INSERT INTO detections (camera_id, file_path, detected_at, image_id, event_id) VALUES ('front', '/x', now(), IMAGE, 1000)`,
			want: []string{"image_in_two_events"},
		},
		"NoCause": {
			sql:  `UPDATE images SET reason = '' WHERE state = 'dead_lettered'`,
			want: []string{"given_up_without_cause"},
		},
		"MediaFolderGone": {
			disk: func(e *env, _ string) error { return os.Rename(e.thumbnails, e.thumbnails+".away") },
			want: []string{"media_unavailable"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			image, event, thumbnail := inOrder(t, e)
			if c.sql != "" {
				storetest.Exec(t, e.db, strings.NewReplacer("IMAGE", fmt.Sprint(image), "EVENT", fmt.Sprint(event)).Replace(c.sql))
			}
			if c.disk != nil {
				require.NoError(t, c.disk(e, thumbnail))
			}

			report, err := e.Check(t.Context(), false)
			require.NoError(t, err)
			require.Equal(t, c.want, names(report), fmt.Sprint(report))
			require.False(t, report.OK())
			for _, finding := range report.Findings {
				require.NotEmpty(t, finding.Examples, finding.Name)
				require.Zero(t, finding.Repaired)
			}
			again, err := e.Check(t.Context(), false)
			require.NoError(t, err)
			require.Equal(t, report.Findings, again.Findings, "looking changes nothing")

			mended, err := e.Check(t.Context(), true)
			require.NoError(t, err)
			require.Equal(t, c.repaired, mended.OK(), fmt.Sprint(mended))
			after, err := e.Check(t.Context(), false)
			require.NoError(t, err)
			require.Equal(t, c.repaired, after.OK(), fmt.Sprint(after))
		})
	}
}

func TestCheck_ATableThatIsMissing(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"events", "batches", "media_deletions", "counters"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			storetest.Exec(t, e.db, `ALTER TABLE `+table+` RENAME TO away`)
			_, err := e.Check(t.Context(), false)
			require.ErrorContains(t, err, table)
		})
	}
}

func TestCheck_ARuleThatCannotBeTested(t *testing.T) {
	t.Parallel()
	e := setup(t)
	storetest.Exec(t, e.db, `ALTER TABLE batches RENAME event_id TO away`) // just the rules look at it
	_, err := e.Check(t.Context(), false)
	require.ErrorContains(t, err, "event_id")
}

func TestCheck_TheRepairOfDeletionsWaitsForTheFolder(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.fill(t, 1)
	storetest.Exec(t, e.db, `INSERT INTO media_deletions (kind, path, attempts) VALUES ('thumbnail', 'aa/x.jpg', 3)`)
	var report CheckReport
	require.NoError(t, os.Rename(e.thumbnails, e.thumbnails+".away"))
	require.NoError(t, e.checkMarks(t.Context(), true, &report))
	require.Equal(t, []string{"stuck_deletion"}, names(report))
	require.Zero(t, report.Findings[0].Repaired)
	require.NoError(t, os.Rename(e.thumbnails+".away", e.thumbnails))
	report = CheckReport{}
	require.NoError(t, e.checkMarks(t.Context(), true, &report))
	require.Equal(t, int64(1), report.Findings[0].Repaired)
}
