package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
)

// SystemConfig is the live configuration.
type SystemConfig struct {
	RetentionDays                int           // 1 to 365
	BatchWindow                  time.Duration // whole seconds, at least 1 s
	BatchIdleTimeout             time.Duration // whole seconds, at least 1 s
	DetectionConfidenceThreshold float64       // 0 to 1
	Version                      int64         // counts the changes made through Update
}

// SystemConfigUpdate names new values; nil leaves a value as it is.
type SystemConfigUpdate struct {
	RetentionDays                *int
	BatchWindow                  *time.Duration
	BatchIdleTimeout             *time.Duration
	DetectionConfidenceThreshold *float64
}

// Validate reports every value that is out of its bounds, as ErrInvalid.
func (u SystemConfigUpdate) Validate() error {
	var problems []error
	if v := u.RetentionDays; v != nil && (*v < 1 || *v > 365) {
		problems = append(problems, errors.New("retention_days must be 1 to 365"))
	}
	if v := u.BatchWindow; v != nil && !isWholeSeconds(*v) {
		problems = append(problems, errors.New("batch_window_seconds must be a whole number of seconds, at least 1"))
	}
	if v := u.BatchIdleTimeout; v != nil && !isWholeSeconds(*v) {
		problems = append(problems, errors.New("batch_idle_timeout_seconds must be a whole number of seconds, at least 1"))
	}
	if v := u.DetectionConfidenceThreshold; v != nil && !(*v >= 0 && *v <= 1) { // false for NaN too
		problems = append(problems, errors.New("detection_confidence_threshold must be 0 to 1"))
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, errors.Join(problems...))
}

// isWholeSeconds also keeps the value within what the column can hold.
func isWholeSeconds(d time.Duration) bool {
	return d >= time.Second && d%time.Second == 0 && d/time.Second <= math.MaxInt32
}

// SystemConfigs reads, changes and watches the live configuration. A value that was never changed
// follows the environment.
type SystemConfigs struct {
	db          *DB
	environment SystemConfig
	latest      atomic.Pointer[SystemConfig]
	publishing  sync.Mutex // keeps an older read from replacing a newer one
	rereadEvery time.Duration
}

// NewSystemConfigs takes the values of the environment. Until the first read Latest returns those.
func NewSystemConfigs(db *DB, environment SystemConfig) *SystemConfigs {
	environment.Version = 0
	s := &SystemConfigs{db: db, environment: environment, rereadEvery: systemConfigReread}
	s.latest.Store(&environment)
	return s
}

// Latest is the newest configuration that this process knows: its own change at once, another
// process's within a second while the database answers. It never blocks.
func (s *SystemConfigs) Latest() SystemConfig { return *s.latest.Load() }

// Get reads the effective configuration from the database and publishes it to Latest.
func (s *SystemConfigs) Get(ctx context.Context) (SystemConfig, error) {
	before := s.latest.Load()
	var row systemConfigRow
	err := s.db.get(ctx, "read system config", &row, `SELECT `+systemConfigColumns+` FROM system_config WHERE id = 1`)
	if err != nil {
		return SystemConfig{}, err
	}
	cfg := row.effective(s.environment)
	s.publish(cfg, before)
	return cfg, nil
}

// Update stores the named values, counts the version up, and writes the audit entry, all in one
// transaction. When no effective value changes there is neither a new version nor an entry; a value
// that so far followed the environment is kept all the same. The new configuration is in Latest
// before Update returns it.
func (s *SystemConfigs) Update(ctx context.Context, update SystemConfigUpdate, actor Actor) (SystemConfig, error) {
	if err := update.Validate(); err != nil {
		return SystemConfig{}, fmt.Errorf("update system config: %w", err)
	}
	if update == (SystemConfigUpdate{}) {
		return s.Get(ctx)
	}
	var updated SystemConfig
	var before *SystemConfig
	err := s.db.InTx(ctx, "update system config", func(ctx context.Context, tx *sqlx.Tx) error {
		var row systemConfigRow
		err := tx.GetContext(ctx, &row, `SELECT `+systemConfigColumns+` FROM system_config WHERE id = 1 FOR UPDATE`)
		if err != nil {
			return fmt.Errorf("lock row: %w", err)
		}
		old := row.effective(s.environment)
		before = s.latest.Load() // under the row lock nobody else changes anything
		row.apply(update)
		updated = row.effective(s.environment)
		changes := changesBetween(old, updated)
		if len(changes) > 0 {
			row.Version++
			updated.Version = row.Version
			if err := audit(ctx, tx, "settings_changed", "settings", actor, map[string]any{"changes": changes}); err != nil {
				return err
			}
		}
		return row.store(ctx, tx)
	})
	if err != nil {
		return SystemConfig{}, err
	}
	s.publish(updated, before)
	return updated, nil
}

// publish makes cfg the latest unless something newer was published since before was. An older
// version that nothing has overtaken is believed: the database was made anew.
func (s *SystemConfigs) publish(cfg SystemConfig, before *SystemConfig) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if current := s.latest.Load(); cfg.Version >= current.Version || current == before {
		s.latest.Store(&cfg)
	}
}

// systemConfigRow is the stored row; nil follows the environment.
type systemConfigRow struct {
	Version                      int64    `db:"version"`
	RetentionDays                *int     `db:"retention_days"`
	BatchWindowSeconds           *int64   `db:"batch_window_seconds"`
	BatchIdleTimeoutSeconds      *int64   `db:"batch_idle_timeout_seconds"`
	DetectionConfidenceThreshold *float64 `db:"detection_confidence_threshold"`
}

const systemConfigColumns = `version, retention_days, batch_window_seconds, batch_idle_timeout_seconds, detection_confidence_threshold`

func (r *systemConfigRow) effective(environment SystemConfig) SystemConfig {
	cfg := environment
	cfg.Version = r.Version
	if r.RetentionDays != nil {
		cfg.RetentionDays = *r.RetentionDays
	}
	if r.BatchWindowSeconds != nil {
		cfg.BatchWindow = time.Duration(*r.BatchWindowSeconds) * time.Second
	}
	if r.BatchIdleTimeoutSeconds != nil {
		cfg.BatchIdleTimeout = time.Duration(*r.BatchIdleTimeoutSeconds) * time.Second
	}
	if r.DetectionConfidenceThreshold != nil {
		cfg.DetectionConfidenceThreshold = *r.DetectionConfidenceThreshold
	}
	return cfg
}

func (r *systemConfigRow) apply(u SystemConfigUpdate) {
	if u.RetentionDays != nil {
		r.RetentionDays = u.RetentionDays
	}
	if u.BatchWindow != nil {
		seconds := wireSeconds(*u.BatchWindow)
		r.BatchWindowSeconds = &seconds
	}
	if u.BatchIdleTimeout != nil {
		seconds := wireSeconds(*u.BatchIdleTimeout)
		r.BatchIdleTimeoutSeconds = &seconds
	}
	if u.DetectionConfidenceThreshold != nil {
		r.DetectionConfidenceThreshold = u.DetectionConfidenceThreshold
	}
}

// store writes the row and tells every listener, both when the transaction commits.
func (r *systemConfigRow) store(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.NamedExecContext(ctx, `
		UPDATE system_config
		SET version = :version, retention_days = :retention_days, batch_window_seconds = :batch_window_seconds,
		    batch_idle_timeout_seconds = :batch_idle_timeout_seconds,
		    detection_confidence_threshold = :detection_confidence_threshold, updated_at = now()
		WHERE id = 1`, r)
	if err != nil {
		return fmt.Errorf("update row: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_notify($1, $2::bigint::text)`, systemConfigChannel, r.Version); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// change is one value of an audit entry, in the units of the API.
type change struct {
	Old any `json:"old"`
	New any `json:"new"`
}

// changesBetween lists what differs, by the names of the API.
func changesBetween(o, n SystemConfig) map[string]change {
	changes := make(map[string]change)
	if o.RetentionDays != n.RetentionDays {
		changes["retention_days"] = change{o.RetentionDays, n.RetentionDays}
	}
	if o.BatchWindow != n.BatchWindow {
		changes["batch_window_seconds"] = change{wireSeconds(o.BatchWindow), wireSeconds(n.BatchWindow)}
	}
	if o.BatchIdleTimeout != n.BatchIdleTimeout {
		changes["batch_idle_timeout_seconds"] = change{wireSeconds(o.BatchIdleTimeout), wireSeconds(n.BatchIdleTimeout)}
	}
	if o.DetectionConfidenceThreshold != n.DetectionConfidenceThreshold {
		changes["detection_confidence_threshold"] = change{o.DetectionConfidenceThreshold, n.DetectionConfidenceThreshold}
	}
	return changes
}

func wireSeconds(d time.Duration) int64 { return int64(d / time.Second) }
