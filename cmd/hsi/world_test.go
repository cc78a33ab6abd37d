//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/store/storetest"
)

// nightly chooses the long form of the tests: the same with more images, requests and tries, and
// with the pauses and leases of a real server. HSI_NIGHTLY=1 asks for it.
func nightly() bool { return os.Getenv("HSI_NIGHTLY") != "" }

// inForm is a number in the short form of the tests and in the long one.
func inForm(short, long int) int {
	if nightly() {
		return long
	}
	return short
}

// runCameras are the cameras of the runs.
var runCameras = e2e.SixCameras()[:4]

// world is the server with scripted AI services and cameras that remember what they wrote.
type world struct {
	*process
	*e2e.World

	// postgres is nil where the world has not a server of its own, to be killed and frozen.
	postgres *embeddedtest.PostgresServer
	redis    *embeddedtest.RedisServer
	// thumbnails is where the test sees the thumbnail folder.
	thumbnails string
	begun      time.Time
	// hurried lets the time of pauses, and of leases where faults may have left some behind, pass
	// at once when nothing is left but to wait for it.
	hurried, faulty bool
}

// newWorld starts the server with real databases and waits until it is ready. Settings in env win.
func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	w := prepareWorld(t, env...)
	w.start()
	w.eventually("ready", w.isReady)
	return w
}

// prepareWorld is newWorld without the start of its server, for tests with faults.
func prepareWorld(t *testing.T, env ...string) *world {
	t.Helper()
	return prepareWorldOn(t, storetest.NewEmptyURL(t), env...)
}

// prepareOwnWorld is prepareWorld with a PostgreSQL of its own, in which a library is preloaded if
// there is one.
func prepareOwnWorld(t *testing.T, library string, env ...string) *world {
	t.Helper()
	start := func() *embeddedtest.PostgresServer { return embeddedtest.NewPostgres(t) }
	if library != "" {
		start = func() *embeddedtest.PostgresServer { return embeddedtest.NewPostgresWith(t, library) }
	}
	postgres := start()
	w := prepareWorldOn(t, postgres.URL(), env...)
	w.postgres, w.faulty = postgres, true
	return w
}

func prepareWorldOn(t *testing.T, databaseURL string, env ...string) *world {
	t.Helper()
	redis := embeddedtest.NewRedis(t)
	w := &world{
		World: e2e.NewWorld(t, databaseURL, redis.URL(), t.TempDir()), redis: redis,
		begun: time.Now(), hurried: !nightly(),
	}
	w.process = newProcess(t, slices.Concat(w.Settings(), []string{hasteEnv(inForm(20, 1))},
		env)...)
	w.thumbnails = filepath.Join(w.DataDir, "thumbnails")
	return w
}

// hasteEnv divides the pauses before an AI service that fails is tried again.
func hasteEnv(haste int) string { return fmt.Sprint(hasteVariable, "=", haste) }

// within runs a part of the test under a name of its own, on the same world and after the parts
// before it.
func (w *world) within(name string, part func()) {
	w.tb.Helper()
	whole, ok := w.tb.(*testing.T)
	require.True(w.tb, ok, "only a test has parts")
	defer func() { w.tb = whole }()
	whole.Run(name, func(t *testing.T) {
		w.tb = t
		part()
	})
}

// usual is what the images show: nothing, one person, a person and a car below the threshold, a
// dog below the threshold, and three objects of which one lies exactly at the threshold.
func usual(i int) []aitest.Detection {
	box := aitest.Box{X: 10 + i%200, Y: 20 + i%90, Width: 20 + i%60, Height: 25 + i%40}
	small := aitest.Box{X: 5 + i%250, Y: 100, Width: 30, Height: 30}
	switch i % 5 {
	case 1:
		return []aitest.Detection{{Class: "person", Confidence: 0.91, Box: box}}
	case 2:
		return []aitest.Detection{
			{Class: "car", Confidence: 0.55, Box: small},
			{Class: "person", Confidence: 0.83, Box: box},
		}
	case 3:
		return []aitest.Detection{{Class: "dog", Confidence: 0.59, Box: box}}
	case 4:
		return []aitest.Detection{
			{Class: "person", Confidence: 0.61, Box: box},
			{Class: "truck", Confidence: 0.97, Box: small},
			{
				Class: "bicycle", Confidence: e2e.Threshold,
				Box: aitest.Box{X: 1, Y: 2, Width: 40, Height: 50},
			},
		}
	default:
		return nil
	}
}

func person(i int) []aitest.Detection { return usual(5*i + 1) }

// feed writes the next count images, the cameras taking turns: every other one under a temporary
// name that is then renamed, the others slowly, half of the bytes now and the rest after the next
// three images.
func (w *world) feed(count int, show func(i int) []aitest.Detection) {
	w.tb.Helper()
	var slow []func() error
	for range count {
		i := len(w.Cameras.Shots())
		data := aitest.Picture(uint64(i), show(i)...)
		s := w.plan(i, fmt.Sprintf("IMG_%05d.jpg", i), data, "")
		if i%2 == 0 {
			require.NoError(w.tb, e2e.WriteRenamed(s.Path, data, time.Time{}))
		} else {
			finish, err := e2e.WriteHalf(s.Path, data)
			require.NoError(w.tb, err)
			slow = append(slow, finish)
		}
		if len(slow) > 1 {
			require.NoError(w.tb, slow[0]())
			slow = slow[1:]
		}
	}
	for _, finish := range slow {
		require.NoError(w.tb, finish())
	}
}

// plan notes a file of the camera whose turn it is, and what must become of it.
func (w *world) plan(i int, name string, data []byte, broken string) *e2e.Shot {
	w.tb.Helper()
	camera := runCameras[i%len(runCameras)]
	s := e2e.NewShot(camera, w.Cameras.Path(camera, name), data, broken)
	require.NoError(w.tb, os.MkdirAll(filepath.Dir(s.Path), 0o755))
	w.Cameras.Note(s)
	return s
}

// waitRecorded waits until every file has its row.
func (w *world) waitRecorded() {
	w.tb.Helper()
	files := int64(len(w.Cameras.Shots()))
	w.eventually("every file has a row",
		func() bool { return w.count("SELECT count(*) FROM images") >= files })
}

// waitDetected waits until no image waits for the detector or is with it.
func (w *world) waitDetected() {
	w.tb.Helper()
	w.waitRecorded()
	hurry := w.hurry()
	w.eventually("every image is detected", func() bool { hurry(); return w.queues()[0] == 0 })
}

// waitFinished waits until nothing is left to do: all files recorded, the queues of the API empty,
// no batch open.
func (w *world) waitFinished() {
	w.tb.Helper()
	w.waitDetected()
	hurry := w.hurry()
	w.eventually("the pipeline is empty", func() bool {
		hurry()
		return w.count("SELECT count(*) FROM batches WHERE state = 'open'") == 0 &&
			w.queues() == [2]int64{}
	})
}

// hurry returns what lets pauses end each time that it is called, and leases now and then: who
// works still must have time to come to an end.
func (w *world) hurry() (pass func()) {
	if !w.hurried {
		return func() {}
	}
	begun, patience := time.Now(), 2*time.Second
	return func() {
		_ = w.EndPauses(w.tb.Context()) // else they end by themselves
		if w.faulty && time.Since(begun) > patience {
			_, _ = w.EndLeases(w.tb.Context(), "") // as above
			patience *= 2
		}
	}
}

// queues returns the depths that the API tells: images to detect, batches to analyze. -1 when it
// does not tell.
func (w *world) queues() [2]int64 {
	answer := w.telemetry()
	return [2]int64{answer.Queues.Detection, answer.Queues.Analysis}
}

func (w *world) count(query string) (n int64) {
	w.tb.Helper()
	require.NoError(w.tb, w.Database.GetContext(w.tb.Context(), &n, query))
	return n
}

func (w *world) times(query string, args ...any) (list []time.Time) {
	w.tb.Helper()
	require.NoError(w.tb, w.Database.SelectContext(w.tb.Context(), &list, query, args...))
	return list
}

// stored is what must not change while nobody can tell what is on the images.
func (w *world) stored() [4]int64 {
	w.tb.Helper()
	return [4]int64{
		w.count("SELECT count(*) FROM events"), w.count("SELECT count(*) FROM detections"),
		w.count("SELECT count(*) FROM images WHERE state IN ('analyzed', 'dead_lettered') OR reason = 'no_detections'"),
		w.count("SELECT count(*) FROM batches WHERE state = 'dead_lettered'"),
	}
}

// requireAccounted holds everything that is stored against what was written and said, with at most
// so many thumbnails that a commit that was cut off has left behind.
func (w *world) requireAccounted(leftovers int, options ...func(*e2e.Run)) (*e2e.Ledger, e2e.Disk) {
	w.tb.Helper()
	run, err := w.Collect(w.tb.Context())
	require.NoError(w.tb, err)
	for _, option := range options {
		option(&run)
	}
	a := run.Audit()
	disk, err := a.Thumbnails(w.thumbnails)
	require.NoError(w.tb, err)
	a.Check(len(disk.Unnamed) <= leftovers, e2e.Orphaned, "%d thumbnails, at most %d expected: %v",
		len(disk.Unnamed), leftovers, disk.Unnamed)
	a.RequireNone(w.tb, "cameras, database, disk and AI services do not agree")
	return run.Ledger, disk
}

func undisturbed(r *e2e.Run) { r.Undisturbed = true }

// finish wants that all is accounted for and that the server's own check finds nothing, and stops
// it.
func (w *world) finish(leftovers int, options ...func(*e2e.Run)) {
	w.tb.Helper()
	w.requireAccounted(leftovers, options...)
	w.run("check")
	w.stop()
}

// never is a time that was not measured because the fault does not show, or nobody waited for it.
const never = time.Duration(-1)

// measured prints how long things took. Nothing is asked of it: that depends on the machine.
func measured(tb testing.TB, fault, promise string, detected, recovered time.Duration) {
	tb.Helper()
	tb.Logf("fault=%s promise=%q detected=%s recovered=%s", fault, promise, inSeconds(detected),
		inSeconds(recovered))
}

func inSeconds(d time.Duration) string {
	if d == never {
		return "-"
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}
