package intake_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/intake"
	"hsi.home.arpa/store/storetest"
)

// BenchmarkWatcher_RecordsNewFiles is how long a small image of one of eight cameras takes from its
// file to its row, with all the processor time of this process and of the database.
func BenchmarkWatcher_RecordsNewFiles(b *testing.B) {
	root, db := b.TempDir(), storetest.New(b)
	past := time.Now().Add(-time.Hour)
	for n := range b.N {
		dir := filepath.Join(root, fmt.Sprintf("cam%d", n%8))
		require.NoError(b, os.MkdirAll(dir, 0o750))
		path := filepath.Join(dir, fmt.Sprintf("%d.jpg", n))
		require.NoError(b, os.WriteFile(path, picture(b, n), 0o600))
		modTime := past.Add(time.Duration(n) * time.Millisecond)
		require.NoError(b, os.Chtimes(path, modTime, modTime))
	}
	all := make(chan struct{})
	var recorded atomic.Int64
	watcher := intake.New(intake.Options{
		Root: root, Ledger: db, Log: storetest.Logger(b), DedupeWindow: 5 * time.Minute,
		Recorded: func() {
			if recorded.Add(1) == int64(b.N) {
				close(all)
			}
		},
	})
	ctx, cancel := context.WithCancel(b.Context())
	stopped := make(chan error, 1)
	cpu, databaseCPU := cpuTime(b), databaseTime(b, db)
	b.ResetTimer()
	go func() { stopped <- watcher.Run(ctx, &alive{}) }()
	<-all
	b.StopTimer()
	images := float64(b.N)
	b.ReportMetric(images/b.Elapsed().Seconds(), "images/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/images, "our-µs/image")
	b.ReportMetric(float64((databaseTime(b, db)-databaseCPU).Microseconds())/images, "database-µs/image")
	cancel()
	require.NoError(b, <-stopped)
}
