package retention

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

// killAt tells this test process to be a server that dies by SIGKILL in the middle of a cleanup.
const killAt = "HSI_RETENTION_TEST_KILL"

func TestMain(m *testing.M) {
	if order := os.Getenv(killAt); order != "" {
		beKilled(order)
		return
	}
	embeddedtest.Main(m)
}

// env is a service on a database and folders of its own.
type env struct {
	*Service
	db                               *store.DB
	dir, thumbnails, clips, pictures string
	mediaOptions                     media.Options
	options                          Options
}

// moment is when all tests think they run.
var moment = time.Date(2026, 6, 15, 12, 30, 45, 123456000, time.UTC)

func setup(t *testing.T, change ...func(*Options)) *env {
	t.Helper()
	return setupIn(t, storetest.New(t), embeddedtest.TempDir(t), change...)
}

func setupIn(t *testing.T, db *store.DB, dir string, change ...func(*Options)) *env {
	t.Helper()
	e, err := newEnv(db, dir, storetest.Logger(t), change...)
	require.NoError(t, err)
	return e
}

func newEnv(db *store.DB, dir string, log *slog.Logger, change ...func(*Options)) (*env, error) {
	e := &env{
		db: db, dir: dir,
		thumbnails: filepath.Join(dir, "thumbnails"), clips: filepath.Join(dir, "clips"), pictures: filepath.Join(dir, "cameras"),
	}
	if err := os.MkdirAll(filepath.Join(e.pictures, "front"), 0o750); err != nil {
		return nil, err
	}
	e.options = Options{
		DB: db, Log: log, Now: func() time.Time { return moment }, RetentionDays: func(context.Context) (int, error) { return 30, nil },
	}
	for _, f := range change {
		f(&e.options)
	}
	e.mediaOptions = media.Options{DB: db, Thumbnails: e.thumbnails, Clips: e.clips, Cameras: e.pictures, Log: log, Now: e.options.Now}
	var err error
	if e.options.Media, err = media.New(e.mediaOptions); err != nil {
		return nil, err
	}
	e.Service, err = New(e.options)
	return e, err
}

// beKilled runs a cleanup and kills its own process at the given step.
func beKilled(order string) {
	parts := strings.SplitN(order, "|", 5) // step, days, delete images, folder, database
	at, _ := strconv.Atoi(parts[0])
	days, _ := strconv.Atoi(parts[1])
	fail := func(err error) {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	db, err := store.Open(store.Config{URL: parts[4], Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fail(err)
	}
	if err := db.Migrate(ctx); err != nil {
		fail(err)
	}
	e, err := newEnv(db, parts[3], slog.New(slog.DiscardHandler), func(o *Options) {
		o.DeleteImages = parts[2] == "true"
		o.RetentionDays = func(context.Context) (int, error) { return days, nil }
		o.BatchSize = 3
	})
	if err != nil {
		fail(err)
	}
	steps := 0
	e.step = func(context.Context, string) {
		if steps == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		steps++
	}
	if _, err := e.Cleanup(ctx, false); err != nil {
		fail(err)
	}
	os.Exit(0) // the run had fewer steps
}
