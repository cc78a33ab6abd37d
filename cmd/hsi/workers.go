package main

import (
	"context"
	"errors"
	"time"

	"hsi.home.arpa/gpu"
	"hsi.home.arpa/pipeline"
	"hsi.home.arpa/server/health"
)

// buildPipeline makes the workers and hands them to the supervisor.
func (a *app) buildPipeline(Options) error {
	a.supervisor = pipeline.New(pipeline.Options{Log: a.component("supervisor"), StopTimeout: stopWorkers / 3})
	sampler := gpu.NewSampler(gpu.NewNVML(), gpu.Options{
		Log: a.component(pipeline.GPUMonitor), Interval: time.Duration(a.cfg.GPUPollInterval), Host: a.hostname,
	})
	a.gpuMonitor = gpu.NewMonitor(sampler, gpuRows{a.db}, a.inferenceFPS, a.component(pipeline.GPUMonitor))
	a.supervisor.Add(pipeline.Function{
		Name: pipeline.GPUMonitor, Group: pipeline.GroupServices, FreshFor: a.gpuMonitor.FreshFor(),
		Run: func(ctx context.Context, heartbeat *pipeline.Heartbeat) error { return a.gpuMonitor.Run(ctx, heartbeat) },
	})
	return nil
}

func (a *app) inferenceFPS() *float64 { return nil }

func (a *app) buildHealth(Options) (err error) {
	a.health, err = health.New(health.Options{
		Database: a.db, Redis: a.redis,
		Detector:         health.AIService{URL: string(a.cfg.RTDETRURL), APIKey: string(a.cfg.RTDETRAPIKey), ReadTimeout: time.Duration(a.cfg.RTDETRReadTimeout)},
		Analyzer:         health.AIService{URL: string(a.cfg.NemotronURL), APIKey: string(a.cfg.NemotronAPIKey), ReadTimeout: time.Duration(a.cfg.NemotronReadTimeout)},
		AITimeout:        time.Duration(a.cfg.AIHealthTimeout),
		AIConnectTimeout: time.Duration(a.cfg.AIConnectTimeout),
		Storage:          a.storageProblem,
		Workers:          a.supervisor,
		Log:              a.component("health"),
	})
	return err
}

// storageProblem tells the health monitor what is wrong with the media folders.
func (a *app) storageProblem(context.Context) (string, error) {
	if ok, message := a.media.Health(); !ok {
		return message, errors.New(message)
	}
	return "", nil
}
