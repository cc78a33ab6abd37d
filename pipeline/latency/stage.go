package latency

// Stage is one measured part of the way from a file to an event. Each sample is one image, or one
// batch where a batch is measured.
type Stage uint8

// The stages. Watch, Detect, Batch and Analyze show the work of one part each (telemetry). The
// other four show how long an image or a batch takes from one part to the next, waiting included
// (pipeline latency).
const (
	// Watch runs from the moment a file was seen to the moment its row is queued for detection.
	Watch Stage = iota
	// Detect is the call of the detector for one image.
	Detect
	// Batch runs from the moment a batch is opened by its first image to the moment it is closed.
	Batch
	// Analyze is the call of the analyzer for one batch.
	Analyze
	// WatchToDetect runs from the moment a file was seen to the moment a worker claims the image
	// for detection.
	WatchToDetect
	// DetectToBatch runs from that claim to the commit that puts the image into a batch.
	DetectToBatch
	// BatchToAnalyze runs from the moment a batch is closed to the commit that stores its event.
	BatchToAnalyze
	// TotalPipeline runs from the moment the first file of a batch was seen to the commit that
	// stores the event of the batch.
	TotalPipeline

	stageCount = iota
)

// stageNames are the names on the wire and in Redis. They must never change: stored history is
// found by them.
var stageNames = [stageCount]string{
	Watch:          "watch",
	Detect:         "detect",
	Batch:          "batch",
	Analyze:        "analyze",
	WatchToDetect:  "watch_to_detect",
	DetectToBatch:  "detect_to_batch",
	BatchToAnalyze: "batch_to_analyze",
	TotalPipeline:  "total_pipeline",
}

// String returns the name of the stage as the API writes it, such as "watch_to_detect".
func (s Stage) String() string {
	if s >= stageCount {
		return "unknown"
	}
	return stageNames[s]
}

// stageNamed is the reverse of Stage.String.
func stageNamed(name string) (Stage, bool) {
	for stage, known := range stageNames {
		if known == name {
			return Stage(stage), true
		}
	}
	return 0, false
}
