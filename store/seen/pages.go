package seen

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
)

const (
	// keptPageBytes and keptCountBytes bound what is kept of lists of events.
	keptPageBytes  = 16 << 20
	keptCountBytes = 1 << 20
	// mostPending is how many changes may wait for their positions while pages are kept.
	mostPending = 1000
	// keptPageAge bounds how long a page is kept. Only for what moves nothing: when a detection,
	// not its event, is removed by another program.
	keptPageAge = 5 * time.Second
)

// pages keeps pages of events, and how many events fit a filter, behind the state of all that the
// list shows, which is read each time.
type pages struct {
	found  *cache[string, keptPage]
	counts *cache[string, keptCount]
	now    func() time.Time
}

type keptPage struct {
	state pageState
	at    time.Time // when its rows were read, or earlier
	rows  []Event
	next  *Position
	form  *Form
}

type keptCount struct {
	state pageState
	count found
}

func newPages() pages {
	return pages{
		newCache[string, keptPage](keptPageBytes), newCache[string, keptCount](keptCountBytes), time.Now,
	}
}

// pageState moves in the transaction of each change, of any program, that a list of events can
// show or that a filter can tell. Its numbers only rise.
type pageState struct {
	Epoch string `db:"epoch"`
	// Told is how much the live stream was told: what has a position and what waits for one. So it
	// moves with the change and not again when that gets its position.
	Told int64 `db:"told"`
	// Shown moves with what the stream is not told: kinds of objects and detections.
	Shown int64 `db:"shown"`
}

// stateNow is the state with where the live stream stands. known: what is kept can be told by it.
func stateNow(ctx context.Context, q sqlx.QueryerContext) (state pageState, position string, known bool, err error) {
	var row struct {
		pageState

		Head int64 `db:"head"`
	}
	err = sqlx.GetContext(ctx, q, &row, `
		SELECT s.epoch, s.head,
		       s.head + (SELECT count(*) FROM (SELECT FROM live_pending LIMIT $1) AS p) AS told,
		       (SELECT sum(r.revision) FROM shown_revisions AS r)::bigint AS shown
		FROM (SELECT epoch, coalesce((SELECT max(c.position) FROM live_changes AS c), removed) AS head
		      FROM live_state) AS s`, mostPending+1)
	if err != nil {
		return pageState{}, "", false, fmt.Errorf("state: %w", err)
	}
	known = row.Told-row.Head <= mostPending
	return row.pageState, row.Epoch + "-" + strconv.FormatInt(row.Head, 10), known, nil
}

// pageKeys are the keys of a page and of the number of all that fit.
func pageKeys(filter EventFilter, page Page) (ofPage, ofCount string, err error) {
	filterKey, err := json.Marshal(filter)
	if err != nil {
		return "", "", fmt.Errorf("key: %w", err)
	}
	pageKey, err := json.Marshal(page)
	if err != nil {
		return "", "", fmt.Errorf("key: %w", err)
	}
	return string(filterKey) + string(pageKey), string(filterKey), nil
}

// get returns a kept page.
func (p *pages) get(ofPage, ofCount string, state pageState) (Listed[Event], bool) {
	page, pageIsKept := p.found.get(ofPage)
	counted, countIsKept := p.counts.get(ofCount)
	if !pageIsKept || !countIsKept || page.state != state || counted.state != state ||
		p.now().Sub(page.at) >= keptPageAge {
		return Listed[Event]{}, false
	}
	return Listed[Event]{
		Rows: page.rows, Next: page.next, Form: page.form,
		Count: counted.count.count, CountIsMinimum: counted.count.countIsMinimum,
	}, true
}

// count returns a kept count.
func (p *pages) count(ofCount string, state pageState) (found, bool) {
	counted, ok := p.counts.get(ofCount)
	return counted.count, ok && counted.state == state
}

// keep keeps a page, of which the state was read before the rows: it is never older than that.
func (p *pages) keep(ofPage, ofCount string, state pageState, at time.Time, listed *Listed[Event]) {
	listed.Form = &Form{}
	p.found.add(ofPage, keptPage{state, at, listed.Rows, listed.Next, listed.Form}, len(ofPage)+bytesOf(listed.Rows))
	p.counts.add(ofCount, keptCount{state, found{
		count: listed.Count, countIsMinimum: listed.CountIsMinimum,
	}}, len(ofCount)+200)
}

// bytesOf is about how much room events take, with the form that clients get.
func bytesOf(events []Event) int {
	bytes := 500
	for i := range events {
		e := &events[i]
		texts := len(e.CameraID)
		for _, text := range []*string{
			e.BatchID, e.CameraName, e.RiskLevel, e.Summary, e.Reasoning, e.Analyzer, e.Notes,
		} {
			if text != nil {
				texts += len(*text) + 16
			}
		}
		for _, name := range e.ObjectTypes {
			texts += len(name) + 16
		}
		bytes += 1000 + 2*texts + 24*len(e.DetectionIDs)
	}
	return bytes
}
