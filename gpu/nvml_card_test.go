//go:build linux && cgo

package gpu

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
)

// card is a mocked machine whose card has other values every second, so that a stale or invented
// value is found out. It injects faults, and takes down what would have killed the process or met a
// second call with a real driver.
type card struct {
	api *server.Server

	mu         sync.Mutex
	ready      bool
	busy       string
	violations []string
	faults     map[string]fault
	missing    map[string]bool
	calls      map[string]int
}

// fault is what one driver call does instead of working.
type fault struct {
	ret     nvml.Return
	hang    chan struct{} // the call returns when it is closed
	panics  bool
	garbage bool // works, with all bits set
}

func newCard() *card {
	c := &card{api: dgxh200.New(), faults: map[string]fault{}, missing: map[string]bool{}, calls: map[string]int{}}
	c.api.InitFunc = func() nvml.Return {
		ret, _ := c.enter(callInit)
		if ret == nvml.SUCCESS {
			c.mu.Lock()
			c.ready = true
			c.mu.Unlock()
		}
		return ret
	}
	c.api.ShutdownFunc = func() nvml.Return {
		ret, _ := c.enter(callShutdown)
		c.mu.Lock()
		c.ready = false
		c.mu.Unlock()
		return ret
	}
	c.api.LookupSymbolFunc = func(symbol string) error {
		if c.missing[symbol] {
			return errors.New("undefined symbol")
		}
		return nil
	}
	count, handle := c.api.DeviceGetCountFunc, c.api.DeviceGetHandleByIndexFunc
	c.api.DeviceGetCountFunc = func() (int, nvml.Return) {
		if ret, _ := c.enter(callCount); ret != nvml.SUCCESS {
			return 0, ret
		}
		return count()
	}
	c.api.DeviceGetHandleByIndexFunc = func(index int) (nvml.Device, nvml.Return) {
		if ret, _ := c.enter(callHandle); ret != nvml.SUCCESS {
			return nil, ret
		}
		return handle(index)
	}
	c.mockDevice(c.api.Devices[0].(*server.Device))
	return c
}

func (c *card) mockDevice(d *server.Device) {
	name, uuid := d.GetNameFunc, d.GetUUIDFunc
	d.GetNameFunc = func() (string, nvml.Return) {
		ret, garbage := c.enter(callName)
		if garbage {
			return "\xff\xfe", ret
		}
		value, _ := name()
		return value, ret
	}
	d.GetUUIDFunc = func() (string, nvml.Return) {
		ret, garbage := c.enter(callUUID)
		if garbage {
			return " ", ret
		}
		value, _ := uuid()
		return value, ret
	}
	d.GetMemoryInfo_v2Func = func() (nvml.Memory_v2, nvml.Return) {
		now := time.Now()
		ret, garbage := c.enter(callMemoryV2)
		if garbage {
			return nvml.Memory_v2{Used: 1<<64 - 1, Total: 1<<64 - 1}, ret
		}
		return nvml.Memory_v2{Used: usedBytes(now), Total: totalBytes}, ret
	}
	d.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) {
		now := time.Now()
		ret, garbage := c.enter(callMemory)
		if garbage {
			return nvml.Memory{Used: 1<<64 - 1, Total: 1<<64 - 1}, ret
		}
		return nvml.Memory{Used: usedBytes(now) + reservedBytes, Total: totalBytes}, ret
	}
	d.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) {
		now := time.Now()
		ret, garbage := c.enter(callUtilization)
		if garbage {
			return nvml.Utilization{Gpu: 1<<32 - 1}, ret
		}
		return nvml.Utilization{Gpu: uint32(now.Unix() % 101)}, ret
	}
	d.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) {
		now := time.Now()
		ret, garbage := c.enter(callTemperature)
		if garbage {
			return 1<<31 - 1, ret
		}
		return uint32(30 + now.Unix()%60), ret
	}
	d.GetPowerUsageFunc = func() (uint32, nvml.Return) {
		now := time.Now()
		ret, garbage := c.enter(callPower)
		if garbage {
			return 1<<32 - 1, ret
		}
		return uint32(100_000 + now.Unix()%600_000), ret
	}
}

const (
	totalBytes    = 143_771 << 20
	reservedBytes = 512 << 20
)

func usedBytes(now time.Time) uint64 { return uint64(now.Unix()%140_000) << 20 }

// enter is what every driver call does first.
func (c *card) enter(name string) (ret nvml.Return, garbage bool) {
	c.mu.Lock()
	c.calls[name]++
	switch {
	case c.busy != "":
		c.violations = append(c.violations, fmt.Sprintf("%s while %s is running", name, c.busy))
	case name != callInit && !c.ready:
		c.violations = append(c.violations, name+" without Init")
	case c.missing[name]:
		c.violations = append(c.violations, name+" is not in the library")
	}
	f := c.faults[name]
	c.busy = name
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.busy = ""
		c.mu.Unlock()
	}()
	if f.hang != nil {
		<-f.hang
	}
	if f.panics {
		panic("fault of the driver")
	}
	return f.ret, f.garbage
}

// set and clear change the faults while the sampler runs.
func (c *card) set(name string, f fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[name] = f
}

func (c *card) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.faults {
		if f.hang != nil {
			close(f.hang)
		}
	}
	c.faults = map[string]fault{}
}

func (c *card) wrongs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.violations)
}

// truth is what a healthy card says at a time.
func (c *card) truth(at time.Time) Sample {
	device := c.api.Devices[0].(*server.Device)
	used, total := int64(usedBytes(at)>>20), int64(totalBytes>>20)
	utilization, celsius := float64(at.Unix()%101), float64(30+at.Unix()%60)
	watts := float64(100_000+at.Unix()%600_000) / 1000
	host := "test-host"
	return Sample{
		Name: &device.Config.Name, UUID: &device.UUID, Host: &host,
		UtilizationPercent: &utilization, MemoryUsedMiB: &used, MemoryTotalMiB: &total,
		TemperatureCelsius: &celsius, PowerWatts: &watts,
	}
}

// truthUnder is what may be published of a sample that was read at a time while a call had a fault;
// nil when the whole sample must fail.
func (c *card) truthUnder(at time.Time, name string, f fault) *Sample {
	s := c.truth(at)
	if f.hang != nil || f.panics {
		return nil
	}
	if name == callInit || name == callCount || name == callHandle {
		if f.garbage {
			return &s
		}
		return nil
	}
	switch f.ret {
	case nvml.ERROR_UNINITIALIZED, nvml.ERROR_DRIVER_NOT_LOADED, nvml.ERROR_LIBRARY_NOT_FOUND, nvml.ERROR_GPU_IS_LOST,
		nvml.ERROR_RESET_REQUIRED, nvml.ERROR_LIB_RM_VERSION_MISMATCH, nvml.ERROR_GPU_NOT_FOUND:
		return nil
	default:
	}
	switch name {
	case callName:
		s.Name = nil
	case callUUID:
		s.UUID = nil
	case callMemoryV2:
		if f.garbage {
			s.MemoryUsedMiB, s.MemoryTotalMiB = nil, nil
		} else {
			used := int64((usedBytes(at) + reservedBytes) >> 20)
			s.MemoryUsedMiB = &used
		}
	case callUtilization:
		s.UtilizationPercent = nil
	case callTemperature:
		s.TemperatureCelsius = nil
	case callPower:
		s.PowerWatts = nil
	}
	return &s
}
