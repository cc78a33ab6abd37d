package child

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// CheckRunDir tells whether MakeRunDir can make or take dir: its parent can be written by us and
// entered by the user, and dir itself does not exist or is a private folder of the user. A folder
// or link that somebody else has put there is refused, so that nobody can place himself between us
// and the server.
func CheckRunDir(identity Identity, dir string) error {
	parent := filepath.Dir(dir)
	if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write to %s: %w", parent, err)
	}
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("look at %s: %w", dir, err)
	default:
		if err := checkOwner(identity, dir, info); err != nil {
			return err
		}
	}
	if identity.switched && !identity.CanReach(parent) {
		return fmt.Errorf("%s cannot enter %s", identity.Name, parent)
	}
	return nil
}

func checkOwner(identity Identity, dir string, info os.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if uid := int(stat.Uid); uid != identity.UID && uid != os.Geteuid() {
		return fmt.Errorf("%s belongs to uid %d", dir, uid)
	}
	return nil
}

// MakeRunDir makes dir, or takes the one of an earlier start, with mode 0700 and owned by the user.
// The returned descriptor holds a lock on it: cleaners of temporary folders leave locked folders
// alone. Close it at the end.
func MakeRunDir(identity Identity, dir string) (*os.File, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make the socket's folder: %w", err)
	}
	handle, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the socket's folder: %w", err)
	}
	if err := takeRunDir(identity, dir, handle); err != nil {
		_ = handle.Close()
		return nil, err
	}
	return handle, nil
}

// takeRunDir works on the open folder, so that what was checked is what is changed.
func takeRunDir(identity Identity, dir string, handle *os.File) error {
	info, err := handle.Stat()
	if err != nil {
		return fmt.Errorf("look at the socket's folder: %w", err)
	}
	if err := checkOwner(identity, dir, info); err != nil {
		return err
	}
	if identity.switched {
		if err := handle.Chown(identity.UID, identity.GID); err != nil {
			return fmt.Errorf("hand the socket's folder to %s: %w", identity.Name, err)
		}
	}
	if err := handle.Chmod(0o700); err != nil {
		return fmt.Errorf("make the socket's folder private: %w", err)
	}
	if err := unix.Flock(int(handle.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("lock the socket's folder: %w", err)
	}
	return nil
}
