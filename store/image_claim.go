package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"
)

// ClaimImage takes an image over for the length of the lease (at most 2 h 10 min), from seen or
// queued or from a claim whose lease has ended, and counts one attempt. A live claim of somebody
// else, or an image that is already finished, gives ErrClaimLost. Claiming again with the same
// token extends the lease and counts no attempt.
func (db *DB) ClaimImage(ctx context.Context, id int64, token string, lease time.Duration) (Image, error) {
	if token == "" {
		return Image{}, fmt.Errorf("claim image: empty token: %w", ErrInvalid)
	}
	images, err := write[Image](ctx, db, "claim image", `
		UPDATE images
		SET attempts = attempts + CASE WHEN claimed_by = $2 THEN 0 ELSE 1 END,
		    detect_started_at = CASE WHEN claimed_by = $2 THEN detect_started_at ELSE clock_timestamp() END,
		    state = 'detecting', claimed_by = $2, claimed_until = clock_timestamp() + make_interval(secs => $3), next_attempt_at = NULL
		WHERE id = $1 AND (state IN ('seen', 'queued')
		   OR state = 'detecting' AND (claimed_by = $2 OR claimed_until < clock_timestamp()
		                               OR claimed_until > clock_timestamp() + `+farLease+`))
		RETURNING `+imageColumns,
		id, token, min(lease, maxLease).Seconds())
	if err != nil {
		return Image{}, err
	}
	if len(images) == 0 {
		return Image{}, fmt.Errorf("claim image %d: %w", id, db.claimFailure(ctx, `SELECT EXISTS (SELECT FROM images WHERE id = $1)`, id))
	}
	images[0].toUTC()
	return images[0], nil
}

// ClaimImages is ClaimImage for several images at once, in the order of ids. It leaves out those
// that cannot be claimed, and those that were tried before: an image over which a process died is
// claimed alone, so that the attempts of others do not count with it.
func (db *DB) ClaimImages(ctx context.Context, ids []int64, token string, lease time.Duration) ([]Image, error) {
	if token == "" {
		return nil, fmt.Errorf("claim images: empty token: %w", ErrInvalid)
	}
	images, err := write[Image](ctx, db, "claim images", `
		WITH waiting AS (
			SELECT id FROM images
			WHERE id = ANY ($1::bigint[]) AND (state IN ('seen', 'queued') AND attempts = 0 OR state = 'detecting' AND claimed_by = $2)
			ORDER BY id FOR UPDATE SKIP LOCKED
		)
		UPDATE images AS i
		SET attempts = attempts + CASE WHEN claimed_by = $2 THEN 0 ELSE 1 END,
		    detect_started_at = CASE WHEN claimed_by = $2 THEN detect_started_at ELSE clock_timestamp() END,
		    state = 'detecting', claimed_by = $2, claimed_until = clock_timestamp() + make_interval(secs => $3), next_attempt_at = NULL
		FROM waiting WHERE i.id = waiting.id
		RETURNING `+imageColumnsOf("i"),
		pq.Array(ids), token, min(lease, maxLease).Seconds())
	if err != nil {
		return nil, err
	}
	for i := range images {
		images[i].toUTC()
	}
	slices.SortFunc(images, func(a, b Image) int { return cmp.Compare(slices.Index(ids, a.ID), slices.Index(ids, b.ID)) })
	return images, nil
}

// claimFailure tells why nothing could be claimed.
func (db *DB) claimFailure(ctx context.Context, existsQuery string, id int64) error {
	var exists bool
	if err := db.get(ctx, "look up claim", &exists, existsQuery, id); err != nil {
		return err
	}
	if !exists {
		return ErrNotFound
	}
	return ErrClaimLost
}

// ReleaseImage gives a claimed image back for another attempt, with the cause of the failure. A nil
// retryAt means at once, and 30 min is the longest wait; refundAttempt does not count the attempt,
// for causes that are not the image's. ErrClaimLost when the claim is no longer held.
func (db *DB) ReleaseImage(ctx context.Context, claim ImageClaim, retryAt *time.Time, cause string, refundAttempt bool) error {
	return db.changeClaimed(ctx, "release image", `
		UPDATE images
		SET state = 'seen', claimed_by = NULL, claimed_until = NULL,
		    next_attempt_at = clock_timestamp() + make_interval(secs => $3),
		    attempts = attempts - CASE WHEN $4 AND attempts > 0 THEN 1 ELSE 0 END,
		    last_error = coalesce($5, last_error),
		    first_failed_at = CASE WHEN $5 IS NULL THEN first_failed_at ELSE coalesce(first_failed_at, clock_timestamp()) END,
		    last_failed_at = CASE WHEN $5 IS NULL THEN last_failed_at ELSE clock_timestamp() END
		WHERE id = $1 AND claimed_by = $2`,
		claim.ImageID, claim.Token, db.secondsUntil(retryAt), refundAttempt, nullString(clean(cause, maxCause)))
}

// GiveBackImages gives images that were claimed with one token back untouched: for another attempt
// at once, and this one does not count. Claims that are no longer held are left alone.
func (db *DB) GiveBackImages(ctx context.Context, ids []int64, token string) error {
	_, err := db.exec(ctx, "give images back", `
		WITH held AS (SELECT id FROM images WHERE id = ANY ($1::bigint[]) AND claimed_by = $2 ORDER BY id FOR NO KEY UPDATE)
		UPDATE images AS i
		SET state = 'seen', claimed_by = NULL, claimed_until = NULL, next_attempt_at = NULL, attempts = greatest(attempts - 1, 0)
		FROM held WHERE i.id = held.id`, pq.Array(ids), token)
	return err
}

// secondsUntil turns a local time into a waiting time, which the clock of the database then
// measures.
func (db *DB) secondsUntil(t *time.Time) *float64 {
	if t == nil {
		return nil
	}
	seconds := min(max(t.Sub(db.now()), 0), maxWait).Seconds()
	return &seconds
}

// DeadLetterImage gives a claimed image up with the cause. ErrClaimLost when the claim is no longer
// held.
func (db *DB) DeadLetterImage(ctx context.Context, claim ImageClaim, cause string) error {
	return db.changeClaimed(ctx, "dead-letter image", `
		UPDATE images
		SET state = 'dead_lettered', reason = $3, claimed_by = NULL, claimed_until = NULL, dead_lettered_at = clock_timestamp(),
		    last_error = $3, first_failed_at = coalesce(first_failed_at, clock_timestamp()), last_failed_at = clock_timestamp()
		WHERE id = $1 AND claimed_by = $2`,
		claim.ImageID, claim.Token, clean(cause, maxCause))
}

// changeClaimed runs an update that only a held claim can match.
func (db *DB) changeClaimed(ctx context.Context, op, query string, args ...any) error {
	n, err := db.exec(ctx, op, query, args...)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%s: %w", op, ErrClaimLost)
	}
	return nil
}
