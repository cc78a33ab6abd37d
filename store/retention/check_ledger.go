package retention

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/store"
)

// rule is something that must hold for every row. bad selects the ids of rows that break it, repair
// mends them where that is safe.
type rule struct {
	name, meaning, bad string
	repair             string // $1 is an array of ids; empty when a person has to decide
}

// rules are what the tables promise each other. A snapshot always keeps them, because every change
// of state is one transaction.
var rules = []rule{ //nolint:gochecknoglobals // a constant
	{
		name: "event_without_detections", meaning: "Events of ours that have no detections.",
		bad: `SELECT e.id FROM events AS e WHERE e.analyzer IS NOT NULL AND NOT EXISTS (SELECT FROM detections AS d WHERE d.event_id = e.id)`,
	},
	{
		name: "event_without_batch", meaning: "Events of ours that no batch leads to.",
		bad: `SELECT e.id FROM events AS e WHERE e.analyzer IS NOT NULL AND NOT EXISTS (SELECT FROM batches AS b WHERE b.event_id = e.id)`,
	},
	{
		name: "batch_without_event", meaning: "Batches that count as analyzed and have no event, or have one and do not count as analyzed.",
		bad: `SELECT b.id FROM batches AS b WHERE (b.state = 'analyzed') <> (b.event_id IS NOT NULL)`,
	},
	{
		name: "batch_without_images", meaning: "Batches that wait for analysis and have no images.",
		bad: `SELECT b.id FROM batches AS b WHERE b.state IN ('open', 'closed', 'queued', 'analyzing')
			AND NOT EXISTS (SELECT FROM images AS i WHERE i.batch_id = b.id)`,
	},
	{
		name: "analyzed_without_event", meaning: "Images that count as analyzed although their event is gone.",
		bad: `SELECT i.id FROM images AS i WHERE i.state = 'analyzed'
			AND NOT EXISTS (SELECT FROM batches AS b WHERE b.id = i.batch_id AND b.event_id IS NOT NULL)`,
		repair: `UPDATE images AS i SET state = 'expired', expired_at = clock_timestamp() WHERE i.id = ANY ($1) AND i.state = 'analyzed'
			AND NOT EXISTS (SELECT FROM batches AS b WHERE b.id = i.batch_id AND b.event_id IS NOT NULL)
			AND NOT EXISTS (SELECT FROM detections AS d WHERE d.image_id = i.id)`,
	},
	{
		name: "batched_without_batch", meaning: "Images that wait for a batch which does not wait for analysis.",
		bad: `SELECT i.id FROM images AS i WHERE i.state = 'batched' AND NOT EXISTS (
			SELECT FROM batches AS b WHERE b.id = i.batch_id AND b.state IN ('open', 'closed', 'queued', 'analyzing'))`,
	},
	{
		name: "image_without_detections", meaning: "Images in a batch or event that have no detections.",
		bad: `SELECT i.id FROM images AS i WHERE i.state IN ('batched', 'analyzed') AND i.batch_id IS NOT NULL
			AND NOT EXISTS (SELECT FROM detections AS d WHERE d.image_id = i.id)`,
	},
	{
		name: "detections_without_state", meaning: "Images with detections that count as not yet detected, left out, or expired.",
		bad: `SELECT i.id FROM images AS i WHERE i.state IN ('seen', 'queued', 'detecting', 'filtered', 'expired')
			AND EXISTS (SELECT FROM detections AS d WHERE d.image_id = i.id)`,
	},
	{
		name: "image_in_two_events", meaning: "Images whose detections lie in more than one event or batch.",
		bad: `SELECT d.image_id AS id FROM detections AS d WHERE d.image_id IS NOT NULL GROUP BY d.image_id
			HAVING min(coalesce(d.event_id, 0)) <> max(coalesce(d.event_id, 0)) OR min(coalesce(d.batch_id, 0)) <> max(coalesce(d.batch_id, 0))`,
	},
	{
		name: "given_up_without_cause", meaning: "Images that were left out or given up without a reason.",
		bad: `SELECT i.id FROM images AS i WHERE i.state IN ('filtered', 'dead_lettered') AND coalesce(i.reason, '') = ''`,
	},
}

// checkLedger tests the rules in one snapshot, so that work in progress is never seen half done.
func (s *Service) checkLedger(ctx context.Context, repair bool, report *CheckReport) error {
	var broken []brokenRule
	err := s.snapshot(ctx, func(tx *sqlx.Tx) error {
		for _, rule := range rules {
			found := brokenRule{rule: rule}
			err := tx.QueryRowxContext(ctx, `WITH bad AS MATERIALIZED (`+rule.bad+`)
				SELECT (SELECT count(*) FROM bad), ARRAY(SELECT id FROM bad ORDER BY id LIMIT $1)`, maxExamples).Scan(&found.count, pq.Array(&found.ids))
			if err != nil {
				return fmt.Errorf("check %s: %w", rule.name, err)
			}
			if found.count > 0 {
				broken = append(broken, found)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range broken {
		finding := Finding{Name: b.rule.name, Meaning: b.rule.meaning, Count: b.count}
		for _, id := range b.ids {
			finding.Examples = append(finding.Examples, fmt.Sprint(id))
		}
		if repair && b.rule.repair != "" {
			if finding.Repaired, err = s.repairRule(ctx, b.rule); err != nil {
				return err
			}
		}
		report.add(finding)
	}
	return nil
}

type brokenRule struct {
	rule  rule
	count int64
	ids   []int64
}

// repairRule mends the rows of a rule page by page. Rows that it must not touch stay as they are.
func (s *Service) repairRule(ctx context.Context, rule rule) (repaired int64, err error) {
	var after int64
	for {
		var ids []int64
		if err := s.db.SQL().SelectContext(ctx, &ids, `SELECT id FROM (`+rule.bad+`) AS bad WHERE id > $1 ORDER BY id LIMIT $2`,
			after, fetchSize); err != nil {
			return repaired, fmt.Errorf("find %s: %w", rule.name, err)
		}
		if len(ids) == 0 {
			return repaired, nil
		}
		after = ids[len(ids)-1]
		result, err := s.db.SQL().ExecContext(ctx, rule.repair, pq.Array(ids))
		if err != nil {
			return repaired, fmt.Errorf("repair %s: %w", rule.name, err)
		}
		rows, err := result.RowsAffected()
		if err != nil {
			return repaired, err
		}
		repaired += rows
	}
}

// checkCounters compares the counters with full counts in one snapshot. The repair counts again
// while nobody writes.
func (s *Service) checkCounters(ctx context.Context, repair bool, report *CheckReport) error {
	finding := Finding{Name: "counter_drift", Meaning: "Row counters that differ from the number of rows."}
	var wrong []store.Counter
	err := s.snapshot(ctx, func(tx *sqlx.Tx) error {
		for _, c := range store.Counters() {
			var kept, counted int64
			err := tx.QueryRowxContext(ctx, `
				SELECT (SELECT coalesce(sum(row_count), 0)::bigint FROM counters WHERE table_name = $1),
				       (SELECT count(*) FROM `+c.Table+` WHERE `+c.Where+`)`,
				c.Name).Scan(&kept, &counted)
			if err != nil {
				return fmt.Errorf("count %s: %w", c.Name, err)
			}
			if kept != counted {
				finding.Count++
				finding.Examples = append(finding.Examples, fmt.Sprintf("%s: counter %d, rows %d", c.Name, kept, counted))
				wrong = append(wrong, c)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if repair {
		for _, c := range wrong {
			if err := s.recount(ctx, c); err != nil {
				return err
			}
			finding.Repaired++
		}
	}
	report.add(finding)
	return nil
}

// recount sets a counter while the writers of its table wait.
func (s *Service) recount(ctx context.Context, c store.Counter) error {
	return s.db.InTx(ctx, "recount "+c.Name, func(ctx context.Context, tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `LOCK TABLE `+c.Table+` IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			WITH rows AS (SELECT count(*) AS n FROM `+c.Table+` WHERE `+c.Where+`)
			INSERT INTO counters (table_name, slot, row_count) SELECT $1, slot, CASE WHEN slot = 0 THEN n ELSE 0 END
			FROM rows, generate_series(0, 15) AS s (slot)
			ON CONFLICT (table_name, slot) DO UPDATE SET row_count = excluded.row_count`, c.Name)
		return err
	})
}

// snapshot runs fn in a read-only transaction that sees one moment.
func (s *Service) snapshot(ctx context.Context, fn func(tx *sqlx.Tx) error) error {
	tx, err := s.db.SQL().BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it changed nothing
	// The context bounds this transaction; going through a long history may take longer than a
	// request's statement.
	if _, err := tx.ExecContext(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
		return fmt.Errorf("lift the statement timeout: %w", err)
	}
	return fn(tx)
}
