package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/pipeline/aitest"
)

// Faults that do not touch readiness come and go beside the bursts.
const (
	detectorAway   kind = "detector refused"
	modelAway      kind = "model refused"
	detectorOdd    kind = "detector misbehaves"
	modelOdd       kind = "model misbehaves"
	oneOdd         kind = "one odd answer"
	cameraAway     kind = "a camera folder away"
	allCamerasAway kind = "all camera folders away"
)

// normal is what the AI services do between faults: they take a little time.
func normal(took time.Duration) aitest.Behaviour {
	return aitest.Behaviour{Answer: func(w http.ResponseWriter, x *aitest.Exchange) { // no name: the answer is honest
		if !e2e.Wait(x.Request.Context(), took) {
			panic(http.ErrAbortHandler)
		}
		x.Honest.Send(w)
	}}
}

// refusing is a behaviour that refuses the poisoned pictures whatever else it does.
func refusing(b aitest.Behaviour) aitest.Behaviour {
	return aitest.Behaviour{Name: b.Name, Answer: func(w http.ResponseWriter, x *aitest.Exchange) {
		if strings.HasPrefix(x.Subject, poisonName) {
			x.Fail(http.StatusBadRequest, "cannot decode this image").Send(w)
			return
		}
		b.Answer(w, x)
	}}
}

const (
	detectorTook = 10 * time.Millisecond
	modelTook    = 30 * time.Millisecond
)

// outages are ways in which both services fail for a while.
func outages() []aitest.Behaviour {
	return []aitest.Behaviour{
		aitest.Hang(), aitest.Status(http.StatusInternalServerError), aitest.Loading(), aitest.HTML(), aitest.Truncated(), aitest.Cut(),
		aitest.Empty(), aitest.Status(http.StatusBadGateway), aitest.Huge(5 << 20), aitest.Drip(100 * time.Millisecond),
	}
}

// oddImages and oddVerdicts are single answers that cannot be taken, or, of the model, from which
// the verdict must be picked.
func oddImages() []aitest.Behaviour {
	return []aitest.Behaviour{
		aitest.NaNConfidence(), aitest.Confidence(1.5), aitest.Confidence(-0.1), aitest.BoxAt(aitest.Box{X: 5000, Y: 5000, Width: 10, Height: 10}),
		aitest.BoxAt(aitest.Box{
			X: 10,
			Y: 10,
		}), aitest.WithoutDetections(), aitest.Truncated(), aitest.Status(http.StatusInternalServerError),
	}
}

func oddVerdicts() []aitest.Behaviour {
	return []aitest.Behaviour{
		aitest.TalksAround(), aitest.CodeFence(), aitest.TwoObjects(), aitest.TwoVerdicts(), aitest.Score("150"), aitest.Score("-3"),
		aitest.Score("null"), aitest.WrongLevel(), aitest.NoVerdict(), aitest.EmptyContent(), aitest.RunsOut(), aitest.WithoutContent(), aitest.Endless(),
	}
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// scripted is what the trouble needs of an AI service.
type scripted interface {
	Start()
	Stop()
	SetBehaviour(b aitest.Behaviour)
	SetHealth(b aitest.Behaviour)
	Script(next ...aitest.Behaviour)
}

// aiTrouble lets one AI service fail again and again until ctx ends, and leaves it well.
func (f *faultRunner) aiTrouble(ctx context.Context, r *rand.Rand, service scripted,
	took time.Duration, away, odd kind, answers []aitest.Behaviour,
) (err error) {
	defer catch(&err)
	well := func() {
		service.Start()
		service.SetHealth(aitest.Behaviour{})
		service.SetBehaviour(refusing(normal(took)))
	}
	well()
	defer well()
	for e2e.Wait(ctx, seconds(r, 1, 8)) {
		switch r.IntN(5) {
		case 0:
			service.Stop()
			f.noted(away)
		case 1, 2:
			b := pick(r, outages())
			service.SetBehaviour(refusing(b))
			service.SetHealth(b)
			f.noted(odd)
		default:
			for range 1 + r.IntN(3) {
				service.Script(refusing(pick(r, answers)))
				f.noted(oneOdd)
			}
			continue
		}
		e2e.Wait(ctx, seconds(r, 0.5, 7))
		well()
	}
	return nil
}

// cameraTrouble takes camera folders away and brings them back until ctx ends.
func (f *faultRunner) cameraTrouble(ctx context.Context, r *rand.Rand) error {
	w := f.world
	for e2e.Wait(ctx, seconds(r, 2, 10)) {
		chosen, what := filepath.Join(w.Cameras.Root, pick(r, e2e.SixCameras()).Folder), cameraAway
		if r.IntN(4) == 0 {
			chosen, what = w.Cameras.Root, allCamerasAway
		}
		away := filepath.Join(w.dir, "away")
		if err := os.Rename(chosen, away); err != nil {
			return fmt.Errorf("take a camera folder away: %w", err)
		}
		f.noted(what)
		e2e.Wait(ctx, seconds(r, 0.3, 4))
		if err := os.Rename(away, chosen); err != nil {
			return fmt.Errorf("bring a camera folder back: %w", err)
		}
	}
	return nil
}

// seconds draws a time.
func seconds(r *rand.Rand, least, utmost float64) time.Duration {
	return time.Duration((least + (utmost-least)*r.Float64()) * float64(time.Second))
}
