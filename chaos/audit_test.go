package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// made is a run without a fault, made up: two pictures in one event, one of nothing, one duplicate, one broken, one refused.
type made struct {
	files  []*fed
	ledger *ledger
	said   map[string]spoken
	disk   *disk
}

var moment = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func text(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
func id(n int64) sql.NullInt64     { return sql.NullInt64{Int64: n, Valid: n != 0} }

func makeUp() *made {
	person := aitest.Detection{Class: "person", Confidence: 0.91, Box: aitest.Box{X: 1, Y: 2, Width: 30, Height: 40}}
	car := aitest.Detection{Class: "car", Confidence: 0.7031, Box: aitest.Box{X: 5, Y: 6, Width: 70, Height: 80}}
	m := &made{ledger: &ledger{batches: map[int64]*batchRow{}, cameras: map[string]string{"garage": "Garage"}}, disk: &disk{files: map[string]string{}}}
	file := func(name, hash, state, reason string, batch int64, change func(f *fed)) {
		f := &fed{camera: "garage", path: "/c/" + name, sha256: hash, size: 10}
		change(f)
		m.files = append(m.files, f)
		m.ledger.images = append(m.ledger.images, imageRow{
			ID: int64(len(m.files)), CameraID: "garage", FilePath: f.path, SHA256: text(hash), SizeBytes: 10, State: state, Reason: text(reason), BatchID: id(batch),
		})
	}
	file("a.jpg", "aa", "analyzed", "", 7, func(f *fed) { f.kept = []aitest.Detection{person, car} })
	file("b.jpg", "bb", "analyzed", "", 7, func(f *fed) { f.kept = []aitest.Detection{car} })
	file("nothing.jpg", "cc", "filtered", "no_detections", 0, func(*fed) {})
	file("again.jpg", "aa", "filtered", "duplicate", 0, func(f *fed) { f.kept = []aitest.Detection{person, car} })
	file("text.jpg", "dd", "filtered", "not_an_image", 0, func(f *fed) { f.broken = "not_an_image" })
	file("poison.jpg", "ee", "dead_lettered", "refused", 0, func(f *fed) { f.poison = true })
	for i, d := range []aitest.Detection{person, car, car} {
		image := int64(1 + i/2)
		thumbnail := fmt.Sprintf("ab/%d.jpg", i)
		m.disk.files[thumbnail] = ""
		m.ledger.detections = append(m.ledger.detections, detectionRow{
			ID: int64(i + 1), CameraID: "garage", ImageID: id(image), BatchID: id(7), EventID: id(3), FilePath: m.files[image-1].path,
			ObjectType: d.Class, Confidence: d.Confidence, X: d.Box.X, Y: d.Box.Y, Width: d.Box.Width, Height: d.Box.Height, Thumbnail: text(thumbnail),
		})
	}
	m.ledger.batches[7] = &batchRow{ID: 7, CameraID: "garage", State: "analyzed", EventID: id(3), ImageCount: 2, DetectionCount: 3}
	prompt := "Camera: \"Garage\"\nDetections:\n1. 12:00:00 person (confidence 0.91)\n2. 12:00:01 car (confidence 0.70)\n3. 12:00:02 car (confidence 0.70)\n"
	verdict := aitest.Judge(prompt)
	m.said = verdicts([]aitest.CompletionCall{{
		Call: aitest.Call{StartedAt: moment, EndedAt: moment.Add(time.Second), Status: 200}, Prompt: prompt, Verdict: verdict,
	}})
	m.ledger.events = []eventRow{{
		ID: 3, BatchID: "7", CameraID: "garage", RiskScore: verdict.RiskScore, RiskLevel: verdict.RiskLevel, Summary: verdict.Summary,
		Reasoning: verdict.Reasoning, Analyzer: "nemotron", CreatedAt: moment.Add(2 * time.Second),
	}}
	return m
}

func (m *made) audit() (found []string, unnamed []string) {
	a := compare(m.files, m.ledger, m.said)
	unnamed = a.thumbnails(m.ledger, m.disk)
	for _, f := range a.findings {
		found = append(found, f.kind)
	}
	slices.Sort(found)
	return slices.Compact(found), unnamed
}

func TestAudit_AllIsWell(t *testing.T) {
	t.Parallel()
	m := makeUp()
	a := compare(m.files, m.ledger, m.said)
	require.Empty(t, a.findings)
	require.Equal(t, map[string]int{
		"in one event": 2, "filtered: no_detections": 1, "filtered: duplicate": 1, "filtered: not_an_image": 1, "given up with a cause": 1,
	}, a.outcomes)
	found, unnamed := m.audit()
	require.Empty(t, found)
	require.Empty(t, unnamed)
}

func TestAudit_AllowsWhatMayBe(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m *made){
		"the duplicate was recorded first": func(m *made) {
			m.ledger.images[0].FilePath, m.ledger.images[3].FilePath = m.ledger.images[3].FilePath, m.ledger.images[0].FilePath
			for i := range 2 {
				m.ledger.detections[i].FilePath = m.files[3].path
			}
		},
		"replaced while it was uploaded again": func(m *made) {
			replaced := m.ledger.images[0]
			replaced.ID, replaced.State, replaced.Reason, replaced.BatchID = 99, "filtered", text("replaced"), id(0)
			m.ledger.images = append(m.ledger.images, replaced)
		},
		"under a new time, recorded by two servers": func(m *made) {
			again := m.ledger.images[0]
			again.ID, again.State, again.Reason, again.BatchID = 99, "filtered", text("duplicate"), id(0)
			m.ledger.images = append(m.ledger.images, again)
		},
		"expired": func(m *made) { m.ledger.images[2].State, m.ledger.images[2].Reason = "expired", text("") },
		"asked twice, because of a crash": func(m *made) {
			for summary, answer := range m.said {
				call := aitest.CompletionCall{Call: aitest.Call{StartedAt: answer.at.Add(time.Hour), Status: 200}, Prompt: answer.prompt, Verdict: answer.verdict}
				m.said = verdicts([]aitest.CompletionCall{call, {Call: aitest.Call{StartedAt: answer.at, Status: 200}, Prompt: answer.prompt, Verdict: answer.verdict}})
				require.Equal(t, answer, m.said[summary])
			}
		},
	} {
		m := makeUp()
		change(m)
		found, _ := m.audit()
		require.Empty(t, found, name)
	}
}

func TestAudit_FindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want  string // one of the findings
		spoil func(m *made)
	}{
		"no row":                  {lost, func(m *made) { m.ledger.images = m.ledger.images[:5] }},
		"only a replaced row":     {lost, func(m *made) { m.ledger.images[2].Reason = text("replaced") }},
		"gone though it is there": {lost, func(m *made) { m.ledger.images[2].Reason = text("file_gone") }},
		"still queued":            {lost, func(m *made) { m.ledger.images[2].State, m.ledger.images[2].Reason = "queued", text("") }},
		"still batched":           {lost, func(m *made) { m.ledger.images[0].State = "batched" }},
		"only duplicates":         {lost, func(m *made) { m.ledger.images[0].State, m.ledger.images[0].Reason = "filtered", text("duplicate") }},
		"seen, counts as empty":   {lost, func(m *made) { m.ledger.images[1].State, m.ledger.images[1].Reason = "filtered", text("no_detections") }},
		"a detection missing":     {lost, func(m *made) { m.ledger.detections = m.ledger.detections[1:] }},
		"analyzed without event":  {lost, func(m *made) { m.ledger.batches[7].EventID = id(0) }},
		"event row missing":       {lost, func(m *made) { m.ledger.events = nil }},
		"batch still open":        {lost, func(m *made) { m.ledger.batches[7].State = "open" }},
		"two rows of one file": {doubled, func(m *made) {
			second := m.ledger.images[2]
			second.ID = 99
			m.ledger.images = append(m.ledger.images, second)
		}},
		"a duplicate taken for an image": {doubled, func(m *made) { m.ledger.images[3].Reason = text("no_detections") }},
		"a detection twice": {doubled, func(m *made) {
			second := m.ledger.detections[0]
			second.ID, second.Thumbnail = 99, text("ab/x.jpg")
			m.ledger.detections = append(m.ledger.detections, second)
		}},
		"an image in two batches": {doubled, func(m *made) { m.ledger.detections[0].BatchID = id(8) }},
		"two events of a batch": {doubled, func(m *made) {
			second := m.ledger.events[0]
			second.ID = 99
			m.ledger.events = append(m.ledger.events, second)
		}},
		"one thumbnail for two":     {doubled, func(m *made) { m.ledger.detections[1].Thumbnail = m.ledger.detections[0].Thumbnail }},
		"invented score":            {invented, func(m *made) { m.ledger.events[0].RiskScore = (m.ledger.events[0].RiskScore + 1) % 101 }},
		"invented level":            {invented, func(m *made) { m.ledger.events[0].RiskLevel = "sure" }},
		"invented summary":          {invented, func(m *made) { m.ledger.events[0].Summary = "all quiet" }},
		"scored by somebody else":   {invented, func(m *made) { m.ledger.events[0].Analyzer = "rules" }},
		"stored before it was said": {invented, func(m *made) { m.ledger.events[0].CreatedAt = moment.Add(-time.Second) }},
		"answer of an outage": {invented, func(m *made) {
			m.said = verdicts([]aitest.CompletionCall{{Call: aitest.Call{StartedAt: moment, Status: 200, Behaviour: "truncated"}, Verdict: aitest.Verdict{Summary: m.ledger.events[0].Summary}}})
		}},
		"other detections asked about": {invented, func(m *made) { m.ledger.detections[0].Confidence = 0.92 }},
		"another camera asked about":   {invented, func(m *made) { m.ledger.cameras["garage"] = "Attic" }},
		"recorded but never written":   {wrong, func(m *made) { m.files = m.files[:5] }},
		"other bytes":                  {wrong, func(m *made) { m.ledger.images[2].SHA256 = text("xx") }},
		"wrong reason":                 {wrong, func(m *made) { m.ledger.images[4].Reason = text("truncated") }},
		"no reason":                    {wrong, func(m *made) { m.ledger.images[4].Reason = text("") }},
		"no cause":                     {wrong, func(m *made) { m.ledger.images[5].Reason = text("") }},
		"given up without need":        {wrong, func(m *made) { m.ledger.images[2].State = "dead_lettered" }},
		"filtered and in a batch":      {wrong, func(m *made) { m.ledger.images[2].BatchID = id(7) }},
		"wrong count":                  {wrong, func(m *made) { m.ledger.batches[7].ImageCount = 3 }},
		"event of no batch":            {wrong, func(m *made) { m.ledger.events[0].BatchID = "8" }},
		"event of another batch":       {wrong, func(m *made) { m.ledger.detections[0].EventID = id(4) }},
		"no thumbnail":                 {dangling, func(m *made) { delete(m.disk.files, "ab/1.jpg") }},
		"no thumbnail named":           {dangling, func(m *made) { m.ledger.detections[1].Thumbnail = text("") }},
		"half a thumbnail":             {dangling, func(m *made) { m.disk.files["ab/1.jpg"] = "unexpected EOF" }},
	} {
		m := makeUp()
		c.spoil(m)
		found, _ := m.audit()
		require.Contains(t, found, c.want, name)
	}
}

func TestAudit_ListsFilesOfNoRow(t *testing.T) {
	t.Parallel()
	m := makeUp()
	m.disk.files["ab/orphan.jpg"] = ""
	m.disk.temporary = []string{"cd/.tmp-1"}
	found, unnamed := m.audit()
	require.Empty(t, found)
	require.Equal(t, []string{"ab/orphan.jpg", "cd/.tmp-1"}, unnamed)
}

func TestReadDisk(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	whole := aitest.Picture(1)
	for name, data := range map[string][]byte{
		"ab/whole.jpg": whole, "ab/half.jpg": whole[:len(whole)/2], "cd/.tmp-0123": nil, ".hsi-marker": nil,
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), data, 0o644))
	}
	d, err := readDisk(root)
	require.NoError(t, err)
	require.Equal(t, []string{"cd/.tmp-0123"}, d.temporary)
	require.Len(t, d.files, 2)
	require.Empty(t, d.files["ab/whole.jpg"])
	require.NotEmpty(t, d.files["ab/half.jpg"])
	d, err = readDisk(filepath.Join(root, "missing"))
	require.NoError(t, err)
	require.Empty(t, d.files)
}

func TestDescribes_LongBatches(t *testing.T) {
	t.Parallel()
	prompt := "1. 10:00:00 car (confidence 0.70)\n2. 10:00:01 dog (confidence 0.65)\nand 2 more: 2 persons\n"
	require.True(t, describes(prompt, []string{"person 0.90", "person 0.91", "dog 0.65", "car 0.70"}))
	require.False(t, describes(prompt, []string{"person 0.90", "dog 0.65", "car 0.70"}))
	require.False(t, describes(prompt, []string{"person 0.90", "person 0.91", "dog 0.66", "car 0.70"}))
}
