package media

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/jmoiron/sqlx"

	"hsi.home.arpa/store"
)

// folderRow is a row of media_folders.
type folderRow struct {
	Kind      Kind          `db:"kind"`
	ID        *string       `db:"id"`
	InUse     bool          `db:"in_use"`
	FileCount sql.NullInt64 `db:"file_count"`
	SizeBytes sql.NullInt64 `db:"size_bytes"`
	CountedAt *time.Time    `db:"counted_at"`
}

const selectFolders = `SELECT kind, id, in_use, file_count, size_bytes, counted_at FROM media_folders`

// prepare learns which id a folder must carry. The first time ever it makes the folder and gives it
// an id. The order survives a crash at any point: the id is committed, then the marker is written,
// then the row says that the folder is in use. Until it says so nothing was ever written there, so
// that a missing marker may be written again.
func (s *Store) prepare(ctx context.Context, r *root) (err error) {
	if !r.marked || r.expectedID() != "" {
		return nil
	}
	if err := s.preparing.acquire(ctx); err != nil {
		return err
	}
	defer s.preparing.release()
	if r.expectedID() != "" {
		return nil
	}
	defer func() {
		if err != nil {
			r.refuse(err)
		}
	}()
	row, err := s.folderID(ctx, r.kind)
	if err != nil {
		return err
	}
	if !row.InUse {
		if err := s.beginUse(ctx, r, *row.ID); err != nil {
			return err
		}
	}
	r.expect(*row.ID)
	return nil
}

// folderID reads the id of a folder, or stores a new one that is not in use yet.
func (s *Store) folderID(ctx context.Context, kind Kind) (folderRow, error) {
	var row folderRow
	err := s.options.DB.InTx(ctx, "read media folder", func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO media_folders (kind, id) VALUES ($1, $2) ON CONFLICT (kind) DO UPDATE
			SET id = coalesce(media_folders.id, excluded.id)`, kind, rand.Text())
		if err != nil {
			return err
		}
		return tx.GetContext(ctx, &row, selectFolders+` WHERE kind = $1`, kind)
	})
	return row, err
}

// beginUse makes the folder and its marker, and says so in the database. A folder with the marker
// of another installation is refused: all its files would look like left-overs here.
func (s *Store) beginUse(ctx context.Context, r *root, id string) (err error) {
	if err := os.MkdirAll(r.path, folderPermissions); err != nil {
		return r.unavailable("cannot be made: " + rootReason(err))
	}
	dir, err := os.OpenRoot(r.path)
	if err != nil {
		return r.unavailable(describe(err))
	}
	defer closeRoot(dir, &err)
	switch got, err := readMarker(dir); {
	case errors.Is(err, fs.ErrNotExist):
		if err := writeMarker(dir, id); err != nil {
			return r.unavailable("cannot be written: " + rootReason(err))
		}
	case err != nil:
		return r.unavailable("has an unreadable marker: " + describe(err))
	case got != id:
		return r.unavailable("belongs to another installation; use another folder, or remove the file " + markerName +
			" in it if its files may be deleted")
	}
	return s.options.DB.InTx(ctx, "store media folder", func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE media_folders SET in_use = true WHERE kind = $1 AND id = $2`, r.kind, id)
		return err
	})
}

// loadFigures takes over what an earlier process counted, so that there is an answer before the
// first count is done.
func (s *Store) loadFigures(ctx context.Context) error {
	if err := s.options.DB.Ready(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, figuresTimeout)
	defer cancel()
	var rows []folderRow
	if err := s.sql.SelectContext(ctx, &rows, selectFolders+` WHERE counted_at IS NOT NULL`); err != nil {
		return store.Classify(ctx, "load media figures", err)
	}
	for _, row := range rows {
		figure := Figure{FileCount: row.FileCount.Int64, SizeBytes: row.SizeBytes.Int64, AsOf: row.CountedAt.UTC()}
		switch t := s.tallies[row.Kind]; {
		case t != nil:
			t.start(figure)
		case row.ID != nil && *row.ID == s.options.Cameras: // a figure of another folder says nothing about this one
			s.images.start(figure)
		}
	}
	return nil
}

// figuresTimeout bounds reading and writing the kept figures.
const figuresTimeout = 2 * time.Second

// keepFigures stores the figures for the next start. Losing them costs a count, so a failure is
// only logged.
func (s *Store) keepFigures(ctx context.Context) {
	if s.options.DB.Ready() != nil {
		return
	}
	stopping := ctx
	ctx, cancel := context.WithTimeout(ctx, figuresTimeout)
	defer cancel()
	err := s.options.DB.InTx(ctx, "keep media figures", func(ctx context.Context, tx *sqlx.Tx) error {
		for _, kind := range []Kind{Thumbnail, Clip, Image} {
			figure, known := s.figure(kind)
			if !known {
				continue
			}
			// The cameras' folder has no marker, so its path stands for it.
			path := sql.NullString{String: s.options.Cameras, Valid: kind == Image}
			_, err := tx.ExecContext(ctx, `INSERT INTO media_folders (kind, id, file_count, size_bytes, counted_at) VALUES ($1, $5, $2, $3, $4)
				ON CONFLICT (kind) DO UPDATE SET id = coalesce(excluded.id, media_folders.id),
					file_count = excluded.file_count, size_bytes = excluded.size_bytes, counted_at = excluded.counted_at`,
				kind, figure.FileCount, figure.SizeBytes, figure.AsOf, path)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && stopping.Err() == nil {
		s.log.WarnContext(ctx, "media figures not stored", "error", err)
	}
}
