package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // the driver

	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/redis"
)

// orderTimeout bounds one order to a database.
const orderTimeout = 15 * time.Second

// World is what stands around a server: its databases, scripted AI services, and cameras.
type World struct {
	Detector *aitest.RTDETR
	Model    *aitest.Nemotron
	Cameras  *Cameras
	// Database is a connection of our own, which may write while the others are read-only.
	Database *sqlx.DB

	databaseURL, redisURL string
	redis                 *redis.Client
}

// NewWorld makes a world on databases that are there, with camera folders below cameras. It ends
// with the test.
func NewWorld(tb testing.TB, databaseURL, redisURL, cameras string) *World {
	tb.Helper()
	w := &World{
		Detector: aitest.NewRTDETR(tb), Model: aitest.NewNemotron(tb), Cameras: &Cameras{Root: cameras},
		databaseURL: databaseURL, redisURL: redisURL,
	}
	var err error
	w.Database, err = sqlx.Open("postgres",
		databaseURL+"&default_transaction_read_only=off&connect_timeout=15")
	if err != nil {
		tb.Fatalf("open the database: %v", err)
	}
	tb.Cleanup(func() { _ = w.Database.Close() }) // a session to a killed server does not close well
	w.Database.SetMaxIdleConns(1)
	if w.redis, err = redis.Open(redis.Config{URL: redisURL}); err != nil {
		tb.Fatalf("open Redis: %v", err)
	}
	tb.Cleanup(w.redis.Close)
	return w
}

// Settings are those that a server in this world needs, with short times: batches close after
// seconds, and calls to the AI services that hang are given up.
func (w *World) Settings() []string {
	return []string{
		"DATABASE_URL=" + w.databaseURL, "REDIS_URL=" + w.redisURL, "FOSCAM_BASE_PATH=" + w.Cameras.Root,
		"RTDETR_URL=" + w.Detector.URL(), "NEMOTRON_URL=" + w.Model.URL(), "AI_CONNECT_TIMEOUT=1", "AI_HEALTH_TIMEOUT=1",
		"RTDETR_READ_TIMEOUT=5", "NEMOTRON_READ_TIMEOUT=5", "BATCH_WINDOW_SECONDS=3", "BATCH_IDLE_TIMEOUT_SECONDS=1",
		fmt.Sprintf("DETECTION_CONFIDENCE_THRESHOLD=%g", Threshold),
	}
}

// Collect reads what is stored and said now.
func (w *World) Collect(ctx context.Context) (Run, error) {
	ledger, err := ReadLedger(ctx, w.Database)
	return Run{
		Shots: w.Cameras.Shots(), Ledger: ledger, Detected: w.Detector.Calls(),
		Said: w.Model.Calls(),
	}, err
}

// Order gives PostgreSQL one order.
func (w *World) Order(ctx context.Context, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	_, err := w.Database.ExecContext(ctx, statement)
	return err
}

// SetReadOnly makes every new transaction of others read-only, or lifts that. It outlives a kill.
func (w *World) SetReadOnly(ctx context.Context, on bool) error {
	statement := `ALTER SYSTEM RESET default_transaction_read_only`
	if on {
		statement = `ALTER SYSTEM SET default_transaction_read_only = on`
	}
	if err := w.Order(ctx, statement); err != nil {
		return err
	}
	return w.Order(ctx, `SELECT pg_reload_conf()`)
}

// HoldLock keeps everybody out of a table until release is called.
func (w *World) HoldLock(ctx context.Context, table string) (release func(), err error) {
	tx, err := w.Database.BeginTxx(ctx, nil)
	if err != nil {
		return nil, err
	}
	statement := `SET LOCAL lock_timeout = '10s'; LOCK TABLE ` + table + ` IN ACCESS EXCLUSIVE MODE`
	if _, err := tx.ExecContext(ctx, statement); err != nil {
		_ = tx.Rollback() // the first error counts
		return nil, err
	}
	return func() { _ = tx.Rollback() }, nil // the lock is all that it was for
}

// Redis sends Redis one command that may be repeated, such as XLEN and a name, and returns a
// number that it answers.
func (w *World) Redis(ctx context.Context, words ...string) (number int, err error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	for range 3 { // the first may only find that the connection has died
		if number, err = w.redisOnce(ctx, words); err == nil || !Wait(ctx, 20*time.Millisecond) {
			break
		}
	}
	return number, err
}

func (w *World) redisOnce(ctx context.Context, words []string) (int, error) {
	conn, err := w.redis.Conn(ctx)
	if err != nil {
		return 0, err
	}
	answer, err := conn.Do(ctx, conn.B().Arbitrary(words...).Build()).ToMessage()
	if err != nil || !answer.IsInt64() {
		return 0, err
	}
	number, err := answer.AsInt64()
	return int(number), err
}

// Claim is an image that a server held when its lease ended.
type Claim struct {
	ID    int64
	Token string
}

// EndLeases makes the leases of claims end now, as if minutes had passed: those of the rows, and
// those of the entries in the queues. It returns those of images. Whose claims end is said by how
// their names begin; all of them when that is empty.
func (w *World) EndLeases(ctx context.Context, owner string) (ended []Claim, err error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	for _, queue := range []string{"hsi:queue:detect", "hsi:queue:analyze"} {
		if err := w.ageEntries(ctx, queue, owner); err != nil {
			return nil, err
		}
	}
	err = w.Database.SelectContext(ctx, &ended, `
		WITH b AS (UPDATE batches SET claimed_until = clock_timestamp() - interval '1 second'
		           WHERE state = 'analyzing' AND starts_with(claimed_by, $1))
		UPDATE images SET claimed_until = clock_timestamp() - interval '1 second'
		WHERE state = 'detecting' AND starts_with(claimed_by, $1) RETURNING id, claimed_by AS token`, owner)
	return ended, err
}

// ageEntries makes every entry that a worker holds look as if it had been held for an hour.
func (w *World) ageEntries(ctx context.Context, queue, owner string) error {
	const group, anHour = "workers", 3_600_000 // ms
	conn, err := w.redis.Conn(ctx)
	if err != nil {
		return err
	}
	pending := conn.B().Xpending().Key(queue).Group(group).Start("-").End("+").Count(1000).Build()
	held, err := conn.Do(ctx, pending).ToArray()
	if err != nil {
		if redis.IsNoGroup(err) {
			return nil // nobody has asked for work yet
		}
		return fmt.Errorf("list held entries: %w", err)
	}
	for _, entry := range held {
		fields, err := entry.ToArray()
		if err != nil || len(fields) < 2 {
			return errors.Join(errors.New("odd list of held entries"), err)
		}
		id, err := fields[0].ToString()
		if err != nil {
			return err
		}
		consumer, err := fields[1].ToString()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(consumer, owner) {
			continue
		}
		claim := conn.B().Xclaim().Key(queue).Group(group).Consumer(consumer).MinIdleTime("0").Id(id).Idle(anHour).Justid().Build()
		if err := conn.Do(ctx, claim).Error(); err != nil {
			return fmt.Errorf("age a held entry: %w", err)
		}
	}
	return nil
}

// EndPauses lets everything that is to be tried again later be tried now.
func (w *World) EndPauses(ctx context.Context) error {
	return w.Order(ctx, `
		WITH b AS (UPDATE batches SET next_attempt_at = clock_timestamp() WHERE next_attempt_at > clock_timestamp())
		UPDATE images SET next_attempt_at = clock_timestamp() WHERE next_attempt_at > clock_timestamp()`)
}

// CopyFolder makes to a copy of the folder from, with its owners.
func CopyFolder(ctx context.Context, from, to string) error {
	for _, command := range [][]string{{"rm", "-rf", to}, {"cp", "-a", from, to}} {
		output, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput() //nolint:gosec // folders of a test
		if err != nil {
			return fmt.Errorf("copy a folder: %w: %s", err, output)
		}
	}
	return nil
}

// Until asks a condition each interval until it holds; false when ctx ends first.
func Until(ctx context.Context, interval time.Duration, condition func() bool) bool {
	for !condition() {
		if !Wait(ctx, interval) {
			return false
		}
	}
	return true
}

// Wait waits for the time to pass; false when ctx ends first.
func Wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
