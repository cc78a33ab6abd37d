package server

import (
	"context"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/pipeline/latency"
)

// telemetryWindowMinutes is the window of the latencies in GET /api/system/telemetry.
const telemetryWindowMinutes = 60

// GetTelemetry returns what waits in the pipeline and how long its stages take.
func (s *Server) GetTelemetry(ctx context.Context, _ gen.GetTelemetryRequestObject) (gen.GetTelemetryResponseObject, error) {
	summaries, err := s.summaries(telemetryWindowMinutes, latency.Watch, latency.Detect, latency.Batch, latency.Analyze)
	if err != nil {
		return nil, err
	}
	depths, err := s.depths.get(ctx)
	if err != nil {
		return nil, err
	}
	return gen.GetTelemetry200JSONResponse{
		Queues:    gen.QueueDepths{DetectionQueue: depths.value.Detection, AnalysisQueue: depths.value.Analysis},
		Latencies: gen.StageLatencies{Watch: summaries[0], Detect: summaries[1], Batch: summaries[2], Analyze: summaries[3]},
		Timestamp: depths.at.UTC(),
	}, nil
}

// GetPipelineLatency returns how long images take from one part of the pipeline to the next.
func (s *Server) GetPipelineLatency(_ context.Context, request gen.GetPipelineLatencyRequestObject) (gen.GetPipelineLatencyResponseObject, error) {
	window := *request.Params.WindowMinutes // the validator fills in the default
	summaries, err := s.summaries(int(window), latency.WatchToDetect, latency.DetectToBatch, latency.BatchToAnalyze, latency.TotalPipeline)
	if err != nil {
		return nil, err
	}
	return gen.GetPipelineLatency200JSONResponse{
		WatchToDetect:  summaries[0],
		DetectToBatch:  summaries[1],
		BatchToAnalyze: summaries[2],
		TotalPipeline:  summaries[3],
		WindowMinutes:  window,
		Timestamp:      s.now().UTC(),
	}, nil
}

// summaries reads several stages; a stage without samples is nil.
func (s *Server) summaries(windowMinutes int, stages ...latency.Stage) ([]*gen.LatencySummary, error) {
	summaries := make([]*gen.LatencySummary, len(stages))
	for i, stage := range stages {
		summary, err := s.options.Latency.Summary(stage, windowMinutes)
		if err != nil {
			return nil, err
		}
		summaries[i] = toAPILatencySummary(summary)
	}
	return summaries, nil
}
