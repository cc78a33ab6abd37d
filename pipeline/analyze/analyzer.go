// Package analyze scores batches: with Nemotron on llama.cpp over HTTP, or with the built-in rules
// where none is configured. The worker takes closed batches from the queue and stores one event for
// each.
package analyze

import (
	"context"
	"fmt"
	"time"

	"hsi.home.arpa/store"
)

// Scene is what an analyzer gets to know of a batch.
type Scene struct {
	CameraName string
	// StartedAt and EndedAt are the image times of the first and the last detection.
	StartedAt, EndedAt time.Time
	// Objects are the detections by time.
	Objects []Object
}

// Object is one detection.
type Object struct {
	At time.Time
	// Image tells objects of one image from those of another.
	Image int64
	// Type is what it is, such as "person".
	Type string
	// Confidence is between 0 and 1.
	Confidence float64
}

// Verdict is what an analyzer made of a scene.
type Verdict struct {
	// RiskScore is between 0 and 100.
	RiskScore int
	// Summary is one sentence for people, Reasoning says how the score came about.
	Summary, Reasoning string
}

// Analyzer scores scenes. It is safe for concurrent use.
type Analyzer interface {
	// Name is stored with each event, such as "rules" or "nemotron".
	Name() string
	// Analyze scores a scene. The error tells by the types of this package whether to wait for a
	// service (Unavailable) or to try this batch again (BadReply). There is no verdict without a
	// real one: a failure never makes a score.
	Analyze(ctx context.Context, scene Scene) (Verdict, error)
}

// Unavailable says that the analyzer cannot answer now. The batch stays waiting, however long it
// takes.
type Unavailable struct {
	Err error

	retryAt time.Time // when it is known that there is no use in trying earlier
}

func (e *Unavailable) Error() string { return fmt.Sprintf("analyzer unavailable: %v", e.Err) }

// Unwrap returns the cause.
func (e *Unavailable) Unwrap() error { return e.Err }

// BadReply says that the analyzer answered with something that is no verdict. The batch is tried
// again a bounded number of times.
type BadReply struct{ Err error }

func (e *BadReply) Error() string { return fmt.Sprintf("bad reply of the analyzer: %v", e.Err) }

// Unwrap returns the cause.
func (e *BadReply) Unwrap() error { return e.Err }

// sceneOf turns a claimed batch into what an analyzer needs. Rows from elsewhere may lack a type or
// a confidence.
func sceneOf(work store.BatchWork) Scene {
	scene := Scene{CameraName: work.Camera.Name, StartedAt: work.Batch.OpenedAt, EndedAt: work.Batch.LastAt}
	for i := range work.Detections {
		d := &work.Detections[i]
		object := Object{At: d.DetectedAt, Type: "object"}
		if d.ImageID != nil {
			object.Image = *d.ImageID
		}
		if d.ObjectType != nil {
			object.Type = *d.ObjectType
		}
		if d.Confidence != nil {
			object.Confidence = *d.Confidence
		}
		scene.Objects = append(scene.Objects, object)
	}
	if n := len(scene.Objects); n > 0 {
		scene.StartedAt, scene.EndedAt = scene.Objects[0].At, scene.Objects[n-1].At
	}
	return scene
}
