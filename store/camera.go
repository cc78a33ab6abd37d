package store

import (
	"context"
	"time"
)

// Camera is one folder of pictures.
type Camera struct {
	ID         string     `db:"id"`          // normalized folder name
	Name       string     `db:"name"`        // for people
	FolderPath string     `db:"folder_path"` // where its pictures arrive
	Status     string     `db:"status"`      // online, offline, error or unknown; empty means online when stored
	CreatedAt  time.Time  `db:"created_at"`
	LastSeenAt *time.Time `db:"last_seen_at"` // newest image recorded, exact to a second
}

const cameraColumns = `id, name, folder_path, status, created_at, last_seen_at`

func (c *Camera) toUTC() {
	c.CreatedAt = c.CreatedAt.UTC()
	toUTC(&c.LastSeenAt)
}

// EnsureCamera stores the camera when its id is new and leaves a stored one as it is.
func (db *DB) EnsureCamera(ctx context.Context, c Camera) error {
	if c.Status == "" {
		c.Status = "online"
	}
	_, err := db.exec(ctx, "ensure camera", `
		INSERT INTO cameras (id, name, folder_path, status) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO NOTHING`,
		c.ID, c.Name, c.FolderPath, c.Status)
	return err
}

// Cameras lists all cameras by id.
func (db *DB) Cameras(ctx context.Context) ([]Camera, error) {
	cameras, err := list[Camera](ctx, db, "list cameras", `SELECT `+cameraColumns+` FROM cameras ORDER BY id`)
	for i := range cameras {
		cameras[i].toUTC()
	}
	return cameras, err
}

// toUTC converts times that may be absent. The driver returns them in the zone of the session.
func toUTC(times ...**time.Time) {
	for _, t := range times {
		if *t != nil {
			u := (*t).UTC()
			*t = &u
		}
	}
}
