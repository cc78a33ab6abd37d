package embedded

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"hsi.home.arpa/embedded/internal/child"
)

// systemDir is where data goes that the servers' user cannot reach in DATA_DIR.
const systemDir = "/var/lib/hsi"

// maxRunDirBytes keeps socket paths below the kernel's limit of 107 bytes.
const maxRunDirBytes = 85

// place is where one server lives and whom it runs as.
type place struct {
	// home holds the data and lock files of one server; runDir its socket.
	home, runDir string
	identity     child.Identity
	// moved is true when home is not in DATA_DIR but linked from there.
	moved bool
	// fromRoot is true when root owns the home, and so perhaps what is in it, though the server
	// runs as another user.
	fromRoot bool
}

// choosePlace decides where the server of a kind ("postgres", "redis") lives. It makes DATA_DIR
// and, where data has to go elsewhere, a link in it; the folders themselves are made at start.
func choosePlace(options Options, kind string) (place, error) {
	dataDir, err := filepath.Abs(options.DataDir)
	if err != nil {
		return place{}, fmt.Errorf("find DATA_DIR: %w", err)
	}
	if err := os.MkdirAll(dataDir, 0o755); err != nil { //nolint:gosec // must be entered by the servers' user; the folders in it are private
		return place{}, fmt.Errorf("make DATA_DIR: %w", err)
	}
	if dataDir, err = filepath.EvalSymlinks(dataDir); err != nil {
		return place{}, fmt.Errorf("find DATA_DIR: %w", err)
	}
	if options.systemDir == "" {
		options.systemDir = systemDir
	}
	chosen := place{identity: child.ChooseIdentity()}
	if err := chosen.chooseHome(dataDir, kind, options.systemDir); err != nil {
		return place{}, err
	}
	chosen.runDir, err = chooseRunDir(chosen.identity, dataDir, kind)
	return chosen, err
}

func (p *place) chooseHome(dataDir, kind, systemDir string) error {
	wanted := filepath.Join(dataDir, kind)
	home, exists, err := resolveHome(wanted)
	if err != nil {
		return err
	}
	entrance := dataDir // a folder that root made is handed over at start
	if exists {
		entrance = filepath.Dir(home)
		owner, err := ownerOf(home)
		if err != nil {
			return err
		}
		switch {
		case !p.identity.Switched() && owner.UID != p.identity.UID:
			return &PlaceError{home, fmt.Sprintf("belongs to another user (uid %d); start as that user or as root, or set another DATA_DIR", owner.UID)}
		case p.identity.Switched() && owner.UID != 0:
			p.identity = owner // data of an earlier start keeps its owner
			entrance = home
		case p.identity.Switched():
			p.fromRoot = true
		}
	} else {
		home = wanted
	}
	p.home, p.moved = home, filepath.Dir(home) != dataDir
	if !p.identity.Switched() || p.identity.CanReach(entrance) {
		return nil
	}
	if filled, err := child.HasData(home); err != nil || filled {
		return errors.Join(err, &PlaceError{home, "holds data, but the user " + p.identity.Name + " cannot enter it any more; make the folders above it searchable (chmod o+x)"})
	}
	return p.move(wanted, exists, filepath.Join(systemDir, pathHash(dataDir)), kind)
}

// resolveHome follows the link that an earlier start may have left.
func resolveHome(wanted string) (home string, exists bool, err error) {
	_, err = os.Lstat(wanted)
	if errors.Is(err, os.ErrNotExist) {
		return wanted, false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look for the data: %w", err)
	}
	home, err = filepath.EvalSymlinks(wanted)
	if errors.Is(err, os.ErrNotExist) {
		target, _ := os.Readlink(wanted)
		// Not replaced by an empty database: the disk with the data may just not be mounted.
		return "", false, &PlaceError{wanted, "links to " + target + ", which is gone; bring it back, or remove the link to start with nothing"}
	}
	if err != nil {
		return "", false, fmt.Errorf("look for the data: %w", err)
	}
	info, err := os.Stat(home)
	if err != nil {
		return "", false, fmt.Errorf("look for the data: %w", err)
	}
	if !info.IsDir() {
		return "", false, &PlaceError{wanted, "is not a folder; move it away"}
	}
	return home, true, nil
}

// move makes a home outside DATA_DIR and links it from there.
func (p *place) move(wanted string, exists bool, parent, kind string) error {
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // must be entered by the servers' user; the folder in it is private
		return fmt.Errorf("%s cannot be reached by the user %s, and no other place can be made: %w", wanted, p.identity.Name, err)
	}
	if !p.identity.CanReach(parent) {
		return &PlaceError{wanted, "the user " + p.identity.Name + " can enter neither this folder nor " + parent + "; set a DATA_DIR that other users can enter"}
	}
	home := filepath.Join(parent, kind)
	if err := p.identity.MakeDir(home, 0o700); err != nil {
		return err
	}
	if exists {
		if err := os.Remove(wanted); err != nil { // empty, or holds something that we did not put there
			return &PlaceError{wanted, "is not empty, but the user " + p.identity.Name + " cannot enter it; move it away"}
		}
	}
	if err := os.Symlink(home, wanted); err != nil {
		return fmt.Errorf("link the data's place: %w", err)
	}
	p.home, p.moved = home, true
	return nil
}

func ownerOf(path string) (child.Identity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return child.Identity{}, fmt.Errorf("look for the data: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return child.Identity{}, fmt.Errorf("no owner known of %s", path)
	}
	return child.OtherIdentity(int(stat.Uid), int(stat.Gid)), nil
}

func pathHash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:4])
}

// chooseRunDir names the folder of the socket. It is the same for every process of the same user
// that asks about the same DATA_DIR, and short, wherever DATA_DIR is.
func chooseRunDir(identity child.Identity, dataDir, kind string) (string, error) {
	name := "hsi-" + strconv.Itoa(os.Geteuid()) + "-" + kind + "-" + pathHash(dataDir)
	parents := []string{"/tmp", "/var/tmp", dataDir}
	if identity.Switched() {
		parents = append([]string{"/run"}, parents...)
	}
	var problems []error
	for _, parent := range parents {
		dir := filepath.Join(parent, name)
		if len(dir) > maxRunDirBytes {
			problems = append(problems, &PlaceError{dir, "too long for a socket"})
			continue
		}
		if err := child.CheckRunDir(identity, dir); err != nil {
			problems = append(problems, err)
			continue
		}
		return dir, nil
	}
	return "", fmt.Errorf("no folder for the socket: %w", errors.Join(problems...))
}
