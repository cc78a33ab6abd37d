package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

type serveCommand struct{ options Options }

// Run starts the server and returns when it has stopped.
func (c serveCommand) Run(ctx context.Context) error {
	cfg, err := settingsFromEnvironment()
	if err != nil {
		return err
	}
	return run(ctx, cfg, c.options)
}

type probeCommand struct {
	Ready bool // ask for readiness instead
}

// Run prints the answer of the running server.
func (c probeCommand) Run(ctx context.Context) error {
	cfg, err := settingsFromEnvironment()
	if err != nil {
		return err
	}
	return probe(ctx, cfg, c.Ready, os.Stdout)
}

type configCommand struct{}

// Run prints the settings.
func (configCommand) Run(context.Context) error {
	cfg, err := settingsFromEnvironment()
	if err != nil {
		return err
	}
	return cfg.print(os.Stdout)
}

type newKeyCommand struct{}

// Run prints the key.
func (newKeyCommand) Run(context.Context) error { return printNewAPIKey(os.Stdout) }

type versionCommand struct{}

// Run prints the version of the build.
func (versionCommand) Run(context.Context) error {
	_, err := fmt.Fprintln(os.Stdout, buildVersion())
	return err
}

// settingsFromEnvironment reports all problems of the settings together.
func settingsFromEnvironment() (Config, error) {
	cfg, err := loadConfig(os.Environ())
	if err != nil {
		return cfg, startError{fmt.Errorf("the settings are not usable:\n%w", indent(err))}
	}
	return cfg, nil
}

// indent puts each of several joined errors on a line of its own.
func indent(err error) error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return fmt.Errorf("  %w", err)
	}
	var lines error
	for _, one := range joined.Unwrap() {
		lines = errors.Join(lines, fmt.Errorf("  %w", one))
	}
	return lines
}
