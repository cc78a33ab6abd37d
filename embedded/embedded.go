// Package embedded runs a private PostgreSQL and a private Redis as supervised child processes, so
// that one command starts everything on a machine where no database is set up. Data lies under
// DATA_DIR, sockets in a short private folder; there is no TCP port. The children end with this
// process however it ends, one that dies is started again, and a predecessor that is still dying is
// waited for.
//
// New… decides paths and finds programs and starts nothing; Run starts, supervises and stops.
package embedded

import (
	"fmt"
	"log/slog"
	"time"

	"hsi.home.arpa/embedded/internal/child"
)

// MissingError says that PostgreSQL or redis-server is not on this machine; its text is the command
// to type.
type MissingError = child.MissingError

// Options say where a private server keeps its data and where its program may lie.
type Options struct {
	// DataDir is DATA_DIR. The server's data goes to a folder of its own in it. Required. For root
	// it should be a folder that other users can enter: the servers run as an unprivileged user,
	// and data that this user cannot reach goes below /var/lib/hsi instead (see Moved).
	DataDir string
	// BinDirs are searched for programs besides PATH and the system's usual folders: folders with
	// programs in them, or folders into which packages were unpacked (the project's .deps).
	// Programs found there run with the libraries found there. Defaults to none.
	BinDirs []string
	// Settings are given to the server on top of our own, by the server's own names. Defaults to
	// none.
	Settings map[string]string
	// Log receives what the supervisor does, and the server's own output at debug level. Required.
	Log *slog.Logger

	// systemDir is where data goes that the servers' user cannot reach in DataDir. Tests set it.
	systemDir string
	// patience is how long another supervisor of the same data may take to end. Tests shorten it.
	patience time.Duration
}

// PostgresOptions are the options of NewPostgres.
type PostgresOptions Options

// RedisOptions are the options of NewRedis.
type RedisOptions Options

// VersionError says that the data was made by another major version of PostgreSQL than any that was
// found.
type VersionError struct {
	// DataDir is the folder of the data, DataMajor the version that made it, ServerMajor the best
	// that was found.
	DataDir                string
	DataMajor, ServerMajor int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the data in %s was made by PostgreSQL %d, but only PostgreSQL %d was found; type: sudo apt-get install postgresql-%d, or move the data away",
		e.DataDir, e.DataMajor, e.ServerMajor, e.DataMajor)
}

// InUseError says that another process supervises a server on the same data.
type InUseError struct {
	// DataDir is the folder of the data.
	DataDir string
}

func (e *InUseError) Error() string {
	return "another process runs a server on the data in " + e.DataDir + "; stop it first, or set another DATA_DIR"
}

// PlaceError says that the data folder cannot be used, and why.
type PlaceError struct {
	// Path is the folder, Reason one clause that says what to do.
	Path, Reason string
}

func (e *PlaceError) Error() string { return e.Path + ": " + e.Reason }
