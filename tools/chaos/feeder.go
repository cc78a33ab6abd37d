package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/pipeline/aitest"
)

const (
	// poisonName begins the names of pictures that the detector refuses.
	poisonName = "POISON"
	// perFolder is how many pictures a camera puts into one folder below its own.
	perFolder = 400
	// retryWrite is the pause of a camera whose folder is away.
	retryWrite = 50 * time.Millisecond
)

// feeder lets all cameras write.
type feeder struct {
	*e2e.Cameras

	seed uint64
	// total is how many files are to be written, patient whether some may be such that the server
	// waits for minutes.
	total   int
	patient bool
	// progress tells which part of the run is over, from 0 to 1: the cameras keep in step with the
	// faults.
	progress func() float64

	written, again atomic.Int64
}

// run lets all cameras write until they are done.
func (f *feeder) run(ctx context.Context) error {
	list := e2e.SixCameras()
	for _, c := range list {
		if err := os.MkdirAll(f.Path(c, ""), 0o755); err != nil { //nolint:gosec // a folder of this run
			return err
		}
	}
	var writing sync.WaitGroup
	errs := make([]error, len(list))
	share := (f.total + len(list) - 1) / len(list)
	for i, c := range list {
		cam := &camera{
			feeder: f, Camera: c, number: i, share: share,
			random: random(f.seed, uint64(100+i)),
		}
		writing.Go(func() { errs[i] = cam.run(ctx) })
	}
	writing.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// random makes one of the run's streams of random numbers.
func random(seed, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, stream)) //nolint:gosec // repeatable on purpose
}

// camera is one camera. Its slow uploads go on while it takes the next pictures.
type camera struct {
	*feeder
	e2e.Camera

	number, share int
	random        *rand.Rand
	count         int // files begun
	// shots are its pictures so far, with their bytes for a while.
	shots []*shot
	slow  sync.WaitGroup
}

// shot is a picture that a camera took.
type shot struct {
	*e2e.Shot

	data []byte
	// done says that the upload has ended.
	done atomic.Bool
}

// run writes the camera's share, in step with the run: sometimes one by one, sometimes many at
// once.
func (c *camera) run(ctx context.Context) error {
	defer c.slow.Wait()
	for n := 0; n < c.share; {
		burst := 1
		if c.random.IntN(12) == 0 {
			burst += c.random.IntN(15)
		}
		pause := time.Duration(c.random.IntN(40)) * time.Millisecond
		for range min(burst, c.share-n) {
			if err := c.next(ctx, n); err != nil {
				return err
			}
			n++
		}
		due := func() bool { return n >= c.share || float64(n) < float64(c.share)*c.progress() }
		if !e2e.Wait(ctx, pause) || !e2e.Until(ctx, 20*time.Millisecond, due) {
			return ctx.Err()
		}
	}
	return nil
}

// next writes the picture number n, and sometimes an earlier one again under its own name.
func (c *camera) next(ctx context.Context, n int) error {
	name := fmt.Sprintf("IMG_%06d.jpg", n)
	roll := c.random.IntN(1000)
	seed := uint64(c.number)<<32 | uint64(n) //nolint:gosec // small
	switch {
	case roll < 40 && len(c.shots) > 0: // the same bytes under another name
		earlier := c.shots[c.random.IntN(len(c.shots))]
		copied := *earlier.Shot
		return c.write(ctx, &shot{Shot: &copied, data: earlier.data}, name)
	case roll < 50:
		text := fmt.Appendf(nil, "this is no picture but note %d of camera %s", n, c.ID)
		return c.write(ctx, c.take(text, "not_an_image"), name)
	case roll < 60:
		return c.write(ctx, c.take(bomb(seed), "too_many_pixels"), fmt.Sprintf("IMG_%06d.png", n))
	case roll < 65 && c.patient && c.progress() < 0.9:
		whole := aitest.Picture(seed)
		return c.write(ctx, c.take(whole[:len(whole)*2/3], "truncated"), name)
	case roll < 70:
		poisoned := c.take(aitest.Picture(seed, c.objects(true)...), "")
		poisoned.Poison, poisoned.Kept = true, nil
		return c.write(ctx, poisoned, fmt.Sprintf("%s_%06d.jpg", poisonName, n))
	}
	taken := c.take(aitest.Picture(seed, c.objects(roll >= 250)...), "")
	if err := c.write(ctx, taken, name); err != nil {
		return err
	}
	c.remember(taken)
	if c.random.IntN(25) > 0 {
		return nil
	}
	return c.writeAgain(ctx, c.shots[c.random.IntN(len(c.shots))])
}

// remember keeps the bytes of the latest pictures for uploads that are repeated.
func (c *camera) remember(taken *shot) {
	const latest = 40
	c.shots = append(c.shots, taken)
	if len(c.shots) > latest {
		c.shots = c.shots[1:]
	}
}

func (c *camera) take(data []byte, broken string) *shot {
	return &shot{Shot: e2e.NewShot(c.Camera, "", data, broken), data: data}
}

// objects draws what is to be seen: up to three objects, of which at least one reaches the
// threshold when some is wanted.
func (c *camera) objects(some bool) (list []aitest.Detection) {
	kinds := [...]string{"person", "car", "truck", "dog", "cat", "bicycle"}
	count := c.random.IntN(3)
	if some {
		count++
	}
	for i := range count {
		d := aitest.Detection{
			Class: kinds[c.random.IntN(len(kinds))], Confidence: math.Round(1e4*(0.50+0.09*c.random.Float64())) / 1e4,
			Box: aitest.Box{
				X: c.random.IntN(220), Y: c.random.IntN(100),
				Width: 10 + c.random.IntN(80), Height: 25 + c.random.IntN(45),
			},
		}
		if some && (i == 0 || c.random.IntN(3) > 0) {
			d.Confidence = math.Round(1e4*(e2e.Threshold+0.4*c.random.Float64())) / 1e4
		}
		list = append(list, d)
	}
	return list
}

// write brings a new picture into the camera's folder and notes it when it is there. Broken ones
// come at once, so that no part of them is taken for another broken one.
func (c *camera) write(ctx context.Context, s *shot, name string) error {
	s.Path = c.Path(c.Camera, filepath.Join(fmt.Sprintf("part %d", c.count/perFolder),
		name))
	c.count++
	how := c.random.IntN(3)
	stall := time.Duration(c.random.IntN(1500)) * time.Millisecond
	note := func() {
		s.done.Store(true)
		c.written.Add(1)
		c.Note(s.Shot)
	}
	switch {
	case how == 0 && s.Broken == "":
		c.slow.Go(func() {
			if c.inPieces(ctx, s, stall) == nil {
				note()
			}
		})
		return nil
	case how == 1 && s.Broken == "":
		stall = 0
		if err := c.inPieces(ctx, s, stall); err != nil {
			return err
		}
	default:
		if err := c.renamed(ctx, s); err != nil {
			return err
		}
	}
	note()
	return nil
}

// writeAgain repeats an upload under its own name, as clients do that missed the answer.
func (c *camera) writeAgain(ctx context.Context, s *shot) error {
	if !s.done.Load() { // two writers of one file would make a third image of it
		return nil
	}
	c.again.Add(1)
	if c.random.IntN(2) == 0 {
		return c.inPieces(ctx, s, 20*time.Millisecond)
	}
	return c.renamed(ctx, s)
}

// inPieces writes the first half, waits, and writes the second. It tries again while the folder is
// away.
func (c *camera) inPieces(ctx context.Context, s *shot, stall time.Duration) error {
	var finish func() error
	err := c.whenThere(ctx, s, func() (err error) {
		finish, err = e2e.WriteHalf(s.Path, s.data)
		return err
	})
	if err != nil {
		return err
	}
	whole := stall == 0 || e2e.Wait(ctx, stall)
	if err := finish(); err != nil || whole {
		return err
	}
	return ctx.Err() // the run is over
}

// renamed writes under a temporary name and renames. It tries again while the folder is away.
func (c *camera) renamed(ctx context.Context, s *shot) error {
	return c.whenThere(ctx, s,
		func() error { return e2e.WriteRenamed(s.Path, s.data, time.Time{}) })
}

// whenThere repeats what fails while a folder is away. The camera's own folder is never made anew.
func (c *camera) whenThere(ctx context.Context, s *shot, do func() error) error {
	var err error
	ok := e2e.Until(ctx, retryWrite, func() bool {
		if err = os.Mkdir(filepath.Dir(s.Path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as above
			return !errors.Is(err, fs.ErrNotExist)
		}
		err = do()
		return err == nil || !errors.Is(err, fs.ErrNotExist)
	})
	if !ok {
		return ctx.Err()
	}
	return err
}

// bomb is a PNG that says that it has four billion pixels. The number makes it unique.
func bomb(number uint64) []byte {
	const width, height = 1 << 16, 1 << 16
	chunk := func(kind string, data []byte) []byte {
		out := binary.BigEndian.AppendUint32(nil, uint32(len(data))) //nolint:gosec // a few bytes
		body := append([]byte(kind), data...)
		return binary.BigEndian.AppendUint32(append(out, body...), crc32.ChecksumIEEE(body))
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	out := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", append(head, 8, 2, 0, 0, 0))...)
	out = append(out, chunk("tEXt", fmt.Appendf(nil, "number\x00%d", number))...)
	return append(out, chunk("IEND", nil)...)
}
