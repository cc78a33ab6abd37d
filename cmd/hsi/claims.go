package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// claimOwner tells the claims of this data folder's processes from those of others, and those of
// this process from its predecessors', which are dead: only one process at a time holds the lock of
// the folder.
type claimOwner struct {
	instance string // begins every claim made with this data folder
	run      string // begins every claim of this process
}

// newClaimOwner reads the name of the data folder, or gives it one.
func newClaimOwner(dataDir string) (claimOwner, error) {
	path := filepath.Join(dataDir, "instance")
	raw, err := os.ReadFile(path)
	name := strings.TrimSpace(string(raw))
	if errors.Is(err, fs.ErrNotExist) || (err == nil && name == "") {
		name = rand.Text()
		err = os.WriteFile(path, []byte(name+"\n"), 0o600)
	}
	if err != nil {
		return claimOwner{}, fmt.Errorf("name the data folder: %w", err)
	}
	return claimOwner{instance: name + "/", run: name + "/" + rand.Text() + "/"}, nil
}

// releaseDeadClaims gives back what a predecessor held when it was killed, as soon as the databases
// are there. Without it that work would wait for its leases to end, which takes minutes.
func (a *app) releaseDeadClaims(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	ledgerDone := false
	for {
		if !ledgerDone {
			released, err := a.db.ReleaseClaims(ctx, a.claimOwner.instance, a.claimOwner.run)
			ledgerDone = err == nil
			if released > 0 {
				a.log.InfoContext(ctx, "work of the last run is taken up again", "component", "supervisor", "claims", released)
			}
		}
		if ledgerDone && a.removeDeadConsumers(ctx) == nil {
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (a *app) removeDeadConsumers(ctx context.Context) error {
	return errors.Join(
		a.detectQueue.RemoveConsumers(ctx, a.claimOwner.instance, a.claimOwner.run),
		a.analyzeQueue.RemoveConsumers(ctx, a.claimOwner.instance, a.claimOwner.run))
}
