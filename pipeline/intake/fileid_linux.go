package intake

import (
	"io/fs"
	"syscall"
)

// folderID identifies a folder even if another one gets its name.
func folderID(info fs.FileInfo) (id fileID) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		id = fileID{device: stat.Dev, inode: stat.Ino}
	}
	return id
}

// linkCount is how many names a file has.
func linkCount(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink) //nolint:unconvert // its size differs between architectures
	}
	return 1
}
