package server

import (
	"path/filepath"
	"time"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/gpu"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/server/health"
	"hsi.home.arpa/server/list"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/retention"
)

func toAPIHealth(report health.Report) gen.Health {
	return gen.Health{Status: gen.HealthState(report.State), Services: toAPIServices(report.Services), Timestamp: report.At.UTC()}
}

func toAPIReadiness(readiness health.Readiness) gen.Readiness {
	workers := make([]gen.Worker, len(readiness.Workers))
	for i, worker := range readiness.Workers {
		workers[i] = gen.Worker{Name: worker.Name, Running: worker.Running, Message: orNull(worker.Message)}
	}
	return gen.Readiness{
		Ready:     readiness.Ready,
		Status:    gen.ReadinessState(readiness.State),
		Services:  toAPIServices(readiness.Services),
		Workers:   workers,
		Timestamp: readiness.At.UTC(),
	}
}

func toAPIServices(services health.Services) gen.Services {
	storage := toAPIService(services.Storage)
	return gen.Services{
		Database: toAPIService(services.Database),
		Redis:    toAPIService(services.Redis),
		AI:       toAPIService(services.AI),
		Storage:  &storage,
	}
}

func toAPIService(service health.Service) gen.ServiceStatus {
	return gen.ServiceStatus{Status: gen.HealthState(service.State), Message: orNull(service.Message), Details: service.Details}
}

// orNull makes no text null.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func toAPIGPUStats(sample gpu.Sample, inferenceFPS *float64) gen.GPUStats {
	return gen.GPUStats{
		GPUName:      sample.Name,
		Utilization:  sample.UtilizationPercent,
		MemoryUsed:   sample.MemoryUsedMiB,
		MemoryTotal:  sample.MemoryTotalMiB,
		Temperature:  sample.TemperatureCelsius,
		PowerUsage:   sample.PowerWatts,
		InferenceFPS: inferenceFPS,
	}
}

func toAPIGPUHistory(samples []store.GPUSample, limit int32) gen.GPUHistory {
	history := gen.GPUHistory{Samples: make([]gen.GPUSample, len(samples)), Limit: limit}
	for i, sample := range samples {
		history.Samples[i] = gen.GPUSample{
			RecordedAt:   sample.RecordedAt.UTC(),
			GPUName:      sample.GPUName,
			Utilization:  sample.UtilizationPercent,
			MemoryUsed:   sample.MemoryUsedMiB,
			MemoryTotal:  sample.MemoryTotalMiB,
			Temperature:  sample.TemperatureCelsius,
			PowerUsage:   sample.PowerWatts,
			InferenceFPS: sample.InferenceFPS,
		}
	}
	history.Count = int32(len(samples)) //nolint:gosec // at most limit
	return history
}

// fromAPISince reads a lower bound.
func fromAPISince(since *string) (*time.Time, error) {
	if since == nil {
		return nil, nil //nolint:nilnil // no bound
	}
	at, err := list.Time(*since)
	if err != nil {
		return nil, &list.ParameterError{Name: "since", Err: err}
	}
	return &at, nil
}

func (s *Server) toAPIConfig(config store.SystemConfig) gen.SystemConfig {
	return gen.SystemConfig{
		AppName:                      s.options.AppName,
		Version:                      s.options.AppVersion,
		RetentionDays:                int32(config.RetentionDays),                  //nolint:gosec // 1 to 365
		BatchWindowSeconds:           int32(config.BatchWindow / time.Second),      //nolint:gosec // came from 32 bits
		BatchIdleTimeoutSeconds:      int32(config.BatchIdleTimeout / time.Second), //nolint:gosec // came from 32 bits
		DetectionConfidenceThreshold: config.DetectionConfidenceThreshold + 0,      // never -0
	}
}

func fromAPIConfigUpdate(update gen.SystemConfigUpdate) store.SystemConfigUpdate {
	var changed store.SystemConfigUpdate
	if days := update.RetentionDays; days != nil {
		changed.RetentionDays = new(int(*days))
	}
	if seconds := update.BatchWindowSeconds; seconds != nil {
		changed.BatchWindow = new(time.Duration(*seconds) * time.Second)
	}
	if seconds := update.BatchIdleTimeoutSeconds; seconds != nil {
		changed.BatchIdleTimeout = new(time.Duration(*seconds) * time.Second)
	}
	if threshold := update.DetectionConfidenceThreshold; threshold != nil {
		changed.DetectionConfidenceThreshold = new(*threshold + 0) // -0 becomes 0
	}
	return changed
}

func toActor(from requester) store.Actor {
	return store.Actor{Name: from.actor, IPAddress: from.ip, UserAgent: from.userAgent, RequestID: from.requestID}
}

// toAPILatencySummary makes a summary without samples null.
func toAPILatencySummary(summary latency.Summary) *gen.LatencySummary {
	if summary.Count == 0 {
		return nil
	}
	return &gen.LatencySummary{
		AvgMs:       milliseconds(summary.Avg),
		MinMs:       milliseconds(summary.Min),
		MaxMs:       milliseconds(summary.Max),
		P50Ms:       milliseconds(summary.P50),
		P95Ms:       milliseconds(summary.P95),
		P99Ms:       milliseconds(summary.P99),
		SampleCount: summary.Count,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func toAPISeverity(thresholds store.SeverityThresholds) gen.SeverityMetadata {
	definitions := thresholds.Definitions()
	metadata := gen.SeverityMetadata{
		Definitions: make([]gen.SeverityDefinition, len(definitions)),
		Thresholds: gen.SeverityThresholds{
			LowMax:    int32(thresholds.LowMax),    //nolint:gosec // 0 to 100
			MediumMax: int32(thresholds.MediumMax), //nolint:gosec // 0 to 100
			HighMax:   int32(thresholds.HighMax),   //nolint:gosec // 0 to 100
		},
	}
	for i, definition := range definitions {
		metadata.Definitions[i] = gen.SeverityDefinition{
			Severity:    gen.Severity(definition.Severity),
			Label:       definition.Label,
			Description: definition.Description,
			Color:       definition.Color,
			Priority:    int32(definition.Priority), //nolint:gosec // 0 to 3
			MinScore:    int32(definition.MinScore), //nolint:gosec // 0 to 100
			MaxScore:    int32(definition.MaxScore), //nolint:gosec // 0 to 100
		}
	}
	return metadata
}

func toAPIStorage(files media.Report, counts store.Counts, countedAt time.Time) gen.Storage {
	at := files.At
	if countedAt.Before(at) {
		at = countedAt
	}
	return gen.Storage{
		DiskUsedBytes:    files.DiskUsedBytes,
		DiskTotalBytes:   files.DiskTotalBytes,
		DiskFreeBytes:    files.DiskFreeBytes,
		DiskUsagePercent: files.DiskUsagePercent,
		Thumbnails:       toAPICategory(files.Thumbnails),
		Images:           toAPICategory(files.Images),
		Clips:            toAPICategory(files.Clips),
		EventsCount:      counts.Events,
		DetectionsCount:  counts.Detections,
		GPUStatsCount:    counts.GPUSamples,
		LogsCount:        counts.Logs,
		Timestamp:        at.UTC(),
	}
}

func toAPICategory(figure media.Figure) gen.StorageCategory {
	return gen.StorageCategory{FileCount: figure.FileCount, SizeBytes: figure.SizeBytes}
}

func toAPICleanup(report retention.Report) gen.CleanupResult {
	return gen.CleanupResult{
		EventsDeleted:     report.EventsDeleted,
		DetectionsDeleted: report.DetectionsDeleted,
		GPUStatsDeleted:   report.GPUStatsDeleted,
		LogsDeleted:       report.LogsDeleted,
		ThumbnailsDeleted: report.ThumbnailsDeleted,
		ImagesDeleted:     report.ImagesDeleted,
		SpaceReclaimed:    report.SpaceReclaimedBytes,
		RetentionDays:     int32(report.RetentionDays), //nolint:gosec // 1 to 365
		DryRun:            report.DryRun,
		Timestamp:         report.At.UTC(),
	}
}

func fromAPICause(cause *string) store.DeadLetterSelection {
	if cause == nil {
		return store.DeadLetterSelection{}
	}
	return store.DeadLetterSelection{Cause: *cause}
}

// fromAPIDeadLetterSelection: of all is left the selection without a condition; the contract has
// seen to it that one key is there.
func fromAPIDeadLetterSelection(selection gen.DeadLetterSelection) store.DeadLetterSelection {
	chosen := fromAPICause(selection.Cause)
	chosen.ImageIDs = selection.Ids
	return chosen
}

// toAPIDeadLetterPage takes up to limit+1 dead letters, of which the last one only shows that there
// are more.
func toAPIDeadLetterPage(letters []store.DeadLetter, total int64, limit int32) gen.DeadLetterPage {
	page := gen.DeadLetterPage{Total: total, Limit: limit}
	letters, goesOn := list.Page(letters, int(limit))
	if goesOn {
		page.NextAfterID = &letters[limit-1].ImageID
	}
	page.DeadLetters = make([]gen.DeadLetter, len(letters))
	for i, letter := range letters {
		kind := gen.DeadLetterKindImage
		if letter.BatchID != nil {
			kind = gen.DeadLetterKindBatch
		}
		page.DeadLetters[i] = gen.DeadLetter{
			ID:            letter.ImageID,
			Kind:          kind,
			BatchID:       letter.BatchID,
			CameraID:      letter.CameraID,
			File:          fileBelow(letter.CameraFolder, letter.FilePath),
			Cause:         letter.Cause,
			Attempts:      int32(letter.Attempts), //nolint:gosec // few
			FirstFailedAt: letter.FirstFailedAt,
			LastFailedAt:  letter.LastFailedAt,
		}
	}
	return page
}

// fileBelow is a path as seen from a folder; where that folder lies is nobody's business. A file
// elsewhere, as after a change of the settings, has only its name.
func fileBelow(folder, path string) string {
	if below, ok := pathBelow(folder, path); ok {
		return below
	}
	return filepath.Base(path)
}

// pathBelow is a path as seen from a folder; false when it lies elsewhere.
func pathBelow(folder, path string) (string, bool) {
	below, err := filepath.Rel(folder, path)
	if err != nil || !filepath.IsLocal(below) {
		return "", false
	}
	return below, true
}
