package detect_test

import (
	"context"
	"image"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/detect"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// An image that always makes the service answer nonsense, or refuse, is given up with the cause;
// the others pass, and the service is not taken for dead over it.
func TestWorker_PoisonAmongGoodImages(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		poison aitest.Behaviour
		cause  string
	}{
		"NaN":            {aitest.NaNConfidence(), "failed 5 times: bad reply of the detector: read reply: "},
		"box outside":    {aitest.BoxAt(aitest.Box{X: 900, Y: 10, Width: 5, Height: 5}), "failed 5 times: bad reply of the detector: detection 0: box outside of the image"},
		"too sure":       {aitest.Confidence(1.5), "failed 5 times: bad reply of the detector: detection 0: confidence is not between 0 and 1"},
		"status 500":     {aitest.Status(500), "failed 5 times: bad reply of the detector: status 500"},
		"refused":        {aitest.Status(422), "refused by rtdetr: status 422"},
		"too large":      {aitest.Status(413), "refused by rtdetr: status 413"},
		"truncated JSON": {aitest.Truncated(), "failed 5 times: bad reply of the detector: read reply: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, server := setup(t), aitest.NewRTDETR(t)
			poisoned, path := f.add(aitest.Picture(1, person(10)))
			server.SetBehaviour(aitest.Behaviour{Name: "poison", Answer: func(w http.ResponseWriter, x *aitest.Exchange) {
				if x.Subject == filepath.Base(path) {
					test.poison.Answer(w, x)
					return
				}
				x.Honest.Send(w)
			}})
			detector := newRTDETR(t, server.URL())
			f.run(detector, 1)
			// Good images come and go between the attempts.
			for i := range 12 {
				good, _ := f.add(aitest.Picture(uint64(10+i), person(20)))
				f.wait(good, store.ImageBatched)
				storetest.Exec(t, f.ledger.DB, `UPDATE images SET next_attempt_at = now() WHERE id = $1 AND state = 'seen'`, poisoned)
			}
			require.Contains(t, *f.wait(poisoned, store.ImageDeadLettered).Reason, test.cause)
			require.Empty(t, detector.Trouble())
			require.Equal(t, 12, f.count(`SELECT count(*) FROM images WHERE state = 'batched' AND attempts = 1`))
			require.Zero(t, f.count(`SELECT count(*) FROM detections WHERE image_id = $1`, poisoned))
		})
	}
}

// What PostgreSQL says names tables and quotes rows; the cause, which everybody may read, is in our
// own words. One image that it does not take spoils no other.
func TestWorker_TheCauseHasNoWordsOfTheDatabase(t *testing.T) {
	t.Parallel()
	for statement, cause := range map[string]string{
		`ALTER TABLE detections ADD CONSTRAINT inner_words CHECK (file_path NOT LIKE '%0001.jpg')`: "store the result: the database refused it: invalid value",
		`CREATE FUNCTION inner_words() RETURNS trigger LANGUAGE plpgsql AS
		 'BEGIN IF NEW.file_path LIKE ''%0001.jpg'' THEN RAISE EXCEPTION ''inner_words''; END IF; RETURN NEW; END';
		 CREATE TRIGGER inner_words BEFORE INSERT ON detections FOR EACH ROW EXECUTE FUNCTION inner_words()`: "failed 5 times: store the result: the database refused it",
	} {
		f := setup(t)
		f.atOnce = 4
		bad, _ := f.add(aitest.Picture(1))
		good, _ := f.add(aitest.Picture(2))
		storetest.Exec(t, f.ledger.DB, `UPDATE images SET attempts = 4`)
		storetest.Exec(t, f.ledger.DB, statement)
		stop := f.run(scripted(func(context.Context, *detect.Image) ([]detect.Detection, error) {
			return []detect.Detection{{ObjectType: "person", Confidence: 0.9, Box: image.Rect(1, 1, 20, 20)}}, nil
		}), 1)
		require.Equal(t, cause, *f.wait(bad, store.ImageDeadLettered).Reason)
		f.wait(good, store.ImageBatched)
		stop()
		require.Empty(t, storetest.Query[string](t, f.ledger.DB, `SELECT last_error FROM images WHERE last_error LIKE '%inner_words%'`))
	}
}
