package store

import (
	"context"
	"time"

	"github.com/lib/pq"
)

// maxWait bounds waiting times and maxLease leases; the longest lease is for a call with an hour to
// connect and an hour to read. They must stay well below farFuture and farLease.
const (
	maxWait  = 30 * time.Minute
	maxLease = 2*time.Hour + 10*time.Minute
)

// farFuture bounds how far a retry may lie ahead, and farLease how far the end of a lease. What
// lies further was written under a clock that has since been set back, and counts as due.
const (
	farFuture = "interval '1 hour'"
	farLease  = "interval '3 hours'"
)

// WaitingImages lists up to limit images that can be handed to the queue: not handed over yet and
// due, handed over longer than requeueAfter ago and not claimed since, or claimed under a lease
// that has ended. Cameras take turns, oldest image first, so that a camera with a long backlog does
// not starve the others. The cost follows limit and the number of cameras, not the backlog, nor
// what the planner believes of it.
func (db *DB) WaitingImages(ctx context.Context, limit int, requeueAfter time.Duration) ([]WaitingImage, error) {
	if limit <= 0 {
		return nil, nil
	}
	cameras, err := db.cameraCount(ctx)
	if err != nil {
		return nil, err
	}
	// A camera contributes at most perCamera. When the others have too little to fill the limit it
	// may give more.
	for perCamera := max(limit/max(cameras, 1), 1) + 1; ; perCamera *= 4 {
		perCamera = min(perCamera, limit)
		images, err := listInOrder[WaitingImage](ctx, db, "list waiting images", waitingImagesQuery,
			limit, perCamera, requeueAfter.Seconds())
		if err != nil {
			return nil, err
		}
		if len(images) == limit || perCamera == limit {
			for i := range images {
				images[i].SeenAt = images[i].SeenAt.UTC()
			}
			return images, nil
		}
	}
}

// cameraCount is exact and cheap: it reads the primary key of a table with one row for each folder.
func (db *DB) cameraCount(ctx context.Context) (int, error) {
	var n int
	err := db.get(ctx, "count cameras", &n, `SELECT count(*) FROM cameras`)
	return n, err
}

// now() rather than clock_timestamp(), which no index condition can use.
const waitingImagesQuery = `
	WITH lost AS (
		(SELECT id, camera_id, seen_at FROM images
		 WHERE state = 'queued' AND queued_at < now() - make_interval(secs => $3) ORDER BY queued_at, id LIMIT $1)
		UNION ALL
		(SELECT id, camera_id, seen_at FROM images
		 WHERE state = 'queued' AND queued_at > now() + ` + farFuture + ` ORDER BY queued_at, id LIMIT $1)
		UNION ALL
		(SELECT id, camera_id, seen_at FROM images
		 WHERE state = 'detecting' AND claimed_until < now() ORDER BY claimed_until, id LIMIT $1)
		UNION ALL
		(SELECT id, camera_id, seen_at FROM images
		 WHERE state = 'detecting' AND claimed_until > now() + ` + farLease + ` ORDER BY claimed_until, id LIMIT $1)
	), waiting AS (
		SELECT id, camera_id, seen_at FROM lost
		UNION ALL
		SELECT w.id, c.id, w.seen_at
		FROM cameras AS c
		CROSS JOIN LATERAL (
			(SELECT id, seen_at FROM images
			 WHERE camera_id = c.id AND state = 'seen' AND next_attempt_at IS NULL ORDER BY seen_at, id LIMIT $2)
			UNION ALL
			(SELECT id, seen_at FROM images
			 WHERE camera_id = c.id AND state = 'seen' AND next_attempt_at <= now()
			 ORDER BY next_attempt_at, id LIMIT $2)
			UNION ALL
			(SELECT id, seen_at FROM images
			 WHERE camera_id = c.id AND state = 'seen' AND next_attempt_at > now() + ` + farFuture + `
			 ORDER BY next_attempt_at, id LIMIT $2)
		) AS w
	), ranked AS (
		SELECT id, camera_id, seen_at, row_number() OVER (PARTITION BY camera_id ORDER BY seen_at, id) AS turn
		FROM waiting
	)
	SELECT id, camera_id, seen_at FROM ranked ORDER BY turn, seen_at, id LIMIT $1`

// MarkImagesQueued marks those of the images that still wait, by the same rule as WaitingImages, as
// handed to the queue now and returns them in the order of ids. An ended claim on one of them is
// lost by this.
func (db *DB) MarkImagesQueued(ctx context.Context, ids []int64, requeueAfter time.Duration) ([]QueuedImage, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	images, err := write[QueuedImage](ctx, db, "mark images queued", `
		WITH waiting AS (
			SELECT i.id, k.position, i.queued_at IS NULL AS first
			FROM unnest($1::bigint[]) WITH ORDINALITY AS k (id, position)
			JOIN images AS i ON i.id = k.id
			WHERE i.state = 'seen'
			   OR i.state = 'queued' AND (i.queued_at < clock_timestamp() - make_interval(secs => $2)
			                              OR i.queued_at > clock_timestamp() + `+farFuture+`)
			   OR i.state = 'detecting' AND (i.claimed_until < clock_timestamp()
			                                 OR i.claimed_until > clock_timestamp() + `+farLease+`)
			FOR UPDATE OF i SKIP LOCKED
		), marked AS (
			UPDATE images AS i
			SET state = 'queued', queued_at = clock_timestamp(), next_attempt_at = NULL, claimed_by = NULL, claimed_until = NULL
			FROM waiting AS w WHERE i.id = w.id
			RETURNING i.id, i.camera_id, i.seen_at, i.queued_at, w.first, w.position
		)
		SELECT id, camera_id, seen_at, queued_at, first FROM marked ORDER BY position`,
		pq.Array(ids), requeueAfter.Seconds())
	for i := range images {
		images[i].SeenAt, images[i].QueuedAt = images[i].SeenAt.UTC(), images[i].QueuedAt.UTC()
	}
	return images, err
}

// ResetQueuedImages makes every image that was handed to the queue and not claimed since wait again
// and returns how many. It is for a queue that may have lost entries.
func (db *DB) ResetQueuedImages(ctx context.Context) (int64, error) {
	return db.exec(ctx, "reset queued images", `UPDATE images SET state = 'seen' WHERE state = 'queued'`)
}

// ResetQueuedBatches is ResetQueuedImages for batches.
func (db *DB) ResetQueuedBatches(ctx context.Context) (int64, error) {
	return db.exec(ctx, "reset queued batches", `UPDATE batches SET state = 'closed' WHERE state = 'queued'`)
}

// QueueDepths is how much work waits.
type QueueDepths struct {
	Detection       int64      `db:"detection"`        // images not yet detected, those in work included
	Analysis        int64      `db:"analysis"`         // closed batches without an event, those in work included
	OldestDetection *time.Time `db:"oldest_detection"` // seen_at of the oldest such image
	OldestAnalysis  *time.Time `db:"oldest_analysis"`  // closed_at of the oldest such batch
	ReadAt          time.Time  `db:"read_at"`          // when all this was so, by the clock of the database
}

// QueueDepths reads how much work waits from counters that are kept with the rows, and the oldest
// from an index: it costs the same whatever waits.
func (db *DB) QueueDepths(ctx context.Context) (QueueDepths, error) {
	var d QueueDepths
	err := db.get(ctx, "read queue depths", &d, queueDepthsQuery)
	toUTC(&d.OldestDetection, &d.OldestAnalysis)
	d.ReadAt = d.ReadAt.UTC()
	return d, err
}

const queueDepthsQuery = `
	SELECT (SELECT coalesce(sum(row_count), 0)::bigint FROM counters WHERE table_name = 'images_waiting') AS detection,
	       (SELECT coalesce(sum(row_count), 0)::bigint FROM counters WHERE table_name = 'batches_waiting') AS analysis,
	       (SELECT seen_at FROM images WHERE state IN ('seen', 'queued', 'detecting') ORDER BY seen_at LIMIT 1) AS oldest_detection,
	       (SELECT closed_at FROM batches WHERE state IN ('closed', 'queued', 'analyzing') ORDER BY closed_at, id LIMIT 1) AS oldest_analysis,
	       clock_timestamp() AS read_at`
