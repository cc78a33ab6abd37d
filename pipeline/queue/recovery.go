package queue

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"hsi.home.arpa/pipeline/redis"
)

// RemoveConsumers removes the consumers whose names begin with owner but not with except, and puts
// what they held into the stream again for others, at once instead of after the lease. It is for a
// process that knows that its predecessor is dead.
func (q *Queue) RemoveConsumers(ctx context.Context, owner, except string) error {
	client, ctx, cancel, err := q.client(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	key := q.name.key()
	consumers, err := client.Do(ctx, client.B().XinfoConsumers().Key(key).Group(groupName).Build()).ToArray()
	if isNoSuchKey(err) || redis.IsNoGroup(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list consumers of queue %s: %w", q.name, redis.Classify(err))
	}
	for _, consumer := range consumers {
		fields, err := consumer.AsMap()
		if err != nil {
			return fmt.Errorf("list consumers of queue %s: %w", q.name, err)
		}
		field := fields["name"]
		name, err := field.ToString()
		if err != nil {
			return fmt.Errorf("list consumers of queue %s: %w", q.name, err)
		}
		if strings.HasPrefix(name, owner) && !strings.HasPrefix(name, except) {
			if err := q.removeConsumer(ctx, client, name); err != nil {
				return fmt.Errorf("remove consumer of queue %s: %w", q.name, redis.Classify(err))
			}
		}
	}
	return nil
}

// removeConsumer adds each held entry again before it removes the old one: an id that is there
// twice does no harm.
func (q *Queue) removeConsumer(ctx context.Context, client rueidis.Client, name string) error {
	key := q.name.key()
	held, err := client.Do(ctx, client.B().Xreadgroup().Group(groupName, name).Streams().Key(key).Id("0").Build()).AsXRead()
	if err != nil && !rueidis.IsRedisNil(err) {
		return err
	}
	for _, entry := range held[key] {
		var commands rueidis.Commands
		if value, ok := entry.FieldValues[idField]; ok {
			commands = append(commands, client.B().Xadd().Key(key).Id("*").FieldValue().FieldValue(idField, value).Build())
		}
		commands = append(commands,
			client.B().Xack().Key(key).Group(groupName).Id(entry.ID).Build(),
			client.B().Xdel().Key(key).Id(entry.ID).Build())
		for _, result := range client.DoMulti(ctx, commands...) {
			if err := result.Error(); err != nil {
				return err
			}
		}
	}
	return client.Do(ctx, client.B().XgroupDelconsumer().Key(key).Group(groupName).Consumername(name).Build()).Error()
}
