package embedded

import "time"

// WithSystemDir sets where data goes that the servers' user cannot reach.
func WithSystemDir(options Options, dir string) Options {
	options.systemDir = dir
	return options
}

// WithPatience sets how long another supervisor of the same data is waited for.
func WithPatience(options Options, patience time.Duration) Options {
	options.patience = patience
	return options
}

// RunDir is the folder of the socket.
func (p *Postgres) RunDir() string { return p.service.place.runDir }

// RunDir is the folder of the socket.
func (r *Redis) RunDir() string { return r.service.place.runDir }
