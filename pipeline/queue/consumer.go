package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"hsi.home.arpa/pipeline/redis"
)

const (
	// block is how long one read waits for an entry.
	block = time.Second
	// blockSlack is how much longer than that an answer may take; a frozen Redis is noticed after
	// it.
	blockSlack = 2 * time.Second
	// handBackTimeout bounds what is still done for an entry after the worker was told to stop.
	handBackTimeout = 3 * time.Second
)

// Pauses bound the back-off of a consumer: the first pause, doubled each time up to the longest.
type Pauses struct{ Shortest, Longest time.Duration }

// DefaultPauses are what a consumer waits while Redis, the database or a service is away.
func DefaultPauses() Pauses {
	return Pauses{Shortest: 250 * time.Millisecond, Longest: 10 * time.Second}
}

// heartbeat shows that a function is alive; see pipeline.Heartbeat.
type heartbeat interface {
	Beat()
	Say(message string)
	Step(limit time.Duration) (done func())
}

// Later is returned by a handler that has handed its row back because of something that is not the
// row's fault, such as a service that is down. The entry is acknowledged and the worker pauses
// before it takes the next one.
type Later struct {
	// Message tells people what is waited for, such as "waiting for the detector".
	Message string
	Err     error
	// Until is when there is use in going on; zero when that is not known.
	Until time.Time
}

func (l *Later) Error() string { return fmt.Sprintf("%s: %v", l.Message, l.Err) }

// Unwrap returns the cause.
func (l *Later) Unwrap() error { return l.Err }

// Handler does the work that the ids stand for, claiming the rows first. With nil or *Later the
// entries are finished. After any other error, such as a database that is down, the handler is
// asked again for the same ids, whatever it has decided about some.
type Handler func(ctx context.Context, ids []int64) error

// ConsumerOptions say how a consumer works.
type ConsumerOptions struct {
	// Name must be unique among all processes. Required.
	Name string
	// Lease is how long entries may be held before another consumer may take them over. It must be
	// longer than a handler may take. Required.
	Lease time.Duration
	// AtOnce is how many entries one call of the handler may get. It never waits for more than one.
	// Defaults to 1.
	AtOnce int
	// Pauses default to DefaultPauses.
	Pauses Pauses
}

// Consumer takes entries from a queue, a few at a time.
type Consumer struct {
	queue   *Queue
	name    string
	options ConsumerOptions
	log     *slog.Logger

	stolenAt time.Time // when entries of dead consumers were last looked for
	cursor   string    // where the next such look goes on
	failures int       // pauses in a row
}

// NewConsumer makes a consumer.
func (q *Queue) NewConsumer(options ConsumerOptions) *Consumer {
	options.AtOnce = max(options.AtOnce, 1)
	if options.Pauses == (Pauses{}) {
		options.Pauses = DefaultPauses()
	}
	return &Consumer{queue: q, name: options.Name, options: options, log: q.log, cursor: "0-0"}
}

// delivery is an entry that this consumer holds.
type delivery struct {
	entry string // id of the stream entry
	id    int64  // what it carries
}

// Run takes entries and calls handle for each until ctx ends. While Redis, the database or a
// service is away it waits with growing pauses and says so by the heartbeat; it returns nothing but
// nil.
func (c *Consumer) Run(ctx context.Context, alive heartbeat, handle Handler) error {
	defer c.leave(ctx)
	for ctx.Err() == nil {
		alive.Beat()
		next, err := c.receive(ctx)
		if err != nil {
			c.pause(ctx, alive, "waiting for Redis", err, time.Time{})
			continue
		}
		if len(next) > 0 {
			c.work(ctx, alive, handle, next)
			continue
		}
		alive.Say("") // nothing to do is not waiting
	}
	return nil
}

// work calls handle until the entries are finished or ctx ends.
func (c *Consumer) work(ctx context.Context, alive heartbeat, handle Handler, next []delivery) {
	ids := make([]int64, 0, len(next))
	for _, one := range next {
		if !slices.Contains(ids, one.id) { // an id may be in the stream twice
			ids = append(ids, one.id)
		}
	}
	for {
		err := handle(ctx, ids)
		var later *Later
		if err == nil || errors.As(err, &later) {
			c.finish(ctx, next...)
			if later == nil {
				c.failures = 0
				alive.Say("")
			} else if ctx.Err() == nil {
				c.pause(ctx, alive, later.Message, later.Err, later.Until)
			}
			return
		}
		if ctx.Err() != nil {
			return // the entries stay ours until the lease ends; the rows decide
		}
		c.pause(ctx, alive, "waiting for the database", err, time.Time{})
	}
}

// pause waits, longer each time or until when it is known, and tells why. It logs the first failure
// of a series and every later one at debug level.
func (c *Consumer) pause(ctx context.Context, alive heartbeat, message string, err error, until time.Time) {
	if ctx.Err() != nil {
		return
	}
	level := slog.LevelWarn
	if c.failures > 0 {
		level = slog.LevelDebug
	}
	length := c.options.Pauses.after(c.failures)
	if !until.IsZero() {
		length = c.options.Pauses.until(time.Until(until))
	}
	c.failures++
	alive.Say(message)
	c.log.Log(ctx, level, "worker waits", "queue", string(c.queue.name), "consumer", c.name, "reason", message, "pause", length, "error", err)
	defer alive.Step(length + time.Second)()
	wait(ctx, length)
}

// receive returns the next entries, or none when none came for a while. Entries that are none of
// ours are removed.
func (c *Consumer) receive(ctx context.Context) ([]delivery, error) {
	list, err := c.steal(ctx)
	if err == nil && len(list) == 0 {
		list, err = c.read(ctx)
	}
	if redis.IsNoGroup(err) {
		c.log.InfoContext(ctx, "queue is not there, making it", "queue", string(c.queue.name))
		return nil, c.queue.createGroup(ctx)
	}
	if err != nil {
		return nil, redis.Classify(err)
	}
	c.queue.took(len(list))
	next := make([]delivery, 0, len(list))
	for _, entry := range list {
		id, err := parseEntry(entry.FieldValues)
		if err == nil {
			next = append(next, delivery{entry: entry.ID, id: id})
			continue
		}
		c.log.WarnContext(ctx, "foreign entry removed from queue", "queue", string(c.queue.name), "entry", entry.ID)
		c.finish(ctx, delivery{entry: entry.ID})
	}
	return next, nil
}

// read waits for new entries.
func (c *Consumer) read(ctx context.Context) ([]rueidis.XRangeEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, block+blockSlack)
	defer cancel()
	client, err := c.queue.connect(ctx)
	if err != nil {
		return nil, err
	}
	key := c.queue.name.key()
	streams, err := client.Do(ctx, client.B().Xreadgroup().Group(groupName, c.name).Count(int64(c.options.AtOnce)).Block(block.Milliseconds()).
		Streams().Key(key).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return streams[key], err
}

// steal takes over entries that another consumer has held for longer than the lease. It looks only
// now and then.
func (c *Consumer) steal(ctx context.Context) ([]rueidis.XRangeEntry, error) {
	now := time.Now()
	if now.Sub(c.stolenAt) < min(c.options.Lease/4, 5*time.Second) {
		return nil, nil
	}
	client, ctx, cancel, err := c.queue.client(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	reply, err := client.Do(ctx, client.B().Xautoclaim().Key(c.queue.name.key()).Group(groupName).Consumer(c.name).
		MinIdleTime(fmt.Sprint(c.options.Lease.Milliseconds())).Start(c.cursor).Count(int64(c.options.AtOnce)).Build()).ToArray()
	if err != nil {
		return nil, err
	}
	if len(reply) < 2 {
		return nil, errors.New("short reply to XAUTOCLAIM")
	}
	if c.cursor, err = reply[0].ToString(); err != nil {
		return nil, fmt.Errorf("read cursor: %w", err)
	}
	entries, err := reply[1].AsXRange()
	if err != nil && !rueidis.IsRedisNil(err) {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	if len(entries) == 0 && c.cursor == "0-0" {
		c.stolenAt = now // seen all of them
	}
	return entries, nil
}

// finish acknowledges and removes entries. When that fails they come again and their rows say that
// there is nothing to do.
func (c *Consumer) finish(ctx context.Context, done ...delivery) {
	if len(done) == 0 {
		return
	}
	entries := make([]string, len(done))
	for i, one := range done {
		entries[i] = one.entry
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout) // also while stopping
	defer cancel()
	client, err := c.queue.connect(ctx)
	if err != nil {
		return
	}
	key := c.queue.name.key()
	for _, result := range client.DoMulti(ctx,
		client.B().Xack().Key(key).Group(groupName).Id(entries...).Build(),
		client.B().Xdel().Key(key).Id(entries...).Build(),
	) {
		if err := result.Error(); err != nil && !redis.IsNoGroup(err) {
			c.log.DebugContext(ctx, "entries not removed from queue", "queue", string(c.queue.name), "entries", entries, "error", err)
		}
	}
}

// leave removes the consumer from the group. An entry that it still holds, because it came while
// the worker was being stopped, is removed with it: the dispatcher sees that its row is not in the
// stream and adds it again.
func (c *Consumer) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout) // ctx has ended
	defer cancel()
	client, err := c.queue.connect(ctx)
	if err != nil {
		return
	}
	key := c.queue.name.key()
	held, err := client.Do(ctx, client.B().Xreadgroup().Group(groupName, c.name).Streams().Key(key).Id("0").Build()).AsXRead()
	if err != nil {
		return
	}
	var left []delivery
	for _, entry := range held[key] {
		left = append(left, delivery{entry: entry.ID})
	}
	c.finish(ctx, left...)
	_ = client.Do(ctx, client.B().XgroupDelconsumer().Key(key).Group(groupName).Consumername(c.name).Build()).Error() // a name left behind does no harm
}

// after is the pause after a number of failures before: doubled each time, with a quarter of
// jitter.
func (p Pauses) after(failures int) time.Duration {
	length := p.Longest
	if failures < 16 {
		length = min(p.Longest, p.Shortest<<failures)
	}
	return length + time.Duration(rand.Float64()*0.25*float64(length)) //nolint:gosec // jitter needs no cryptographic randomness
}

// until is the pause when it is known how long there is no use in going on: that, with some jitter
// so that not all go on at once, and no longer than any pause.
func (p Pauses) until(length time.Duration) time.Duration {
	length = min(max(length, 0), p.Longest)
	return length + time.Duration(rand.Float64()*0.25*float64(max(length, p.Shortest))) //nolint:gosec // jitter needs no cryptographic randomness
}

// wait waits for the time to pass or ctx to end.
func wait(ctx context.Context, length time.Duration) {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
