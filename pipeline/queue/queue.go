// Package queue hands ids of waiting work to workers through Redis Streams. The ledger in
// PostgreSQL says what is to be done; the streams only say who does it next. Losing a stream loses
// nothing, and an id that is in it twice does no harm, because a worker claims the row before it
// works.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"hsi.home.arpa/pipeline/redis"
)

// ErrUnavailable says that Redis cannot be reached now.
var ErrUnavailable = redis.ErrUnavailable

// commandTimeout bounds every command that does not block.
const commandTimeout = 3 * time.Second

// Connect returns the Redis client, see (*redis.Client).Conn.
type Connect func(ctx context.Context) (rueidis.Client, error)

// Queue is one stream with its consumer group. It is safe for concurrent use and connects when it
// is used.
type Queue struct {
	connect Connect
	name    Name
	log     *slog.Logger

	// Consumers of this process count what they take, and tell the dispatcher when the stream runs
	// low.
	taken    atomic.Int64
	refillAt atomic.Int64  // how much must have been taken in all before they tell
	low      chan struct{} // has room for one
}

// New makes a queue. It does not connect.
func New(connect Connect, name Name, log *slog.Logger) *Queue {
	q := &Queue{connect: connect, name: name, log: log, low: make(chan struct{}, 1)}
	q.tellNever()
	return q
}

// tellAfter makes consumers of this process tell on q.low when they have taken n more entries.
func (q *Queue) tellAfter(n int64) { q.refillAt.Store(q.taken.Load() + n) }

// tellNever makes them tell nothing.
func (q *Queue) tellNever() { q.refillAt.Store(math.MaxInt64) }

// took counts entries that a consumer of this process has taken.
func (q *Queue) took(n int) {
	if q.taken.Add(int64(n)) < q.refillAt.Load() {
		return
	}
	select {
	case q.low <- struct{}{}:
	default:
	}
}

// State is what a stream holds.
type State struct {
	// Length counts entries, Pending those of them that a worker holds.
	Length, Pending int64
	// Oldest is when the oldest entry was added, by the clock of Redis; zero when there is none.
	Oldest time.Time
}

// add appends ids to the stream and returns the id of the last entry.
func (q *Queue) add(ctx context.Context, ids []int64) (last entryID, err error) {
	client, ctx, cancel, err := q.client(ctx)
	if err != nil {
		return entryID{}, err
	}
	defer cancel()
	commands := make(rueidis.Commands, 0, len(ids))
	for _, id := range ids {
		commands = append(commands, client.B().Xadd().Key(q.name.key()).Id("*").
			FieldValue().FieldValue(idField, strconv.FormatInt(id, 10)).Build())
	}
	for _, result := range client.DoMulti(ctx, commands...) {
		text, err := result.ToString()
		if err != nil {
			return entryID{}, fmt.Errorf("add to queue %s: %w", q.name, redis.Classify(err))
		}
		last = parseEntryID(text)
	}
	return last, nil
}

// entries returns the ids that are in the stream, held by workers or not, oldest first. Entries
// that are none of ours are left out; the workers remove them.
func (q *Queue) entries(ctx context.Context) ([]int64, error) {
	client, ctx, cancel, err := q.client(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	list, err := client.Do(ctx, client.B().Xrange().Key(q.name.key()).Start("-").End("+").Build()).AsXRange()
	if err != nil && !rueidis.IsRedisNil(err) {
		return nil, fmt.Errorf("list queue %s: %w", q.name, redis.Classify(err))
	}
	ids := make([]int64, 0, len(list))
	for _, entry := range list {
		if id, err := parseEntry(entry.FieldValues); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// position is where a stream stands.
type position struct {
	// length counts entries, pending those of them that a consumer holds.
	length, pending int
	// last is the id of the last entry ever added; zero when there is no stream.
	last entryID
}

func (p position) waiting() int { return p.length - p.pending }

// position reads where the stream stands; zero when there is none.
func (q *Queue) position(ctx context.Context) (position, error) {
	client, ctx, cancel, err := q.client(ctx)
	if err != nil {
		return position{}, err
	}
	defer cancel()
	results := client.DoMulti(ctx,
		client.B().XinfoStream().Key(q.name.key()).Build(),
		client.B().Xpending().Key(q.name.key()).Group(groupName).Build(),
	)
	info, err := results[0].AsMap()
	if isNoSuchKey(err) {
		return position{}, nil
	}
	if err != nil {
		return position{}, fmt.Errorf("measure queue %s: %w", q.name, redis.Classify(err))
	}
	var p position
	length, last := info["length"], info["last-generated-id"]
	n, err := length.AsInt64()
	if err != nil {
		return position{}, fmt.Errorf("measure queue %s: %w", q.name, err)
	}
	text, err := last.ToString()
	if err != nil {
		return position{}, fmt.Errorf("measure queue %s: %w", q.name, err)
	}
	pending, err := pendingCount(results[1])
	if err != nil {
		return position{}, fmt.Errorf("measure queue %s: %w", q.name, err)
	}
	p.length, p.pending, p.last = int(n), int(pending), parseEntryID(text)
	return p, nil
}

// pendingCount reads how many entries consumers hold from the reply to XPENDING.
func pendingCount(reply rueidis.RedisResult) (int64, error) {
	summary, err := reply.ToArray()
	switch {
	case redis.IsNoGroup(err): // nobody has read yet
		return 0, nil
	case err != nil:
		return 0, redis.Classify(err)
	case len(summary) == 0:
		return 0, nil
	}
	return summary[0].AsInt64()
}

// State reads how much the stream holds.
func (q *Queue) State(ctx context.Context) (State, error) {
	client, ctx, cancel, err := q.client(ctx)
	if err != nil {
		return State{}, err
	}
	defer cancel()
	results := client.DoMulti(ctx,
		client.B().Xlen().Key(q.name.key()).Build(),
		client.B().Xrange().Key(q.name.key()).Start("-").End("+").Count(1).Build(),
		client.B().Xpending().Key(q.name.key()).Group(groupName).Build(),
	)
	var state State
	if state.Length, err = results[0].AsInt64(); err != nil {
		return State{}, fmt.Errorf("measure queue %s: %w", q.name, redis.Classify(err))
	}
	oldest, err := results[1].AsXRange()
	if err != nil {
		return State{}, fmt.Errorf("measure queue %s: %w", q.name, redis.Classify(err))
	}
	if len(oldest) > 0 {
		state.Oldest = parseEntryID(oldest[0].ID).time()
	}
	if state.Pending, err = pendingCount(results[2]); err != nil {
		return State{}, fmt.Errorf("measure queue %s: %w", q.name, err)
	}
	return state, nil
}

// createGroup makes the consumer group, and the stream with it, where they are missing. The group
// starts at the beginning, so that entries from before it are delivered too.
func (q *Queue) createGroup(ctx context.Context) error {
	client, ctx, cancel, err := q.client(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	err = client.Do(ctx, client.B().XgroupCreate().Key(q.name.key()).Group(groupName).Id("0").Mkstream().Build()).Error()
	if err != nil && !isGroupExists(err) {
		return fmt.Errorf("create group of queue %s: %w", q.name, redis.Classify(err))
	}
	return nil
}

// client connects and bounds the time of one command.
func (q *Queue) client(ctx context.Context) (rueidis.Client, context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	client, err := q.connect(ctx)
	if err != nil {
		cancel()
		return nil, nil, nil, fmt.Errorf("queue %s: %w", q.name, err)
	}
	return client, ctx, cancel, nil
}

func isGroupExists(err error) bool {
	reply, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(reply.Error(), "BUSYGROUP")
}

func isNoSuchKey(err error) bool {
	reply, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasSuffix(reply.Error(), "no such key")
}

var errNotOurs = errors.New("the entry names no id")

// parseEntry reads the id of an entry.
func parseEntry(fields map[string]string) (int64, error) {
	id, err := strconv.ParseInt(fields[idField], 10, 64)
	if err != nil || id <= 0 {
		return 0, errNotOurs
	}
	return id, nil
}

// entryID is the id of a stream entry: a time in milliseconds by the clock of Redis and a number
// within it. Ids only grow.
type entryID struct{ milliseconds, number uint64 }

// parseEntryID reads "<milliseconds>-<number>"; zero when it is none.
func parseEntryID(text string) entryID {
	left, right, _ := strings.Cut(text, "-")
	milliseconds, err := strconv.ParseUint(left, 10, 63)
	number, err2 := strconv.ParseUint(right, 10, 64)
	if err != nil || err2 != nil {
		return entryID{}
	}
	return entryID{milliseconds: milliseconds, number: number}
}

// before tells whether e was made before other.
func (e entryID) before(other entryID) bool {
	return e.milliseconds < other.milliseconds || e.milliseconds == other.milliseconds && e.number < other.number
}

// time returns when the entry was added.
func (e entryID) time() time.Time {
	return time.UnixMilli(int64(e.milliseconds)).UTC() //nolint:gosec // parsed as 63 bits
}
