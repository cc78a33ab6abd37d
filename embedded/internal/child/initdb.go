package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Cluster says how a new PostgreSQL data folder is made.
type Cluster struct {
	// User is the superuser, Database an extra database to create; empty creates none.
	User, Database string
	// Scratch makes a cluster that is thrown away: nothing is synced to disk, pages carry no
	// checksums.
	Scratch bool
}

// dataName and newName are the finished and the unfinished cluster in a home.
const (
	dataName = "data"
	newName  = "data.new"
)

// DataDir is the folder of the cluster in a PostgreSQL server's home.
func DataDir(home string) string { return filepath.Join(home, dataName) }

// DataMajor returns the major version of the cluster in home, 0 when there is none yet.
func DataMajor(home string) (int, error) {
	content, err := os.ReadFile(filepath.Join(DataDir(home), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the data: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0, fmt.Errorf("the version of the data in %s is not a number: %w", DataDir(home), err)
	}
	return major, nil
}

// HasData reports whether a home holds data of either server.
func HasData(home string) (bool, error) {
	for _, name := range []string{filepath.Join(dataName, "PG_VERSION"), "appendonlydir"} {
		_, err := os.Stat(filepath.Join(home, name))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return false, fmt.Errorf("look for data: %w", err)
		}
	}
	return false, nil
}

// Init makes the cluster in home unless there is one. It works under a temporary name and renames
// at the end, so that a start that was cut off in the middle leaves nothing that looks like data.
func (p Postgres) Init(ctx context.Context, identity Identity, home string, cluster Cluster) error {
	if major, err := DataMajor(home); err != nil || major != 0 {
		return err
	}
	lock, err := waitForPredecessor(ctx, home)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	temporary := filepath.Join(home, newName)
	if err := os.RemoveAll(temporary); err != nil {
		return fmt.Errorf("remove a half-made data folder: %w", err)
	}
	args := []string{"-D", temporary, "-U", cluster.User, "--auth=trust", "--encoding=UTF8", "--locale=C"}
	if cluster.Scratch {
		args = append(args, "--no-sync")
	} else {
		args = append(args, "--data-checksums")
	}
	if _, err := identity.RunNamed(ctx, p.Server.Sibling("initdb"), home, "", []*os.File{lock}, args...); err != nil {
		return err
	}
	if cluster.Database != "" {
		// Single-user mode: the finished cluster has the database, whatever happens after.
		command := "CREATE DATABASE " + cluster.Database + "\n"
		output, err := identity.RunNamed(ctx, p.Server, home, command, []*os.File{lock},
			"--single", "-D", temporary, "-c", "exit_on_error=on", "-c", "log_min_messages=error", "postgres")
		if err != nil {
			return err
		}
		if strings.Contains(output, "ERROR:") || strings.Contains(output, "FATAL:") {
			return fmt.Errorf("create database %s: %s", cluster.Database, lastLines(output, 2))
		}
	}
	if err := os.Rename(temporary, DataDir(home)); err != nil {
		return fmt.Errorf("put the data folder in place: %w", err)
	}
	return syncDir(home)
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = dir.Close() }()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// PostgresArgs are the arguments of a server on the cluster in home whose socket lies in runDir,
// with settings in a stable order.
func PostgresArgs(home, runDir string, settings map[string]string) []string {
	args := []string{"-D", DataDir(home), "-k", runDir, "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"}
	return append(args, settingArgs(settings)...)
}

// PostgresSocket is the socket of such a server.
func PostgresSocket(runDir string) string { return filepath.Join(runDir, ".s.PGSQL.5432") }

// PostgresURL is the connection string for a database on such a server.
func PostgresURL(runDir, user, database string) string {
	return "postgres://" + user + "@/" + database + "?host=" + escapeQuery(runDir) + "&sslmode=disable"
}

// RedisSocket is the socket of a Redis server whose socket lies in runDir.
func RedisSocket(runDir string) string { return filepath.Join(runDir, "redis.sock") }
