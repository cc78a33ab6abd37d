package embedded

import (
	"context"
	"maps"
	"strings"
	"syscall"
	"time"

	"hsi.home.arpa/embedded/internal/child"
)

const (
	// postgresUser and postgresDatabase are what the rest of the program connects with and to.
	postgresUser     = "hsi"
	postgresDatabase = "hsi"
)

// postgresSettings are for a home machine: durable, small, quiet when idle.
func postgresSettings() map[string]string {
	return map[string]string{
		"max_connections": "40",
		"shared_buffers":  "64MB",
		"max_wal_size":    "512MB",
		"wal_compression": "on",
		"max_wal_senders": "0", // no replicas; a dump is the backup
		"jit":             "off",
		"fsync":           "on",
		"autovacuum":      "on",
		"timezone":        "UTC",
		"log_timezone":    "UTC",
		"cluster_name":    "hsi",
	}
}

// Postgres is a private PostgreSQL server. Create it with NewPostgres.
type Postgres struct {
	service      *service
	installation child.Postgres
}

// NewPostgres decides where the server's data and socket lie and finds the program. It starts
// nothing. It returns *MissingError when PostgreSQL is not on this machine, *VersionError when the
// data needs another version, and *PlaceError when the data folder cannot be used.
func NewPostgres(options PostgresOptions) (*Postgres, error) {
	where, err := choosePlace(Options(options), "postgres")
	if err != nil {
		return nil, err
	}
	dataMajor, err := child.DataMajor(where.home)
	if err != nil {
		return nil, err
	}
	installation, err := child.NewFinder(where.identity, options.BinDirs).Postgres(dataMajor)
	if err != nil {
		return nil, err
	}
	postgres := &Postgres{installation: installation}
	if err := postgres.checkVersion(where.home); err != nil {
		return nil, err
	}
	settings := postgresSettings()
	maps.Copy(settings, options.Settings)
	socket := child.PostgresSocket(where.runDir)
	postgres.service = newService(&service{
		name:     "postgres",
		place:    where,
		log:      options.Log,
		patience: options.patience,
		socket:   socket,
		prepare:  postgres.prepare,
		spec: child.Spec{
			Program:     installation.Server,
			Args:        child.PostgresArgs(where.home, where.runDir, settings),
			Home:        where.home,
			DataDir:     child.DataDir(where.home),
			Identity:    where.identity,
			DeathSignal: syscall.SIGINT, // fast shutdown
		},
		ping: func(ctx context.Context) error {
			return child.PingPostgres(ctx, socket, postgresUser, postgresDatabase)
		},
		// Fast shutdown, then immediate (the next start recovers from the log), then SIGKILL.
		stop:   []child.Step{{Signal: syscall.SIGINT, Wait: 5 * time.Second}, {Signal: syscall.SIGQUIT, Wait: 2 * time.Second}},
		severe: isSeverePostgresLine,
	})
	return postgres, nil
}

// isSeverePostgresLine picks the lines that explain why a server ends. A session that came too
// early or was ended by the shutdown is not one.
func isSeverePostgresLine(line string) bool {
	if strings.Contains(line, "PANIC:") {
		return true
	}
	return strings.Contains(line, "FATAL:") &&
		!strings.Contains(line, "the database system is") && !strings.Contains(line, "terminating ")
}

func (p *Postgres) checkVersion(home string) error {
	dataMajor, err := child.DataMajor(home)
	if err != nil {
		return err
	}
	if dataMajor != 0 && dataMajor != p.installation.Major {
		return &VersionError{DataDir: home, DataMajor: dataMajor, ServerMajor: p.installation.Major}
	}
	return nil
}

// prepare makes the data folder at the first start.
func (p *Postgres) prepare(ctx context.Context, _ failure) error {
	if err := p.checkVersion(p.service.place.home); err != nil {
		return err
	}
	cluster := child.Cluster{User: postgresUser, Database: postgresDatabase}
	return p.installation.Init(ctx, p.service.place.identity, p.service.place.home, cluster)
}

// URL is the connection string of database "hsi"; it is known before the start and never changes.
func (p *Postgres) URL() string {
	return child.PostgresURL(p.service.place.runDir, postgresUser, postgresDatabase)
}

// Run makes the data folder if there is none, starts the server, starts it again whenever it dies,
// and stops it cleanly (within 8 s) when ctx ends; it then returns nil with nothing left behind. A
// start that fails is tried again for ever, except for what only the user can mend: *VersionError,
// *InUseError. Run may be called once.
func (p *Postgres) Run(ctx context.Context) error { return p.service.run(ctx) }

// Ready is closed when the server accepts connections for the first time.
func (p *Postgres) Ready() <-chan struct{} { return p.service.ready }

// DataDir is the folder that holds the server's data.
func (p *Postgres) DataDir() string { return p.service.place.home }

// Moved reports whether the data lies outside DATA_DIR, because the user that the server runs as
// cannot reach DATA_DIR.
func (p *Postgres) Moved() bool { return p.service.place.moved }

// Restarts is how often the server was started again after it had died.
func (p *Postgres) Restarts() int64 { return p.service.restarts.Load() }
