package seen

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/store"
)

// Camera is one folder of pictures.
type Camera struct {
	ID         string     `db:"id"`          // made of the folder's name
	Name       string     `db:"name"`        // for people
	FolderPath string     `db:"folder_path"` // of the server's file system
	CreatedAt  time.Time  `db:"created_at"`
	LastSeenAt *time.Time `db:"last_seen_at"` // newest picture recorded, exact to a second
	TimeZone   *string    `db:"time_zone"`    // IANA name; nil: the server's
}

const cameraColumns = `id, name, folder_path, created_at, last_seen_at, time_zone`

func (c *Camera) toUTC() {
	c.CreatedAt = c.CreatedAt.UTC()
	utc(&c.LastSeenAt)
}

// Cameras lists all cameras by id, and where the live stream stood.
func (s *Store) Cameras(ctx context.Context) (cameras []Camera, position string, err error) {
	cameras = make([]Camera, 0)
	err = s.read(ctx, "list cameras", func(ctx context.Context, tx *sqlx.Tx) (err error) {
		if position, err = streamPosition(ctx, tx); err != nil {
			return err
		}
		return tx.SelectContext(ctx, &cameras, `SELECT `+cameraColumns+` FROM cameras WHERE deleted_at IS NULL ORDER BY id`)
	})
	for i := range cameras {
		cameras[i].toUTC()
	}
	return cameras, position, err
}

// CamerasByID reads cameras. Those that are gone are left out.
func CamerasByID(ctx context.Context, q sqlx.QueryerContext, ids []string) ([]Camera, error) {
	cameras := make([]Camera, 0, len(ids))
	err := sqlx.SelectContext(ctx, q, &cameras, `
		SELECT `+cameraColumns+` FROM cameras WHERE id = ANY ($1) AND deleted_at IS NULL`, pq.Array(ids))
	if err != nil {
		return nil, fmt.Errorf("read cameras: %w", err)
	}
	for i := range cameras {
		cameras[i].toUTC()
	}
	return cameras, nil
}

// PictureCount is how many pictures had one fate.
type PictureCount struct {
	State  string  `db:"state"`
	Reason *string `db:"reason"`
	Count  int64   `db:"count"`
}

// Camera reads one camera. ErrNotFound when there is none.
func (s *Store) Camera(ctx context.Context, id string) (Camera, error) {
	var camera Camera
	err := s.read(ctx, "read camera", func(ctx context.Context, tx *sqlx.Tx) (err error) {
		camera, err = oneCamera(ctx, tx, id)
		return err
	})
	return camera, err
}

// Pictures counts the pictures of a camera that came since then, by what became of them.
func (s *Store) Pictures(ctx context.Context, cameraID string, since time.Time) ([]PictureCount, error) {
	counts := make([]PictureCount, 0)
	err := s.read(ctx, "count pictures", func(ctx context.Context, tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &counts, `
			SELECT state, reason, count(*) AS count FROM images WHERE camera_id = $1 AND seen_at >= $2
			GROUP BY state, reason ORDER BY count(*) DESC, state, reason LIMIT 1000`, cameraID, since)
	})
	return counts, err
}

func oneCamera(ctx context.Context, q sqlx.QueryerContext, id string) (Camera, error) {
	var camera Camera
	err := sqlx.GetContext(ctx, q, &camera, `SELECT `+cameraColumns+` FROM cameras WHERE id = $1 AND deleted_at IS NULL`, id)
	camera.toUTC()
	return camera, err
}

// NewCamera is a camera to be added.
type NewCamera struct {
	ID, Name   string
	FolderPath string // of the server's file system
	TimeZone   *string
	// FolderIsNew: it was made for this camera a moment ago.
	FolderIsNew bool
}

// takeoverWithin is how old a camera may be that was stored for a new folder before the one who
// made the folder came to it.
const takeoverWithin = 10 * time.Second

// CreateCamera adds a camera, together with an audit entry. ErrConflict when its id exists. The
// pipeline stores a camera for each new folder that it sees, maybe before this one: of a folder
// that was made for this camera, that row is it.
func (s *Store) CreateCamera(ctx context.Context, added NewCamera, actor store.Actor) (Camera, error) {
	var camera Camera
	err := s.db.InTx(ctx, "create camera", func(ctx context.Context, tx *sqlx.Tx) error {
		err := tx.GetContext(ctx, &camera, `
			INSERT INTO cameras AS c (id, name, folder_path, time_zone) VALUES ($1, $2, $3, $4)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, time_zone = excluded.time_zone
				WHERE $5 AND c.folder_path = excluded.folder_path AND c.last_seen_at IS NULL
				  AND c.created_at > clock_timestamp() - $6 * interval '1 second'
			RETURNING `+cameraColumns,
			added.ID, added.Name, added.FolderPath, added.TimeZone, added.FolderIsNew,
			takeoverWithin.Seconds())
		if errors.Is(err, sql.ErrNoRows) {
			return store.ErrConflict
		}
		if err != nil {
			return fmt.Errorf("insert: %w", err)
		}
		camera.toUTC()
		return store.Audit(ctx, tx, "camera_created", "camera", added.ID, actor, map[string]any{"name": added.Name})
	})
	return camera, err
}

// CameraUpdate names new values; nil leaves a value as it is.
type CameraUpdate struct {
	Name     *string
	TimeZone *string // empty: the server's
}

// UpdateCamera changes a camera and returns it after the change. ErrNotFound when there is none.
// The change and its audit entry are stored together; a change of nothing has none.
func (s *Store) UpdateCamera(ctx context.Context, id string, update CameraUpdate, actor store.Actor) (Camera, error) {
	var camera Camera
	err := s.db.InTx(ctx, "update camera", func(ctx context.Context, tx *sqlx.Tx) error {
		err := tx.GetContext(ctx, &camera, `SELECT `+cameraColumns+` FROM cameras WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE`, id)
		if err != nil {
			return fmt.Errorf("lock: %w", err)
		}
		camera.toUTC()
		changes := map[string]any{}
		if update.Name != nil && *update.Name != camera.Name {
			changes["name"] = map[string]any{"old": camera.Name, "new": *update.Name}
			camera.Name = *update.Name
		}
		if update.TimeZone != nil {
			zone := update.TimeZone
			if *zone == "" {
				zone = nil
			}
			if !same(camera.TimeZone, zone) {
				changes["time_zone"] = map[string]any{"old": camera.TimeZone, "new": zone}
				camera.TimeZone = zone
			}
		}
		if len(changes) == 0 {
			return nil
		}
		_, err = tx.ExecContext(ctx, `UPDATE cameras SET name = $2, time_zone = $3 WHERE id = $1`,
			id, camera.Name, camera.TimeZone)
		if err != nil {
			return fmt.Errorf("change: %w", err)
		}
		return store.Audit(ctx, tx, "camera_updated", "camera", id, actor, map[string]any{"changes": changes})
	})
	return camera, err
}

// ZoneOf is the time zone of a camera, empty when it has none or there is no such camera.
func (s *Store) ZoneOf(ctx context.Context, cameraID string) (string, error) {
	camera, err := s.Camera(ctx, cameraID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", nil
	case err != nil || camera.TimeZone == nil:
		return "", err
	}
	return *camera.TimeZone, nil
}
