package embeddedtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hsi.home.arpa/embedded/internal/child"
)

// keptFor is how long a data folder is kept: shorter than anything that tidies up temporary folders
// waits.
const keptFor = 24 * time.Hour

// keptHome is where the data folder of an installation is kept, in the folder for temporary files.
func keptHome(identity child.Identity, installation child.Postgres) (string, error) {
	program, err := os.Stat(installation.Server.Path)
	if err != nil {
		return "", fmt.Errorf("look at the server: %w", err)
	}
	name := fmt.Sprintf("hsi-initdb-%d-%d-%d", identity.UID, program.ModTime().Unix(), program.Size())
	return filepath.Join(os.TempDir(), name), nil
}

// copyKept puts a new data folder into home: a copy of one that is kept from one test process to
// the next and made when it is missing or old, because initdb costs more than all else that most
// packages do before their first test. Nobody starts a server in what is kept.
func copyKept(
	ctx context.Context, identity child.Identity, kept, home string, makeData func(home string) error,
) error {
	lock, err := lockKept(identity, kept)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	made, err := os.Stat(filepath.Join(child.DataDir(kept), "PG_VERSION"))
	if err != nil || time.Since(made.ModTime()) > keptFor {
		if err := os.RemoveAll(child.DataDir(kept)); err != nil {
			return fmt.Errorf("remove an older data folder: %w", err)
		}
		if err := makeData(kept); err != nil {
			return err
		}
	}
	return copyData(ctx, identity, kept, home)
}

// lockKept makes the folder of what is kept, or takes one that belongs to the servers' user, and
// waits until it has it for itself.
func lockKept(identity child.Identity, kept string) (*os.File, error) {
	switch err := os.Mkdir(kept, 0o700); {
	case err == nil:
		if err := identity.MakeDir(kept, 0o700); err != nil {
			return nil, err
		}
	case !errors.Is(err, os.ErrExist):
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	info, err := os.Lstat(kept)
	if err != nil {
		return nil, fmt.Errorf("look at a folder: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != identity.UID {
		return nil, fmt.Errorf("%s is not a folder of %s", kept, identity.Name)
	}
	lock, err := child.OpenLock(kept, "kept.lock")
	if err != nil {
		return nil, err
	}
	for {
		switch err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); {
		case err == nil:
			return lock, nil
		case !errors.Is(err, unix.EINTR):
			_ = lock.Close()
			return nil, fmt.Errorf("lock %s: %w", kept, err)
		}
	}
}

// copyData copies the data folder of one home to another.
func copyData(ctx context.Context, identity child.Identity, from, to string) error {
	copyTool := child.Program{Path: "/bin/cp"}
	_, err := identity.Run(ctx, copyTool, to, "", nil, "-a", child.DataDir(from), child.DataDir(to))
	if err != nil {
		return fmt.Errorf("copy data folder: %w", err)
	}
	return nil
}
