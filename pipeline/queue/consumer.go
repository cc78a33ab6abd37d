package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"

	"hsi.home.arpa/pipeline/redis"
)

const (
	// block is how long one read waits for an entry.
	block = time.Second
	// blockSlack is how much longer than that an answer may take; a frozen Redis is noticed after it.
	blockSlack = 2 * time.Second
	// handBackTimeout bounds what is still done for an entry after the worker was told to stop.
	handBackTimeout = 3 * time.Second
	// shortestPause and longestPause bound the back-off of a worker.
	shortestPause, longestPause = 250 * time.Millisecond, 10 * time.Second
)

// heartbeat shows that a function is alive; see pipeline.Heartbeat.
type heartbeat interface {
	Beat()
	Say(message string)
	Step(limit time.Duration) (done func())
}

// Later is returned by a handler that has handed its row back because of something that is not the row's fault, such as a
// service that is down. The entry is acknowledged and the worker pauses before it takes the next one.
type Later struct {
	// Message tells people what is waited for, such as "waiting for the detector".
	Message string
	Err     error
}

func (l *Later) Error() string { return fmt.Sprintf("%s: %v", l.Message, l.Err) }

// Unwrap returns the cause.
func (l *Later) Unwrap() error { return l.Err }

// Handler does the work that an id stands for, claiming the row first. With nil or *Later the entry is finished. After any other
// error, such as a database that is down, nothing is decided and the handler is asked again for the same id.
type Handler func(ctx context.Context, id int64) error

// Consumer takes entries from a queue, one at a time.
type Consumer struct {
	queue *Queue
	// name is unique among all processes.
	name string
	// lease is how long an entry may be held before another consumer may take it over.
	lease time.Duration
	log   *slog.Logger

	stolenAt time.Time // when entries of dead consumers were last looked for
	cursor   string    // where the next such look goes on
	failures int       // pauses in a row
}

// NewConsumer makes a consumer. Name must be unique among all processes; lease must be longer than a handler may take.
func (q *Queue) NewConsumer(name string, lease time.Duration) *Consumer {
	return &Consumer{queue: q, name: name, lease: lease, log: q.log, cursor: "0-0"}
}

// delivery is an entry that this consumer holds.
type delivery struct {
	entry string // id of the stream entry
	id    int64  // what it carries
}

// Run takes entries and calls handle for each until ctx ends. While Redis, the database or a service is away it waits with
// growing pauses and says so by the heartbeat; it returns nothing but nil.
func (c *Consumer) Run(ctx context.Context, alive heartbeat, handle Handler) error {
	defer c.leave(ctx)
	for ctx.Err() == nil {
		alive.Beat()
		next, err := c.receive(ctx)
		if err != nil {
			c.pause(ctx, alive, "waiting for Redis", err)
			continue
		}
		if next != nil {
			c.work(ctx, alive, handle, *next)
			continue
		}
		alive.Say("") // nothing to do is not waiting
	}
	return nil
}

// work calls handle until the entry is finished or ctx ends.
func (c *Consumer) work(ctx context.Context, alive heartbeat, handle Handler, next delivery) {
	for {
		err := handle(ctx, next.id)
		var later *Later
		if err == nil || errors.As(err, &later) {
			c.finish(ctx, next)
			if later == nil {
				c.failures = 0
				alive.Say("")
			} else if ctx.Err() == nil {
				c.pause(ctx, alive, later.Message, later.Err)
			}
			return
		}
		if ctx.Err() != nil {
			return // the entry stays ours until the lease ends; the row decides
		}
		c.pause(ctx, alive, "waiting for the database", err)
	}
}

// pause waits, longer each time, and tells why. It logs the first failure of a series and every later one at debug level.
func (c *Consumer) pause(ctx context.Context, alive heartbeat, message string, err error) {
	if ctx.Err() != nil {
		return
	}
	level := slog.LevelWarn
	if c.failures > 0 {
		level = slog.LevelDebug
	}
	length := backoff(c.failures)
	c.failures++
	alive.Say(message)
	c.log.Log(ctx, level, "worker waits", "queue", string(c.queue.name), "consumer", c.name, "reason", message, "pause", length, "error", err)
	defer alive.Step(length + time.Second)()
	wait(ctx, length)
}

// receive returns the next entry, or nil when none came for a while. Entries that are none of ours are removed.
func (c *Consumer) receive(ctx context.Context) (*delivery, error) {
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
	for _, entry := range list {
		id, err := parseEntry(entry.FieldValues)
		if err == nil {
			return &delivery{entry: entry.ID, id: id}, nil
		}
		c.log.WarnContext(ctx, "foreign entry removed from queue", "queue", string(c.queue.name), "entry", entry.ID)
		c.finish(ctx, delivery{entry: entry.ID})
	}
	return nil, nil //nolint:nilnil // nothing came, which is no error
}

// read waits for a new entry.
func (c *Consumer) read(ctx context.Context) ([]rueidis.XRangeEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, block+blockSlack)
	defer cancel()
	client, err := c.queue.connect(ctx)
	if err != nil {
		return nil, err
	}
	key := c.queue.name.key()
	streams, err := client.Do(ctx, client.B().Xreadgroup().Group(groupName, c.name).Count(1).Block(block.Milliseconds()).
		Streams().Key(key).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return streams[key], err
}

// steal takes over one entry that another consumer has held for longer than the lease. It looks only now and then.
func (c *Consumer) steal(ctx context.Context) ([]rueidis.XRangeEntry, error) {
	now := time.Now()
	if now.Sub(c.stolenAt) < min(c.lease/4, 5*time.Second) {
		return nil, nil
	}
	client, ctx, cancel, err := c.queue.client(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	reply, err := client.Do(ctx, client.B().Xautoclaim().Key(c.queue.name.key()).Group(groupName).Consumer(c.name).
		MinIdleTime(fmt.Sprint(c.lease.Milliseconds())).Start(c.cursor).Count(1).Build()).ToArray()
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

// finish acknowledges and removes an entry. When that fails the entry comes again and its row says that there is nothing to do.
func (c *Consumer) finish(ctx context.Context, done delivery) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout) // also while stopping
	defer cancel()
	client, err := c.queue.connect(ctx)
	if err != nil {
		return
	}
	key := c.queue.name.key()
	for _, result := range client.DoMulti(ctx,
		client.B().Xack().Key(key).Group(groupName).Id(done.entry).Build(),
		client.B().Xdel().Key(key).Id(done.entry).Build(),
	) {
		if err := result.Error(); err != nil && !redis.IsNoGroup(err) {
			c.log.DebugContext(ctx, "entry not removed from queue", "queue", string(c.queue.name), "entry", done.entry, "error", err)
		}
	}
}

// leave removes the consumer from the group. An entry that it still holds, because it came while the worker was being stopped, is
// removed with it: the dispatcher sees that its row is not in the stream and adds it again.
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
	for _, entry := range held[key] {
		c.finish(ctx, delivery{entry: entry.ID})
	}
	_ = client.Do(ctx, client.B().XgroupDelconsumer().Key(key).Group(groupName).Consumername(c.name).Build()).Error() // a name left behind does no harm
}

// backoff is the pause after a number of failures before: doubled each time, with a quarter of jitter.
func backoff(failures int) time.Duration {
	length := longestPause
	if failures < 6 {
		length = min(longestPause, shortestPause<<failures)
	}
	return length + time.Duration(rand.Float64()*0.25*float64(length)) //nolint:gosec // jitter needs no cryptographic randomness
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
