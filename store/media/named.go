package media

import (
	"context"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// namesQuery is the query for those of the paths $1 that a row of a marked kind names.
func namesQuery(kind Kind) string {
	if kind == Clip {
		return `SELECT DISTINCT clip_path FROM events WHERE clip_path = ANY ($1)`
	}
	return `SELECT DISTINCT thumbnail_path FROM detections WHERE thumbnail_path = ANY ($1)`
}

// OtherSpelling is the SQL for the second way to write a path: absolute for a relative one and the
// reverse. The prefix is that of the folder.
func OtherSpelling(path, prefix string) string {
	return `(CASE WHEN starts_with(` + path + `, ` + prefix + `) THEN substr(` + path + `, length(` + prefix + `) + 1) ELSE ` +
		prefix + ` || ` + path + ` END)`
}

// spellings are the two ways to write a path below the folder. A path that is not ours has only
// itself.
func (r *root) spellings(path string) []string {
	rel, ok := r.relative(path)
	if !ok {
		return []string{path}
	}
	return []string{rel, r.prefix() + rel}
}

// named returns those of the paths that query finds, in whichever of its spellings. The database is
// asked by equality with many values: that is an index look-up for each, whatever the planner
// thinks of the tables.
func (r *root) named(ctx context.Context, db sqlx.QueryerContext, query string, paths []string) (map[string]bool, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	asked := make([]string, 0, 2*len(paths))
	for _, path := range paths {
		asked = append(asked, r.spellings(path)...)
	}
	var found []string
	if err := sqlx.SelectContext(ctx, db, &found, query, pq.Array(asked)); err != nil {
		return nil, fmt.Errorf("find rows that name files: %w", err)
	}
	named := make(map[string]bool, 2*len(found))
	for _, path := range found {
		for _, spelling := range r.spellings(path) {
			named[spelling] = true
		}
	}
	return named, nil
}

// markNamed notes for the marks of one kind whether a row still names their file.
func markNamed(ctx context.Context, db sqlx.QueryerContext, r *root, marks []mark) error {
	var paths []string
	for i := range marks {
		if marks[i].Kind == r.kind {
			paths = append(paths, marks[i].Path)
		}
	}
	named, err := r.named(ctx, db, namesQuery(r.kind), paths)
	if err != nil {
		return err
	}
	for i := range marks {
		if marks[i].Kind == r.kind {
			marks[i].named = named[marks[i].Path]
		}
	}
	return nil
}

// marksQuery is the query for those of the paths $1 that are marked.
var marksQuery = strings.TrimSpace(`
	SELECT DISTINCT path FROM media_deletions WHERE path = ANY ($1)`)
