package retention

import "time"

// plan is what is due in one run. The conditions below are its one and only definition: the dry run
// counts by them and the real run deletes by them.
type plan struct {
	at           time.Time
	cutoff       time.Time // what is older than this is due
	days         int
	deleteImages bool
}

// eventDue is the condition on an event e; $1 is the cut-off. An event is as old as its end.
const eventDue = `coalesce(e.ended_at, e.started_at) < $1`

// strayDue is the condition on a detection d; $1 is the cut-off. A detection without event is due
// by its own time, but not while its image is still on the way to an event: a batch may wait for
// the analyzer for any length of time.
const strayDue = `d.event_id IS NULL AND d.detected_at < $1
	AND NOT EXISTS (SELECT FROM images AS w WHERE w.id = d.image_id AND w.state IN ('seen', 'queued', 'detecting', 'batched'))
	AND NOT EXISTS (SELECT FROM batches AS w WHERE w.id = d.batch_id AND w.state IN ('open', 'closed', 'queued', 'analyzing'))`

// detectionDue is the condition on any detection d: it goes with its event, or by itself.
const detectionDue = `(CASE WHEN d.event_id IS NULL THEN ` + strayDue + `
	ELSE EXISTS (SELECT FROM events AS e WHERE e.id = d.event_id AND ` + eventDue + `) END)`

// imageExpires is the condition on an image i that loses its last detection in this run, or its
// event.
const imageExpires = `i.state IN ('analyzed', 'dead_lettered')
	AND NOT EXISTS (SELECT FROM detections AS d WHERE d.image_id = i.id AND NOT ` + detectionDue + `)
	AND (EXISTS (SELECT FROM detections AS d WHERE d.image_id = i.id)
		OR i.state = 'analyzed' AND EXISTS (
			SELECT FROM batches AS b JOIN events AS e ON e.id = b.event_id WHERE b.id = i.batch_id AND ` + eventDue + `))`

// timedTable is a table whose rows are due by one time column and hang on nothing.
type timedTable struct {
	name, column string
}

var (
	gpuSamples = timedTable{name: "gpu_stats", column: "recorded_at"}
	logLines   = timedTable{name: "logs", column: "timestamp"}
)

func (t timedTable) due() string { return t.column + ` < $1` }
