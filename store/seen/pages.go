package seen

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jmoiron/sqlx"
)

const (
	// keptPages and keptCounts bound what is kept: a page has up to longestKeptPage ids.
	keptPages       = 1000
	keptCounts      = 1000
	longestKeptPage = 200
)

// pages keeps which events are on a page and how many fit a filter, both behind the revision of all
// days, which is read each time. It moves in the transaction of each change, of any program, that a
// filter can tell: what has changed is found anew. The rows themselves are always read.
type pages struct {
	found  *lru.Cache[string, keptPage]
	counts *lru.Cache[string, keptCount]
}

type keptPage struct {
	revision int64
	ids      []int64
	next     *Position
}

type keptCount struct {
	revision  int64
	count     int64
	isMinimum bool
}

func newPages() pages {
	found, err := lru.New[string, keptPage](keptPages)
	if err != nil {
		panic(err) // only for a size below 1
	}
	counts, err := lru.New[string, keptCount](keptCounts)
	if err != nil {
		panic(err)
	}
	return pages{found, counts}
}

// find finds a page of events and how many there are, as run does.
func (p *pages) find(ctx context.Context, tx *sqlx.Tx, filter EventFilter, page Page) (found, error) {
	// Before the rows: what is kept is never older than its revision.
	revision, err := revisionOfAll(ctx, tx)
	if err != nil {
		return found{}, err
	}
	filterKey, err := json.Marshal(filter)
	if err != nil {
		return found{}, fmt.Errorf("key: %w", err)
	}
	pageKey, err := json.Marshal(page)
	if err != nil {
		return found{}, fmt.Errorf("key: %w", err)
	}
	keys := struct{ page, count string }{string(filterKey) + string(pageKey), string(filterKey)}
	kept, pageIsKept := p.found.Get(keys.page)
	pageIsKept = pageIsKept && kept.revision == revision
	counted, countIsKept := p.counts.Get(keys.count)
	countIsKept = countIsKept && counted.revision == revision
	f := found{ids: slices.Clone(kept.ids), next: kept.next}
	if pageIsKept && countIsKept {
		f.count, f.countIsMinimum = counted.count, counted.isMinimum
		return f, nil
	}
	err = inIndexOrder(ctx, tx, func() (err error) {
		if !pageIsKept {
			if f, err = findInOrder(ctx, tx, page, filter.scan); err != nil {
				return err
			}
		}
		if !countIsKept {
			counted.count, counted.isMinimum, err = count(ctx, tx, page, filter.scan)
		}
		return err
	})
	if err != nil {
		return found{}, err
	}
	f.count, f.countIsMinimum = counted.count, counted.isMinimum
	if page.Limit <= longestKeptPage {
		p.found.Add(keys.page, keptPage{revision, slices.Clone(f.ids), f.next})
	}
	p.counts.Add(keys.count, keptCount{revision, f.count, f.countIsMinimum})
	return f, nil
}

// revisionOfAll moves with everything that a filter of events can tell.
func revisionOfAll(ctx context.Context, tx *sqlx.Tx) (int64, error) {
	var revision int64
	err := tx.GetContext(ctx, &revision, `SELECT coalesce(sum(revision), 0)::bigint FROM event_days`)
	if err != nil {
		return 0, fmt.Errorf("revision: %w", err)
	}
	return revision, nil
}
