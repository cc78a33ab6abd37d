package store

import (
	"context"
	"math"
	"slices"
	"time"
)

// GPUSample is one reading of a GPU. Nil means unknown, never 0.
type GPUSample struct {
	RecordedAt         time.Time `db:"recorded_at"`
	GPUName            *string   `db:"gpu_name"`
	UtilizationPercent *float64  `db:"gpu_utilization"`
	MemoryUsedMiB      *int64    `db:"memory_used"`
	MemoryTotalMiB     *int64    `db:"memory_total"`
	TemperatureCelsius *float64  `db:"temperature"`
	PowerWatts         *float64  `db:"power_usage"`
	InferenceFPS       *float64  `db:"inference_fps"`
	Host               *string   `db:"host"`
	GPUUUID            *string   `db:"gpu_uuid"`
}

const gpuSampleColumns = `recorded_at, gpu_name, gpu_utilization, memory_used, memory_total, temperature, power_usage,
	inference_fps, host, gpu_uuid`

const listGPUSamplesQuery = `
	SELECT ` + gpuSampleColumns + ` FROM gpu_stats
	WHERE recorded_at >= $1 AND recorded_at < '10000-01-01 00:00:00+00' ORDER BY recorded_at DESC, id DESC LIMIT $2`

// InsertGPUSample stores one reading.
func (db *DB) InsertGPUSample(ctx context.Context, s GPUSample) error {
	_, err := db.exec(ctx, "insert gpu sample", `
		INSERT INTO gpu_stats (`+gpuSampleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		storable(s.RecordedAt), s.GPUName, s.UtilizationPercent, s.MemoryUsedMiB, s.MemoryTotalMiB,
		s.TemperatureCelsius, s.PowerWatts, s.InferenceFPS, s.Host, s.GPUUUID)
	return err
}

// ListGPUSamples lists the newest limit readings, oldest first; since, when given, is an inclusive
// lower bound. Rows of other programs may hold anything: a value that no card can have is unknown,
// and a row whose time is no time of a calendar is left out.
func (db *DB) ListGPUSamples(ctx context.Context, since *time.Time, limit int) ([]GPUSample, error) {
	from := minTime
	if since != nil {
		from = ceilMicrosecond(*since)
	}
	var samples []GPUSample
	err := db.read(ctx, "list gpu samples", func(ctx context.Context) error {
		samples = make([]GPUSample, 0, min(limit, 5000))
		rows, err := db.pool.QueryContext(ctx, listGPUSamplesQuery, from, limit)
		if err != nil {
			return err
		}
		defer rows.Close() // rows.Err below tells
		for rows.Next() {
			var s GPUSample
			if err := rows.Scan(&s.RecordedAt, &s.GPUName, &s.UtilizationPercent, &s.MemoryUsedMiB, &s.MemoryTotalMiB,
				&s.TemperatureCelsius, &s.PowerWatts, &s.InferenceFPS, &s.Host, &s.GPUUUID); err != nil {
				return err
			}
			s.RecordedAt = s.RecordedAt.UTC()
			s.forgetImpossible()
			samples = append(samples, s)
		}
		return rows.Err()
	})
	slices.Reverse(samples)
	return samples, err
}

// GPUSamplesRevision marks the state of the GPU samples: as long as it is the same, so are they. It
// changes with each statement that changes them, whoever sends it, and when the database server
// starts, which may have been given older data.
func (db *DB) GPUSamplesRevision(ctx context.Context) (string, error) {
	var revision string
	err := db.get(ctx, "read the revision of the gpu samples", &revision, `
		SELECT sum(revision) || '/' || extract(epoch FROM pg_postmaster_start_time()) FROM counters WHERE table_name = $1`, "gpu_stats")
	return revision, err
}

// forgetImpossible makes values unknown that cannot have been measured: not a number, infinite, or
// out of the scale.
func (s *GPUSample) forgetImpossible() {
	s.UtilizationPercent = within(s.UtilizationPercent, 0, 100)
	s.TemperatureCelsius = within(s.TemperatureCelsius, -math.MaxFloat64, math.MaxFloat64)
	s.PowerWatts = within(s.PowerWatts, 0, math.MaxFloat64)
	s.InferenceFPS = within(s.InferenceFPS, 0, math.MaxFloat64)
	s.MemoryUsedMiB = within(s.MemoryUsedMiB, 0, math.MaxInt64)
	s.MemoryTotalMiB = within(s.MemoryTotalMiB, 0, math.MaxInt64)
}

// within returns the value when it lies between the bounds, which NaN does not.
func within[T float64 | int64](value *T, lowest, highest T) *T {
	if value != nil && *value >= lowest && *value <= highest {
		return value
	}
	return nil
}

// ceilMicrosecond rounds a lower bound up to what the database can compare with.
func ceilMicrosecond(t time.Time) time.Time {
	floor := storable(t)
	if floor.Before(t) && floor.After(minTime) {
		return floor.Add(time.Microsecond)
	}
	return floor
}
