package latency

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"
)

const (
	// unsettledMinutes at the end of the history are read at each refresh: other writers still add
	// to them.
	unsettledMinutes = 3
	// recheckMinutes older ones are read again at each refresh, in turn, so that what another
	// writer could only write late is found within five minutes.
	recheckMinutes = 6
	// minutesPerCall bounds one pipeline.
	minutesPerCall = 200
)

// redisSync is how far the exchange with Redis has come. It belongs to Run.
type redisSync struct {
	readFrom   int64 // all minutes before this one have been read since they ended
	recheck    int64 // next minute to read again
	unsure     bool  // a write has failed and may yet arrive
	failing    bool
	unreadable bool // logged that a field could not be read
}

// exchange writes what is unsaved and reads what others have written. loaded says whether the
// history now holds all that Redis has; that can be true although writing failed.
func (r *Recorder) exchange(ctx context.Context, newest int64) (loaded bool, err error) {
	client, err := r.connect(ctx)
	if err != nil {
		return false, fmt.Errorf("connect to redis: %w", err)
	}
	saveErr := r.save(ctx, client)
	loadErr := r.load(ctx, client, newest)
	return loadErr == nil, errors.Join(saveErr, loadErr)
}

// save writes each unsaved minute of this writer as a whole. What a failed call has written is
// written again with the next one, which changes nothing.
func (r *Recorder) save(ctx context.Context, client rueidis.Client) error {
	var unsaved []*minute
	for i := range r.history.minutes {
		if m := &r.history.minutes[i]; m.unsaved != [stageCount]bool{} {
			unsaved = append(unsaved, m)
		}
	}
	for len(unsaved) > 0 {
		n := min(len(unsaved), minutesPerCall)
		if err := r.saveMinutes(ctx, client, unsaved[:n]); err != nil {
			r.sync.unsure = true
			return err
		}
		unsaved = unsaved[n:]
	}
	r.sync.unsure = false
	return nil
}

func (r *Recorder) saveMinutes(ctx context.Context, client rueidis.Client, minutes []*minute) error {
	commands := make(rueidis.Commands, 0, 2*len(minutes))
	for _, m := range minutes {
		key := minuteKey(m.number)
		set := client.B().Hset().Key(key).FieldValue()
		for stage := range Stage(stageCount) {
			if m.unsaved[stage] {
				set = set.FieldValue(fieldName(stage, r.writer), rueidis.BinaryString(encode(m.own[stage])))
			}
		}
		commands = append(commands, set.Build(), client.B().Expireat().Key(key).Timestamp(minuteExpiry(m.number)).Build())
	}
	for _, reply := range client.DoMulti(ctx, commands...) {
		if err := reply.Error(); err != nil {
			return fmt.Errorf("write latency history: %w", err)
		}
	}
	// A write that failed by its deadline may still lie in the socket of a frozen server and
	// overwrite this newer one when the server wakes up. So after a failure the first success
	// counts only as a try, and all is written once more.
	if !r.sync.unsure {
		for _, m := range minutes {
			m.unsaved = [stageCount]bool{}
		}
	}
	return nil
}

// load reads the minutes that others may still add to, and a few older ones in turn. At the start,
// and after Redis was away, that is everything since the last success.
func (r *Recorder) load(ctx context.Context, client rueidis.Client, newest int64) error {
	oldest := newest - MaxWindowMinutes
	s := &r.sync
	if s.readFrom < oldest || s.readFrom > newest { // the first time, or the clock was set
		s.readFrom = oldest
	}
	settled := newest + 1 - unsettledMinutes
	if s.recheck < oldest || s.recheck >= settled {
		s.recheck = oldest
	}
	rechecked := min(s.recheck+recheckMinutes, settled)
	for s.readFrom <= newest {
		next := min(s.readFrom+minutesPerCall, newest+1)
		numbers := minutesFrom(nil, s.readFrom, next)
		if next > newest { // the last call takes both
			numbers = minutesFrom(numbers, s.recheck, rechecked)
		}
		if err := r.loadMinutes(ctx, client, numbers); err != nil {
			return err
		}
		s.readFrom = next
	}
	s.readFrom, s.recheck = settled, rechecked
	return nil
}

// minutesFrom appends the minutes from first up to, not including, end.
func minutesFrom(numbers []int64, first, end int64) []int64 {
	for number := first; number < end; number++ {
		numbers = append(numbers, number)
	}
	return numbers
}

// loadMinutes reads some minutes in one exchange.
func (r *Recorder) loadMinutes(ctx context.Context, client rueidis.Client, numbers []int64) error {
	commands := make(rueidis.Commands, len(numbers))
	for i, number := range numbers {
		commands[i] = client.B().Hgetall().Key(minuteKey(number)).Build()
	}
	for i, reply := range client.DoMulti(ctx, commands...) {
		fields, err := reply.AsStrMap()
		if err != nil {
			return fmt.Errorf("read latency history: %w", err)
		}
		r.history.loaded(numbers[i], r.sumOthers(ctx, fields))
	}
	return nil
}

// sumOthers adds up the fields of one minute, without this writer's own.
func (r *Recorder) sumOthers(ctx context.Context, fields map[string]string) (sums [stageCount]*histogram) {
	for field, value := range fields {
		stage, writer, known := parseField(field)
		if !known || writer == r.writer {
			continue
		}
		h, err := decode([]byte(value))
		if err != nil {
			if !r.sync.unreadable {
				r.sync.unreadable = true
				r.log.WarnContext(ctx, "latency history holds a value that cannot be read, ignored", "field", strconv.Quote(field), "error", err)
			}
			continue
		}
		sums[stage] = merge(sums[stage], h)
	}
	return sums
}
