//go:build !linux

package intake

import (
	"context"
	"errors"
	"io/fs"
)

// notifier is not there on this system: folders are polled.
type notifier struct{}

func newNotifier(openFunc, func(context.Context, notice) error) (*notifier, error) {
	return nil, errors.New("no file notifications on this system")
}

func (*notifier) addTree(context.Context, string) error { return nil }
func (*notifier) run(context.Context) error             { return nil }
func (*notifier) close()                                {}
func (*notifier) watched() []string                     { return nil }
func (*notifier) missedFolders() []string               { return nil }
func (*notifier) exchanged(string) bool                 { return false }

// folderID cannot be told on this system; folders that are exchanged are noticed by the scans.
func folderID(fs.FileInfo) (id fileID) { return id }
