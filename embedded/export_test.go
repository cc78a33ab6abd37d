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

// StopLimit is how long the server gets to end before it is killed.
func (p *Postgres) StopLimit() time.Duration { return p.service.stopLimit() }

// StopLimit is how long the server gets to end before it is killed.
func (r *Redis) StopLimit() time.Duration { return r.service.stopLimit() }

func (s *service) stopLimit() (sum time.Duration) {
	for _, step := range s.stop {
		sum += step.Wait
	}
	return sum
}

// HurryStop shortens the time that the server gets to end.
func (p *Postgres) HurryStop(each time.Duration) {
	for i := range p.service.stop {
		p.service.stop[i].Wait = each
	}
}

// RunDir is the folder of the socket.
func (p *Postgres) RunDir() string { return p.service.place.runDir }

// RunDir is the folder of the socket.
func (r *Redis) RunDir() string { return r.service.place.runDir }
