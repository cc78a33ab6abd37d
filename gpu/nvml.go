//go:build linux && cgo

package gpu

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// NewNVML returns the source that reads the first card of this machine through the driver's
// library, NVML. It does not touch the driver before the first Read.
func NewNVML() Source {
	return newNVMLSource(nvml.New())
}

// nvmlSource reads device 0. NVML is loaded at run time, and calling a function that was not loaded
// kills the process. So nothing is called before Init has succeeded, after Shutdown, or when the
// loaded library lacks it.
type nvmlSource struct {
	api     nvml.Interface
	ready   bool            // Init has succeeded and Shutdown was not called
	has     map[string]bool // which of nvmlSymbols the loaded library has
	calling atomic.Pointer[string]
}

// Names of the functions in the library, as they appear in messages.
const (
	callInit        = "nvmlInit"
	callShutdown    = "nvmlShutdown"
	callCount       = "nvmlDeviceGetCount"
	callHandle      = "nvmlDeviceGetHandleByIndex"
	callName        = "nvmlDeviceGetName"
	callUUID        = "nvmlDeviceGetUUID"
	callMemory      = "nvmlDeviceGetMemoryInfo"
	callMemoryV2    = "nvmlDeviceGetMemoryInfo_v2"
	callUtilization = "nvmlDeviceGetUtilizationRates"
	callTemperature = "nvmlDeviceGetTemperature"
	callPower       = "nvmlDeviceGetPowerUsage"
)

// nvmlSymbols are looked up once after each Init. Count and handle come first: without them there
// is nothing to read.
var nvmlSymbols = [...]string{callCount, callHandle, callName, callUUID, callMemory, callMemoryV2, callUtilization, callTemperature, callPower}

func newNVMLSource(api nvml.Interface) *nvmlSource {
	return &nvmlSource{api: api}
}

// Calling implements Source.
func (s *nvmlSource) Calling() string {
	if call := s.calling.Load(); call != nil {
		return *call
	}
	return ""
}

// Close implements Source.
func (s *nvmlSource) Close() error {
	if !s.ready {
		return nil
	}
	s.ready = false
	if ret := call(s, callShutdown, s.api.Shutdown); ret != nvml.SUCCESS {
		return fmt.Errorf("shut down NVML: %s", describe(ret))
	}
	return nil
}

// Read implements Source. An error of one field leaves that field nil; an error that says that the
// card or driver is gone, or that no field can be measured, fails the whole sample and connects
// anew at the next Read.
func (s *nvmlSource) Read(ctx context.Context) (Sample, error) {
	if err := s.open(); err != nil {
		return Sample{}, err
	}
	sample, err := s.readDevice(ctx)
	if err != nil && ctx.Err() == nil {
		// Handles of a lost card stay dead until NVML is initialized again. That Shutdown fails too
		// changes nothing.
		_ = s.Close()
	}
	return sample, err
}

// open initializes NVML unless it is.
func (s *nvmlSource) open() error {
	if s.ready {
		return nil
	}
	if ret := call(s, callInit, s.api.Init); ret != nvml.SUCCESS {
		return fmt.Errorf("%w: %s", ErrNoDriver, describe(ret))
	}
	s.ready = true
	s.has = make(map[string]bool, len(nvmlSymbols))
	for _, symbol := range nvmlSymbols {
		s.has[symbol] = s.api.Extensions().LookupSymbol(symbol) == nil
	}
	return nil
}

func (s *nvmlSource) readDevice(ctx context.Context) (Sample, error) {
	if !s.has[callCount] || !s.has[callHandle] {
		return Sample{}, fmt.Errorf("%w: its library is not a complete NVML", ErrNoDriver)
	}
	if err := ctx.Err(); err != nil {
		return Sample{}, fmt.Errorf("read the GPU: %w", err)
	}
	count, ret := call2(s, callCount, s.api.DeviceGetCount)
	if ret != nvml.SUCCESS {
		return Sample{}, fmt.Errorf("count the GPUs: %s", describe(ret))
	}
	if count == 0 {
		return Sample{}, fmt.Errorf("%w: the NVIDIA driver has no device", ErrNoDevice)
	}
	if err := ctx.Err(); err != nil {
		return Sample{}, fmt.Errorf("read the GPU: %w", err)
	}
	device, ret := call2(s, callHandle, func() (nvml.Device, nvml.Return) { return s.api.DeviceGetHandleByIndex(0) })
	if ret != nvml.SUCCESS {
		return Sample{}, fmt.Errorf("open the GPU: %s", describe(ret))
	}
	r := &fieldReader{ctx: ctx, source: s, device: device}
	sample := r.sample()
	switch {
	case r.lost != nil:
		return Sample{}, r.lost
	case ctx.Err() != nil:
		return Sample{}, fmt.Errorf("read the GPU: %w", ctx.Err())
	case !sample.Measured() && r.failed != nil:
		return Sample{}, r.failed
	}
	return sample, nil
}

// call makes one driver call and keeps its name for Calling while it runs. call2 is the same for
// calls with a result.
func call(s *nvmlSource, name string, f func() nvml.Return) nvml.Return {
	s.calling.Store(&name)
	defer s.calling.Store(nil)
	return f()
}

func call2[T any](s *nvmlSource, name string, f func() (T, nvml.Return)) (T, nvml.Return) {
	s.calling.Store(&name)
	defer s.calling.Store(nil)
	return f()
}

// fieldReader reads the fields of one sample one by one and sorts their errors.
type fieldReader struct {
	ctx    context.Context //nolint:containedctx // lives for one Read
	source *nvmlSource
	device nvml.Device
	lost   error // the card or its driver is gone; nothing more is called
	failed error // a field failed for another reason than that the card does not have it
}

func (r *fieldReader) sample() Sample {
	var sample Sample
	sample.Name = text(field(r, callName, r.device.GetName))
	sample.UUID = text(field(r, callUUID, r.device.GetUUID))
	sample.MemoryUsedMiB, sample.MemoryTotalMiB = r.memory()
	if rates, ok := field(r, callUtilization, r.device.GetUtilizationRates); ok {
		sample.UtilizationPercent = within(float64(rates.Gpu), 0, 100)
	}
	if celsius, ok := field(r, callTemperature, r.temperature); ok {
		sample.TemperatureCelsius = within(float64(int32(celsius)), -100, 250) //nolint:gosec // the driver means a signed number
	}
	if milliwatts, ok := field(r, callPower, r.device.GetPowerUsage); ok {
		sample.PowerWatts = within(float64(milliwatts)/1000, 0, 100_000)
	}
	return sample
}

// temperature uses a deprecated call: its successor is missing in all but the newest drivers.
func (r *fieldReader) temperature() (uint32, nvml.Return) {
	return r.device.GetTemperature(nvml.TEMPERATURE_GPU)
}

// memory prefers version 2 of the call: like nvidia-smi, it does not count what the driver reserves
// for itself as used.
func (r *fieldReader) memory() (usedMiB, totalMiB *int64) {
	if info, ok := field(r, callMemoryV2, r.device.GetMemoryInfo_v2); ok {
		return mebibytes(info.Used, info.Total)
	}
	if info, ok := field(r, callMemory, r.device.GetMemoryInfo); ok {
		return mebibytes(info.Used, info.Total)
	}
	return nil, nil
}

// field makes the driver call of one field. It makes none when the library lacks it, when the card
// was found to be lost, or when nobody waits for the sample any more.
func field[T any](r *fieldReader, name string, f func() (T, nvml.Return)) (value T, ok bool) {
	if r.lost != nil || r.ctx.Err() != nil || !r.source.has[name] {
		return value, false
	}
	value, ret := call2(r.source, name, f)
	switch kindOf(ret) {
	case kindOK:
		return value, true
	case kindLost:
		r.lost = fmt.Errorf("the GPU is lost: %s", describe(ret))
	case kindFailed:
		r.failed = errors.New("the GPU cannot be read: " + describe(ret))
	case kindUnsupported:
	}
	var none T
	return none, false
}

// text returns nil for an empty name. A name goes into JSON and into a database, so it must be
// valid UTF-8.
func text(value string, ok bool) *string {
	value = strings.TrimSpace(strings.ToValidUTF8(value, ""))
	if !ok || value == "" {
		return nil
	}
	return &value
}

// within returns nil for a value that no card can have: some drivers answer with all bits set for
// what they do not know.
func within(value, low, high float64) *float64 {
	if value < low || value > high {
		return nil
	}
	return &value
}

// mebibytes converts a card's memory. A total of 0, or more than a card can have, is not known, and
// the use of it neither.
func mebibytes(used, total uint64) (usedMiB, totalMiB *int64) {
	const most = uint64(1) << 50 // 1 PiB
	if total == 0 || total > most {
		return nil, nil
	}
	t := int64(total >> 20)
	if used > total {
		return nil, &t
	}
	u := int64(used >> 20)
	return &u, &t
}
