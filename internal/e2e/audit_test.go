package e2e

import (
	"bytes"
	"database/sql"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// made is a run without a fault, made up: two pictures in one event, one of nothing, one
// duplicate, one broken, one refused.
type made struct {
	Run

	root string // of the thumbnails
}

var moment = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func text(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
func id(n int64) sql.NullInt64     { return sql.NullInt64{Int64: n, Valid: n != 0} }

func makeUp(t *testing.T) *made {
	t.Helper()
	person := aitest.Detection{
		Class: "person", Confidence: 0.91,
		Box: aitest.Box{X: 1, Y: 2, Width: 30, Height: 40},
	}
	car := aitest.Detection{
		Class: "car", Confidence: 0.7031,
		Box: aitest.Box{X: 5, Y: 6, Width: 70, Height: 80},
	}
	m := &made{Run: Run{Ledger: &Ledger{}, Repeated: true}, root: t.TempDir()}
	garage := Camera{"Garage", "garage"}
	answered := aitest.Call{StartedAt: moment, EndedAt: moment.Add(time.Second), Status: 200}
	file := func(name, hash, state, reason string, batch int64, change func(s *Shot)) {
		s := &Shot{Camera: garage, Path: "/c/" + name, SHA256: hash, Size: 10}
		change(s)
		m.Shots = append(m.Shots, s)
		m.Ledger.Images = append(m.Ledger.Images, Image{
			ID: int64(len(m.Shots)), CameraID: "garage", FilePath: s.Path, SHA256: text(hash), SizeBytes: 10, State: state,
			Reason: text(reason), BatchID: id(batch), ModTime: moment, SeenAt: moment, Attempts: 1,
		})
		if s.Broken == "" && reason != "duplicate" && !s.Poison {
			m.Detected = append(m.Detected, aitest.DetectCall{Call: answered, SHA256: hash})
		}
	}
	file("a.jpg", "aa", "analyzed", "", 7,
		func(s *Shot) { s.Kept = []aitest.Detection{person, car} })
	file("b.jpg", "bb", "analyzed", "", 7, func(s *Shot) { s.Kept = []aitest.Detection{car} })
	file("nothing.jpg", "cc", "filtered", "no_detections", 0, func(*Shot) {})
	file("again.jpg", "aa", "filtered", "duplicate", 0,
		func(s *Shot) { s.Kept = []aitest.Detection{person, car} })
	file("text.jpg", "dd", "filtered", "not_an_image", 0,
		func(s *Shot) { s.Broken = "not_an_image" })
	file("poison.jpg", "ee", "dead_lettered", "refused", 0, func(s *Shot) { s.Poison = true })
	m.Detected = append(m.Detected,
		aitest.DetectCall{Call: aitest.Call{EndedAt: moment, Status: 400}, SHA256: "ee"})
	for i, d := range []aitest.Detection{person, car, car} {
		number := int64(1 + i/2)
		thumbnail := fmt.Sprintf("ab/%d.jpg", i)
		m.Ledger.Detections = append(m.Ledger.Detections, Detection{
			ID: int64(i + 1), CameraID: "garage", ImageID: id(number), BatchID: id(7), EventID: id(3), FilePath: m.Shots[number-1].Path,
			FileType: "image/jpeg", Detector: "rtdetr", DetectedAt: moment,
			ObjectType: d.Class, Confidence: d.Confidence, X: d.Box.X, Y: d.Box.Y, Width: d.Box.Width, Height: d.Box.Height,
			Thumbnail: text(thumbnail),
		})
		m.write(t, thumbnail, redThumbnail(t))
	}
	m.Ledger.Batches = []Batch{{
		ID: 7, CameraID: "garage", State: "analyzed", EventID: id(3),
		ImageCount: 2, DetectionCount: 3,
	}}
	prompt := "Camera: \"Garage\"\nDetections:\n1. 12:00:00 person (confidence 0.91)\n2. 12:00:01 car (confidence 0.70)\n" +
		"3. 12:00:02 car (confidence 0.70)\n"
	verdict := aitest.Judge(prompt)
	m.Said = []aitest.CompletionCall{{
		Call: answered, Prompt: prompt, Verdict: verdict,
		HasSchema: true,
	}}
	m.Ledger.Events = []Event{{
		ID: 3, BatchID: "7", CameraID: "garage", RiskScore: verdict.RiskScore, RiskLevel: verdict.RiskLevel, Summary: verdict.Summary,
		Reasoning: verdict.Reasoning, Analyzer: "nemotron", StartedAt: moment, EndedAt: moment, CreatedAt: moment.Add(2 * time.Second),
	}}
	return m
}

var redThumbnail, whiteThumbnail = thumbnailOf(color.RGBA{R: 255, A: 255}), thumbnailOf(color.White)

// thumbnailOf draws a thumbnail in one colour.
func thumbnailOf(shade color.Color) func(t *testing.T) []byte {
	draw := sync.OnceValues(func() ([]byte, error) { return drawThumbnail(shade) })
	return func(t *testing.T) []byte {
		t.Helper()
		data, err := draw()
		require.NoError(t, err)
		return data
	}
}

func drawThumbnail(shade color.Color) ([]byte, error) {
	picture := image.NewRGBA(image.Rect(0, 0, 320, 240))
	draw.Draw(picture, picture.Bounds(), image.NewUniform(shade), image.Point{}, draw.Src)
	var encoded bytes.Buffer
	err := jpeg.Encode(&encoded, picture, nil)
	return encoded.Bytes(), err
}

func (m *made) write(t *testing.T, name string, data []byte) {
	t.Helper()
	path := filepath.Join(m.root, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o644))
}

// again adds another row of the first file.
func (m *made) again(of int, change func(row *Image)) {
	row := m.Ledger.Images[of]
	row.ID = 99
	change(&row)
	m.Ledger.Images = append(m.Ledger.Images, row)
}

func (m *made) kinds(t *testing.T) (found []string, disk Disk) {
	t.Helper()
	a := m.Audit()
	disk, err := a.Thumbnails(m.root)
	require.NoError(t, err)
	for _, f := range a.Findings {
		found = append(found, f.Kind)
	}
	slices.Sort(found)
	return slices.Compact(found), disk
}

func TestAudit_AllIsWell(t *testing.T) {
	t.Parallel()
	m := makeUp(t)
	m.Undisturbed, m.Repeated = true, false
	m.Shots[3].Again = true
	m.Shots, m.Ledger.Images, m.Detected = m.Shots[:5], m.Ledger.Images[:5], m.Detected[:3] // without the refused one
	a := m.Audit()
	a.RequireNone(t, "findings")
	require.Equal(t, map[string]int{
		"in one event": 2, "filtered: no_detections": 1, "filtered: duplicate": 1, "filtered: not_an_image": 1,
	}, a.Outcomes)
	found, disk := m.kinds(t)
	require.Empty(t, found)
	require.Empty(t, disk.Unnamed)
	require.EqualValues(t, 3, disk.Files)
	require.Positive(t, disk.Bytes)
}

func TestAudit_AllowsWhatMayBe(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m *made){
		"one is refused": func(*made) {},
		"the duplicate was recorded first": func(m *made) {
			m.Ledger.Images[0].FilePath, m.Ledger.Images[3].FilePath = m.Ledger.Images[3].FilePath, m.Ledger.Images[0].FilePath
			for i := range 2 {
				m.Ledger.Detections[i].FilePath = m.Shots[3].Path
			}
		},
		"replaced while it was uploaded again": func(m *made) {
			m.again(0, func(row *Image) {
				row.State, row.Reason, row.BatchID = "filtered",
					text("replaced"), id(0)
			})
		},
		"under a new time, recorded by two servers": func(m *made) {
			m.again(0, func(row *Image) {
				row.State, row.Reason, row.BatchID = "filtered",
					text("duplicate"), id(0)
			})
		},
		"asked twice, because of a crash": func(m *made) {
			second := m.Said[0]
			second.StartedAt = second.StartedAt.Add(time.Hour)
			m.Said = append([]aitest.CompletionCall{second}, m.Said...)
		},
		"the clock of the database was set back": func(m *made) {
			m.ClockSet = true
			m.Ledger.Events[0].CreatedAt = moment.Add(-time.Hour)
		},
	} {
		m := makeUp(t)
		change(m)
		found, _ := m.kinds(t)
		require.Empty(t, found, name)
	}
}

func TestAudit_FindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want  string // one of the findings
		spoil func(m *made)
	}{
		"no row": {Lost, func(m *made) { m.Ledger.Images = m.Ledger.Images[:5] }},
		"only a replaced row": {
			Lost,
			func(m *made) { m.Ledger.Images[2].Reason = text("replaced") },
		},
		"gone though it is there": {
			Lost,
			func(m *made) { m.Ledger.Images[2].Reason = text("file_gone") },
		},
		"still queued":          {Lost, func(m *made) { m.Ledger.Images[2].State, m.Ledger.Images[2].Reason = "queued", text("") }},
		"expired, though young": {Lost, func(m *made) { m.Ledger.Images[2].State, m.Ledger.Images[2].Reason = "expired", text("") }},
		"still batched":         {Lost, func(m *made) { m.Ledger.Images[0].State = "batched" }},
		"only duplicates":       {Lost, func(m *made) { m.Ledger.Images[0].State, m.Ledger.Images[0].Reason = "filtered", text("duplicate") }},
		"seen, counts as empty": {Lost, func(m *made) { m.Ledger.Images[1].State, m.Ledger.Images[1].Reason = "filtered", text("no_detections") }},
		"a detection missing": {
			Lost,
			func(m *made) { m.Ledger.Detections = m.Ledger.Detections[1:] },
		},
		"analyzed without event": {Lost, func(m *made) { m.Ledger.Batches[0].EventID = id(0) }},
		"event row missing":      {Lost, func(m *made) { m.Ledger.Events = nil }},
		"batch still open":       {Lost, func(m *made) { m.Ledger.Batches[0].State = "open" }},
		"two rows of one file":   {Doubled, func(m *made) { m.again(2, func(*Image) {}) }},
		"two rows, one a duplicate": {Doubled, func(m *made) {
			m.Repeated = false
			m.again(0, func(row *Image) {
				row.State, row.Reason, row.BatchID = "filtered",
					text("duplicate"), id(0)
			})
		}},
		"a duplicate taken for an image": {
			Doubled,
			func(m *made) { m.Ledger.Images[3].Reason = text("no_detections") },
		},
		"a detection twice": {Doubled, func(m *made) {
			second := m.Ledger.Detections[0]
			second.ID, second.Thumbnail = 99, text("ab/x.jpg")
			m.Ledger.Detections = append(m.Ledger.Detections, second)
		}},
		"an image in two batches": {
			Doubled,
			func(m *made) { m.Ledger.Detections[0].BatchID = id(8) },
		},
		"two events of a batch": {Doubled, func(m *made) {
			second := m.Ledger.Events[0]
			second.ID = 99
			m.Ledger.Events = append(m.Ledger.Events, second)
		}},
		"one thumbnail for two": {
			Doubled,
			func(m *made) { m.Ledger.Detections[1].Thumbnail = m.Ledger.Detections[0].Thumbnail },
		},
		"invented score": {
			Invented,
			func(m *made) { m.Ledger.Events[0].RiskScore = (m.Ledger.Events[0].RiskScore + 1) % 101 },
		},
		"invented level": {
			Invented,
			func(m *made) { m.Ledger.Events[0].RiskLevel = "sure" },
		},
		"invented summary": {
			Invented,
			func(m *made) { m.Ledger.Events[0].Summary = "all quiet" },
		},
		"scored by somebody else": {
			Invented,
			func(m *made) { m.Ledger.Events[0].Analyzer = "rules" },
		},
		"stored before it was said": {
			Invented,
			func(m *made) { m.Ledger.Events[0].CreatedAt = moment.Add(-time.Second) },
		},
		"answer of an outage": {
			Invented,
			func(m *made) { m.Said[0].Behaviour = "truncated" },
		},
		"an outage of the detector": {
			Invented,
			func(m *made) { m.Detected[0].Behaviour = "loading" },
		},
		"other detections asked about": {
			Invented,
			func(m *made) { m.Ledger.Detections[0].Confidence = 0.92 },
		},
		"another camera asked about": {
			Invented,
			func(m *made) {
				m.Shots[0].Camera.Folder, m.Shots[5].Camera.Folder = "Attic",
					"Attic"
			},
		},
		"recorded but never written": {Wrong, func(m *made) { m.Shots = m.Shots[:5] }},
		"other bytes": {
			Wrong,
			func(m *made) { m.Ledger.Images[2].SHA256 = text("xx") },
		},
		"wrong reason": {
			Wrong,
			func(m *made) { m.Ledger.Images[4].Reason = text("truncated") },
		},
		"no reason": {
			Wrong,
			func(m *made) { m.Ledger.Images[4].Reason = text("") },
		},
		"not the one written again": {Wrong, func(m *made) { m.Shots[0].Again = true }},
		"no cause": {
			Wrong,
			func(m *made) { m.Ledger.Images[5].Reason = text("") },
		},
		"given up without need": {
			Wrong,
			func(m *made) { m.Ledger.Images[2].State = "dead_lettered" },
		},
		"filtered and in a batch": {
			Wrong,
			func(m *made) { m.Ledger.Images[2].BatchID = id(7) },
		},
		"replaced by nobody": {Wrong, func(m *made) {
			m.Repeated = false
			m.again(0, func(row *Image) {
				row.State, row.Reason, row.BatchID = "filtered",
					text("replaced"), id(0)
			})
		}},
		"wrong count":            {Wrong, func(m *made) { m.Ledger.Batches[0].ImageCount = 3 }},
		"event of no batch":      {Wrong, func(m *made) { m.Ledger.Events[0].BatchID = "8" }},
		"event of another batch": {Wrong, func(m *made) { m.Ledger.Detections[0].EventID = id(4) }},
		"wrong end of an event": {
			Wrong,
			func(m *made) { m.Ledger.Events[0].EndedAt = moment.Add(time.Second) },
		},
		"detected at no time": {
			Wrong,
			func(m *made) { m.Ledger.Detections[0].DetectedAt = moment.Add(time.Second) },
		},
		"found by somebody else": {
			Wrong,
			func(m *made) { m.Ledger.Detections[0].Detector = "motion" },
		},
		"tried twice":            {Wrong, func(m *made) { m.Undisturbed, m.Ledger.Images[0].Attempts = true, 2 }},
		"sent twice":             {Misbehaving, func(m *made) { m.Undisturbed, m.Detected = true, append(m.Detected, m.Detected[0]) }},
		"asked twice":            {Misbehaving, func(m *made) { m.Undisturbed, m.Said = true, append(m.Said, m.Said[0]) }},
		"asked without a schema": {Misbehaving, func(m *made) { m.Said[0].HasSchema = false }},
		"badly asked":            {Misbehaving, func(m *made) { m.Detected[0].Status = 400 }},
		"sent though broken":     {Misbehaving, func(m *made) { m.Detected[0].SHA256 = "dd" }},
		"sent though unknown": {
			Misbehaving,
			func(m *made) { m.Detected = append(m.Detected, aitest.DetectCall{SHA256: "ff"}) },
		},
		"no thumbnail": {
			Dangling,
			func(m *made) { require.NoError(t, os.Remove(filepath.Join(m.root, "ab/1.jpg"))) },
		},
		"no thumbnail named": {
			Dangling,
			func(m *made) { m.Ledger.Detections[1].Thumbnail = text("") },
		},
		"half a thumbnail": {
			Dangling,
			func(m *made) { m.write(t, "ab/1.jpg", whiteThumbnail(t)[:500]) },
		},
		"no box in it": {
			Dangling,
			func(m *made) { m.write(t, "ab/1.jpg", whiteThumbnail(t)) },
		},
	} {
		m := makeUp(t)
		c.spoil(m)
		found, _ := m.kinds(t)
		require.Contains(t, found, c.want, name)
	}
}

func TestAudit_ListsFilesOfNoRow(t *testing.T) {
	t.Parallel()
	m := makeUp(t)
	for _, name := range []string{"ab/orphan.jpg", "cd/.tmp-1", ".hsi-marker"} {
		m.write(t, name, nil)
	}
	found, disk := m.kinds(t)
	require.Empty(t, found)
	require.Equal(t, []string{"ab/orphan.jpg", "cd/.tmp-1"}, disk.Unnamed)
	paths, err := FilesBelow(filepath.Join(m.root, "missing"))
	require.NoError(t, err)
	require.Empty(t, paths)
}

func TestDescribes_LongBatches(t *testing.T) {
	t.Parallel()
	prompt := "1. 10:00:00 car (confidence 0.70)\n2. 10:00:01 dog (confidence 0.65)\nand 2 more: 2 persons\n"
	require.True(t, describes(prompt,
		[]string{"person 0.90", "person 0.91", "dog 0.65", "car 0.70"}))
	require.False(t, describes(prompt, []string{"person 0.90", "dog 0.65", "car 0.70"}))
	require.False(t, describes(prompt,
		[]string{"person 0.90", "person 0.91", "dog 0.66", "car 0.70"}))
}
