package child

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// nobodyID is the number of the user "nobody" where the system has no user list at all.
const nobodyID = 65534

// Identity is the user that a server runs as.
type Identity struct {
	Name     string
	UID, GID int
	// switched is true when it is another user than ours.
	switched bool
}

// ChooseIdentity returns our own user, or, for root, an unprivileged one: PostgreSQL refuses to run
// as root and Redis has no reason to. The user "postgres" is preferred, then "nobody".
func ChooseIdentity() Identity {
	if os.Geteuid() != 0 {
		return OtherIdentity(os.Geteuid(), os.Getegid())
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(found.Uid)
		gid, gidErr := strconv.Atoi(found.Gid)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return Identity{Name: name, UID: uid, GID: gid, switched: true}
		}
	}
	return Identity{Name: "nobody", UID: nobodyID, GID: nobodyID, switched: true}
}

// Switched reports whether servers run as another user than ours, which is so for root.
func (i Identity) Switched() bool { return i.switched }

// credential is nil when the server runs as our own user.
func (i Identity) credential() *syscall.Credential {
	if !i.switched {
		return nil
	}
	return &syscall.Credential{Uid: uint32(i.UID), Gid: uint32(i.GID)} //nolint:gosec // user ids fit
}

// hasName reports whether the system knows a name for a user id.
func hasName(uid int) bool {
	_, err := user.LookupId(strconv.Itoa(uid))
	return err == nil
}

// OtherIdentity is the user of the given numbers, ours or another.
func OtherIdentity(uid, gid int) Identity {
	name := "uid " + strconv.Itoa(uid)
	if found, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		name = found.Username
	}
	return Identity{Name: name, UID: uid, GID: gid, switched: uid != os.Geteuid()}
}

// CanReach reports whether the user can enter dir. Asked by really entering it: mode bits do not
// tell about access lists and network mounts.
func (i Identity) CanReach(dir string) bool {
	_, err := i.Probe(Program{Path: "/bin/sh"}, dir, "-c", ":")
	return err == nil
}

// MakeDir creates dir with the given mode, owned by the user, or takes an existing folder of the
// user. Parents are made with mode 0755. An existing folder keeps its content and gets owner and
// mode set.
func (i Identity) MakeDir(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("create folder: %w", err)
	}
	if i.switched {
		if err := os.Lchown(dir, i.UID, i.GID); err != nil {
			return fmt.Errorf("hand folder to %s: %w", i.Name, err)
		}
	}
	if err := os.Chmod(dir, mode); err != nil {
		return fmt.Errorf("set folder mode: %w", err)
	}
	return nil
}

// Adopt hands what root owns below dir to the user, as after a restore from a backup by root.
func (i Identity) Adopt(dir string) error {
	if !i.switched {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the data: %w", err)
	}
	defer func() { _ = root.Close() }()
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid == 0 {
			return root.Lchown(path, i.UID, i.GID)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("hand the data to %s: %w", i.Name, err)
	}
	return nil
}
