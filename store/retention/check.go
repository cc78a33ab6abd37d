package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
)

// maxExamples is how many cases of a finding are named.
const maxExamples = 5

// Finding is one kind of disagreement between rows, files, counters and the ledger.
type Finding struct {
	// Name is short and stable, such as "missing_thumbnail".
	Name string
	// Meaning is a sentence for people.
	Meaning string
	Count   int64
	// Examples names the first few cases.
	Examples []string
	// Repaired is how many of them were mended.
	Repaired int64
}

// CheckReport is what a check found.
type CheckReport struct {
	At       time.Time
	Findings []Finding // only those with cases
}

// OK tells that nothing is wrong, or that everything was mended.
func (r CheckReport) OK() bool {
	for _, finding := range r.Findings {
		if finding.Repaired < finding.Count {
			return false
		}
	}
	return true
}

func (r *CheckReport) add(finding Finding) {
	if finding.Count > 0 {
		r.Findings = append(r.Findings, finding)
	}
}

// Check verifies that every thumbnail and clip that a row names exists, that every file of ours has
// a row or a mark, that the counters are right, that no event lacks its detections, and that the
// ledger agrees with itself. Rows that another program wrote are not held to what they cannot have.
// With repair it mends what is safe to mend: nothing that a person could miss is removed. It may
// run beside the server. Memory does not grow with the data. An error means that the check could
// not be finished; findings are in the report only.
func (s *Service) Check(ctx context.Context, repair bool) (CheckReport, error) {
	report := CheckReport{At: s.now().UTC()}
	if err := s.db.Ready(); err != nil {
		return report, fmt.Errorf("check: %w", err)
	}
	for _, part := range []func(context.Context, bool, *CheckReport) error{
		s.checkLedger, s.checkCounters, s.checkMedia,
	} {
		if err := part(ctx, repair, &report); err != nil {
			return report, store.Classify(ctx, "check", err)
		}
	}
	return report, nil
}

// checkMedia compares rows and files.
func (s *Service) checkMedia(ctx context.Context, repair bool, report *CheckReport) error {
	if err := s.media.Available(ctx, false); err != nil {
		if !errors.Is(err, media.ErrUnavailable) {
			return err
		}
		report.add(Finding{
			Name: "media_unavailable", Meaning: "A media folder cannot be used, so files were not checked.", Count: 1, Examples: []string{err.Error()},
		})
		return nil
	}
	for _, named := range []namedFiles{
		{
			kind: media.Thumbnail, name: "missing_thumbnail", table: "detections", column: "thumbnail_path",
			meaning: "Detections name a thumbnail that does not exist.", written: "(detector IS NOT NULL OR image_id IS NOT NULL)",
		},
		{
			kind: media.Clip, name: "missing_clip", table: "events", column: "clip_path",
			meaning: "Events name a clip that does not exist.", written: "analyzer IS NOT NULL",
		},
	} {
		finding, err := s.checkNamedFiles(ctx, named, repair)
		report.add(finding)
		if err != nil {
			return err
		}
	}
	if err := s.checkOrphans(ctx, repair, report); err != nil {
		return err
	}
	return s.checkMarks(ctx, repair, report)
}

// namedFiles is a column that names files. written is the condition on rows that we wrote
// ourselves.
type namedFiles struct {
	kind                                  media.Kind
	name, meaning, table, column, written string
}

// namedFile is one row that names a file.
type namedFile struct {
	ID   int64  `db:"id"`
	Path string `db:"path"`
}

// checkNamedFiles finds rows that name a file which is not there. The repair lets the row go
// without it.
func (s *Service) checkNamedFiles(ctx context.Context, named namedFiles, repair bool) (Finding, error) {
	finding := Finding{Name: named.name, Meaning: named.meaning}
	var after int64
	for {
		var page []namedFile
		err := s.db.SQL().SelectContext(ctx, &page, fmt.Sprintf(`
			SELECT id, %[1]s AS path FROM %[2]s WHERE id > $1 AND %[1]s IS NOT NULL AND %[3]s ORDER BY id LIMIT $2`,
			named.column, named.table, named.written), after, fetchSize)
		if err != nil {
			return finding, fmt.Errorf("read the files that %s name: %w", named.table, err)
		}
		if len(page) == 0 {
			return finding, nil
		}
		after = page[len(page)-1].ID
		var missing []int64
		files := s.media.Preview()
		for _, row := range page {
			if files.Missing(ctx, named.kind, row.Path) {
				missing = append(missing, row.ID)
			}
		}
		files.Close()
		if err := s.settleMissing(ctx, named, missing, repair, &finding); err != nil {
			return finding, err
		}
	}
}

// settleMissing counts the rows among ids that still name their file: a cleanup may have been
// faster. The repair empties the name.
func (s *Service) settleMissing(ctx context.Context, named namedFiles, ids []int64, repair bool, finding *Finding) error {
	if len(ids) == 0 {
		return nil
	}
	return s.db.InTx(ctx, "settle missing files", func(ctx context.Context, tx *sqlx.Tx) error {
		var still []namedFile
		err := tx.SelectContext(ctx, &still, fmt.Sprintf(`
			SELECT id, %[1]s AS path FROM %[2]s WHERE id = ANY ($1) AND %[1]s IS NOT NULL ORDER BY id FOR UPDATE`,
			named.column, named.table), pq.Array(ids))
		if err != nil {
			return err
		}
		finding.Count += int64(len(still))
		for _, row := range still {
			if len(finding.Examples) < maxExamples {
				finding.Examples = append(finding.Examples, fmt.Sprintf("%s %d: %s", named.table, row.ID, row.Path))
			}
		}
		if !repair {
			return nil
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf(`UPDATE %[2]s SET %[1]s = NULL WHERE id = ANY ($1)`, named.column, named.table), pq.Array(ids))
		finding.Repaired += int64(len(still))
		return err
	})
}

// checkOrphans finds files of ours that no row and no mark names. The repair marks them.
func (s *Service) checkOrphans(ctx context.Context, repair bool, report *CheckReport) error {
	look := s.media.FindOrphans
	if repair {
		look = s.media.MarkOrphans
	}
	found, err := look(ctx)
	if err != nil {
		return err
	}
	finding := Finding{
		Name: "orphan_file", Meaning: "Files of ours that no row names.", Count: found.Marked + found.Temporary, Examples: found.Examples,
	}
	if repair {
		finding.Repaired = finding.Count
	}
	report.add(finding)
	return nil
}

// checkMarks finds files that could not be removed. The repair tries again.
func (s *Service) checkMarks(ctx context.Context, repair bool, report *CheckReport) error {
	finding := Finding{Name: "stuck_deletion", Meaning: "Files that are to be removed and could not be."}
	count := func() (n int64, err error) {
		err = s.db.SQL().GetContext(ctx, &n, `SELECT count(*) FROM media_deletions WHERE attempts > 0`)
		return n, err
	}
	var err error
	if finding.Count, err = count(); err != nil || finding.Count == 0 {
		return err
	}
	err = s.db.SQL().SelectContext(ctx, &finding.Examples, `
		SELECT kind || ' ' || path || ': ' || coalesce(last_error, '') FROM media_deletions WHERE attempts > 0 ORDER BY id LIMIT $1`, maxExamples)
	if err != nil {
		return err
	}
	if repair {
		if _, err := s.db.SQL().ExecContext(ctx, `UPDATE media_deletions SET not_before = NULL WHERE attempts > 0`); err != nil {
			return err
		}
		if _, err := s.media.Sweep(ctx); err != nil && !errors.Is(err, media.ErrUnavailable) {
			return err
		}
		left, err := count()
		if err != nil {
			return err
		}
		finding.Repaired = finding.Count - left
	}
	report.add(finding)
	return nil
}
