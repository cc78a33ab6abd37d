// Package gpu reads the state of the graphics card. A Sampler reads it at an interval and publishes
// immutable snapshots, a Monitor also stores them. What the card does not tell is nil, never 0 and
// never the value of before; a reading that failed has no sample. A machine without a card or
// driver is a normal state and says so. Only nvml.go knows NVML.
package gpu

import "time"

// Sample is one reading of one card. Each field is nil when the card did not tell it. A published
// sample is never changed.
type Sample struct {
	Name *string
	// UUID is the card's own, such as "GPU-8f4d…"; it stays the same when cards change places.
	UUID *string
	// Host is the machine that the card is in.
	Host *string
	// UtilizationPercent is the share of the last interval of the driver (a sixth of a second to a
	// second) in which the card computed, 0 to 100.
	UtilizationPercent *float64
	// MemoryUsedMiB and MemoryTotalMiB are whole MiB, rounded down as nvidia-smi does.
	MemoryUsedMiB, MemoryTotalMiB *int64
	TemperatureCelsius            *float64
	PowerWatts                    *float64
}

// Measured tells whether the sample holds any measurement, and not just what the card is called.
func (s *Sample) Measured() bool {
	return s != nil && (s.UtilizationPercent != nil || s.MemoryUsedMiB != nil || s.MemoryTotalMiB != nil ||
		s.TemperatureCelsius != nil || s.PowerWatts != nil)
}

// State says how the card is doing.
type State string

// The states of a card. Before the first successful reading it is starting, no_driver, no_device or
// lost; after it ok, lost or back.
const (
	// StateStarting: nothing has been read yet.
	StateStarting State = "starting"
	// StateNoDriver: there is no driver, or it cannot be used.
	StateNoDriver State = "no_driver"
	// StateNoDevice: the driver works and has no card.
	StateNoDevice State = "no_device"
	// StateOK: the last reading worked.
	StateOK State = "ok"
	// StateLost: there is a card, or was one, but it or its driver does not answer.
	StateLost State = "lost"
	// StateBack: the last reading worked and is the first one after StateLost. The next one is
	// StateOK.
	StateBack State = "back"
)

// Snapshot is what is known after one attempt to read the card. It is a value: copies share the
// sample, which never changes.
type Snapshot struct {
	State State
	// Sample is nil unless the last attempt worked.
	Sample *Sample
	// SampledAt is when the reading of Sample began. Zero without a sample.
	SampledAt time.Time
	// Attempted is when the last attempt began. Zero when there was none.
	Attempted time.Time
	// LastSuccess is when the last attempt that worked began. Zero when there was none.
	LastSuccess time.Time
	// Failures counts the attempts that failed since then.
	Failures int
	// Message says in plain words why there is no sample. Empty when there is one.
	Message string
}
