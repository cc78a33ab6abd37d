package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"hsi.home.arpa/pipeline/demo"
)

// demoInterval is the time between two pictures of a camera unless somebody asks for another.
const demoInterval = time.Second

type demoCommand struct {
	Seed     uint64
	Interval time.Duration
}

// Run writes demo pictures until it is interrupted. It says where to look, and warns when no server
// answers.
func (c demoCommand) Run(ctx context.Context) error {
	cfg, err := settingsFromEnvironment()
	if err != nil {
		return err
	}
	log := newLogger(os.Stderr, cfg)
	folder := filepath.Join(cfg.CameraRoot, demo.CameraName)
	if _, err := fmt.Fprintf(os.Stdout, "writing a picture each %v into %s until Ctrl-C; `bin/hsi events` shows the events\n", c.Interval, folder); err != nil {
		return err
	}
	if err := probe(ctx, cfg, false, io.Discard); err != nil {
		log.WarnContext(ctx, "no server answers yet: start one with make run", "address", cfg.listenAddress())
	}
	return demo.Run(ctx, demo.Options{Root: cfg.CameraRoot, Seed: c.Seed, Interval: c.Interval, Log: log})
}
