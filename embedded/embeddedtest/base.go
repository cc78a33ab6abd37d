package embeddedtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"hsi.home.arpa/embedded/internal/child"
)

const (
	// minFreeBytes is the room that a folder must have to be chosen for test data.
	minFreeBytes = 1 << 30
	// maxBasePath keeps socket paths below the kernel's limit of 107 bytes.
	maxBasePath = 70
	// ownerName is the file that the test process keeps locked while it lives.
	ownerName = "owner.lock"
)

// base is the folder of everything that this test process starts. It is made at first use.
var base struct {
	sync.Mutex
	dir      string
	owner    *os.File
	identity child.Identity
	sequence int
}

// newHome makes a folder for one server, owned by the user that servers run as.
func newHome(kind string) (string, child.Identity, error) {
	base.Lock()
	defer base.Unlock()
	if base.dir == "" {
		if err := makeBase(); err != nil {
			return "", child.Identity{}, err
		}
	}
	base.sequence++
	home := filepath.Join(base.dir, kind+strconv.Itoa(base.sequence))
	return home, base.identity, base.identity.MakeDir(home, 0o700)
}

// TempDir is a temporary folder on a RAM disk where there is one, for a test that makes many files.
func TempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := newTempDir()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("remove a temporary folder: %v", err)
		}
	})
	return dir
}

func newTempDir() (string, error) {
	base.Lock()
	defer base.Unlock()
	if base.dir == "" {
		if err := makeBase(); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(base.dir, "temp")
}

func makeBase() error {
	base.identity = child.ChooseIdentity()
	prefix := "hsi-test-" + strconv.Itoa(os.Geteuid()) + "-"
	var problems []error
	for _, parent := range []string{"/dev/shm", os.TempDir(), "/tmp", "/var/tmp"} {
		if err := usable(parent); err != nil {
			problems = append(problems, err)
			continue
		}
		sweep(parent, prefix)
		dir, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		owner, err := own(dir)
		if err != nil {
			return err
		}
		if base.identity.Switched() {
			if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // the servers' user must get through; the folders inside are private
				return fmt.Errorf("open the test folder: %w", err)
			}
		}
		base.dir, base.owner = dir, owner
		return nil
	}
	return fmt.Errorf("no folder for test data: %w", errors.Join(problems...))
}

func usable(parent string) error {
	if len(parent) > maxBasePath-30 {
		return fmt.Errorf("%s: too long for sockets", parent)
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(parent, &stat); err != nil {
		return fmt.Errorf("%s: %w", parent, err)
	}
	if stat.Bavail*uint64(stat.Bsize) < minFreeBytes { //nolint:gosec // a block size is positive
		return fmt.Errorf("%s: less than 1 GiB free", parent)
	}
	if !base.identity.CanReach(parent) {
		return fmt.Errorf("%s: %s cannot enter it", parent, base.identity.Name)
	}
	return nil
}

// own locks the folder's owner file: a folder whose lock is free belongs to a dead test process.
func own(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, ownerName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("mark the test folder: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("mark the test folder: %w", err)
	}
	return file, nil
}

// sweep removes what crashed test processes of the same user left in parent. A folder without an
// owner file is being made right now by another process and is left alone.
func sweep(parent, prefix string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		dir := filepath.Join(parent, entry.Name())
		owner, err := os.OpenFile(filepath.Join(dir, ownerName), os.O_RDWR|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(owner.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			removeTree(dir)
		}
		_ = owner.Close()
	}
}

// removeTree ends what still runs in dir's homes and removes dir.
func removeTree(dir string) {
	homes, _ := os.ReadDir(dir)
	for _, home := range homes {
		path := filepath.Join(dir, home.Name())
		child.RemoveLeftovers(path, child.DataDir(path))
	}
	_ = os.RemoveAll(dir)
}

// removeBase removes everything of this process.
func removeBase() {
	base.Lock()
	defer base.Unlock()
	if base.dir == "" {
		return
	}
	removeTree(base.dir)
	_ = base.owner.Close()
	base.dir, base.owner = "", nil
}

// depsDirs lists where unpacked packages may lie: EMBEDDED_DEPS_DIR, or the folder .deps beside
// go.mod.
func depsDirs() []string {
	if dir := os.Getenv("EMBEDDED_DEPS_DIR"); dir != "" {
		return []string{dir}
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return []string{filepath.Join(dir, ".deps")}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil
		}
		dir = parent
	}
}
