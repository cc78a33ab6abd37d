package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"hsi.home.arpa/gpu"
	"hsi.home.arpa/pipeline/intake"
	"hsi.home.arpa/server"
	"hsi.home.arpa/store"
)

// Small bridges between packages that must not know each other.

// retentionDays reads the value in force from the database: a cleanup on a stale copy could delete
// what is now to be kept.
func (a *app) retentionDays(ctx context.Context) (int, error) {
	cfg, err := a.configs.Get(ctx)
	return cfg.RetentionDays, err
}

// gpuRows stores the monitor's rows.
type gpuRows struct{ db *store.DB }

// InsertGPUSample stores one row.
func (w gpuRows) InsertGPUSample(ctx context.Context, row gpu.Row) error {
	return w.db.InsertGPUSample(ctx, gpuRecord(row))
}

func gpuRecord(row gpu.Row) store.GPUSample {
	s := row.Sample
	return store.GPUSample{
		RecordedAt: row.RecordedAt, GPUName: s.Name, UtilizationPercent: s.UtilizationPercent, MemoryUsedMiB: s.MemoryUsedMiB,
		MemoryTotalMiB: s.MemoryTotalMiB, TemperatureCelsius: s.TemperatureCelsius, PowerWatts: s.PowerWatts, InferenceFPS: row.InferenceFPS,
		Host: s.Host, GPUUUID: s.UUID,
	}
}

// deadLetters lets the dispatchers look for requeued work at once.
type deadLetters struct {
	*store.DB

	wake func()
}

// RequeueDeadLetters makes the selected images wait again and returns how many.
func (d deadLetters) RequeueDeadLetters(ctx context.Context, selection store.DeadLetterSelection, actor store.Actor) (int64, error) {
	requeued, err := d.DB.RequeueDeadLetters(ctx, selection, actor)
	if requeued > 0 {
		d.wake()
	}
	return requeued, err
}

// cameraFolders makes folders below the camera root, with the ids that intake gives them.
type cameraFolders struct{ root string }

// MakeCameraFolder makes the folder where it is not there yet.
func (f cameraFolders) MakeCameraFolder(asked string) (server.CameraFolder, error) {
	path, isNew, err := intake.MakeFolder(f.root, asked)
	switch {
	case errors.Is(err, intake.ErrNoCameraFolder):
		err = fmt.Errorf("%w: %w", server.ErrNoCameraFolder, err)
	case errors.Is(err, intake.ErrReadOnlyRoot):
		err = fmt.Errorf("%w: %w", server.ErrReadOnlyRoot, err)
	}
	id := intake.CameraID(filepath.Base(path))
	return server.CameraFolder{CameraID: id, Path: path, IsNew: isNew}, err
}
