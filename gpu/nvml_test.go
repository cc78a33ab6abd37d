//go:build linux && cgo

package gpu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
)

const testInterval = 5 * time.Second

// rowList stores rows in memory.
type rowList struct{ rows []Row }

func (l *rowList) InsertGPUSample(_ context.Context, row Row) error {
	l.rows = append(l.rows, row)
	return nil
}

type silent struct{}

func (silent) Say(string) {}

func faultTable() map[string]fault {
	faults := map[string]fault{"panics": {panics: true}, "garbage": {garbage: true}, "hangs": {}}
	for ret := nvml.ERROR_UNINITIALIZED; ret <= nvml.ERROR_RESET_TYPE_NOT_SUPPORTED; ret++ {
		faults[fmt.Sprintf("error %d", ret)] = fault{ret: ret}
	}
	faults["error 999"] = fault{ret: nvml.ERROR_UNKNOWN}
	faults["error of tomorrow"] = fault{ret: 4711}
	return faults
}

// TestMonitor_InventsNothing lets each driver call fail in each way, from the start and after
// successes, and later work again. At every second: what is published is what the card really said
// at that moment, or nothing; nobody who asks for it waits.
func TestMonitor_InventsNothing(t *testing.T) {
	t.Parallel()
	calls := []string{callInit, callShutdown, callCount, callHandle, callName, callUUID, callMemoryV2, callUtilization, callTemperature, callPower}
	for _, name := range calls {
		for what, f := range faultTable() {
			for point, from := range map[string]int{"from the start": 0, "after success": 23} {
				t.Run(name+" "+what+" "+point, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { testFault(t, name, f, what == "hangs", from) })
				})
			}
		}
	}
}

func testFault(t *testing.T, name string, f fault, hangs bool, from int) {
	t.Helper()
	const until, end = 63, 100
	if hangs {
		f.hang = make(chan struct{})
	}
	c := newCard()
	var rows rowList
	sampler := NewSampler(newNVMLSource(c.api), Options{Log: slog.New(slog.DiscardHandler), Interval: testInterval, Host: "test-host"})
	monitor := NewMonitor(sampler, &rows, func() *float64 { return nil }, slog.New(slog.DiscardHandler))
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	if from == 0 {
		inject(c, name, f)
	}
	go func() { ended <- monitor.Run(ctx, silent{}) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	active := func(at time.Time) bool {
		second := int(at.Sub(began) / time.Second)
		return second >= from && second < until
	}
	expected := func(at time.Time) *Sample {
		s := c.truth(at)
		if active(at) {
			return expectUnder(c, at, name, f)
		}
		return &s
	}
	for second := range end {
		synctest.Wait()
		asked := time.Now()
		snapshot := monitor.Latest()
		require.Equal(t, asked, time.Now(), "Latest does not wait")
		if snapshot.Sample != nil {
			require.LessOrEqual(t, asked.Sub(snapshot.SampledAt), staleIntervals*testInterval)
			require.Equal(t, expected(snapshot.SampledAt), snapshot.Sample, "second %d", second)
			require.Contains(t, []State{StateOK, StateBack}, snapshot.State)
			require.Empty(t, snapshot.Message)
		} else {
			require.NotEmpty(t, snapshot.Message)
		}
		if second >= from+15 && second < until && expected(asked) == nil {
			require.Nil(t, snapshot.Sample, "gone within three intervals")
		}
		if second == end-1 {
			require.Equal(t, StateOK, snapshot.State, "back by itself: %s", snapshot.Message)
			require.Equal(t, expected(snapshot.SampledAt), snapshot.Sample)
		}
		<-tick.C
		if second+1 == from {
			inject(c, name, f)
		}
		if second+1 == until {
			c.clear()
		}
	}
	cancel()
	require.NoError(t, <-ended)
	for _, row := range rows.rows {
		require.True(t, row.Sample.Measured())
		require.Equal(t, expected(row.RecordedAt), &row.Sample)
	}
	require.NotEmpty(t, rows.rows)
	require.Empty(t, c.wrongs())
}

// inject lets a call fail. Init and Shutdown are only called again when the card is lost, so it is
// lost too.
func inject(c *card, name string, f fault) {
	c.set(name, f)
	if name == callInit || name == callShutdown {
		c.set(callHandle, fault{ret: nvml.ERROR_GPU_IS_LOST})
	}
}

func expectUnder(c *card, at time.Time, name string, f fault) *Sample {
	if name == callInit || name == callShutdown {
		return nil
	}
	return c.truthUnder(at, name, f)
}

// TestNVMLSource_MissingFunctionsAreNeverCalled: calling one kills the process.
func TestNVMLSource_MissingFunctionsAreNeverCalled(t *testing.T) {
	t.Parallel()
	for _, symbol := range nvmlSymbols {
		t.Run(symbol, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCard()
				c.missing[symbol] = true
				s := newNVMLSource(c.api)
				sample, err := s.Read(t.Context())
				require.Empty(t, c.wrongs())
				if symbol == callCount || symbol == callHandle {
					require.ErrorIs(t, err, ErrNoDriver)
					return
				}
				require.NoError(t, err)
				want := c.truthUnder(time.Now(), symbol, fault{ret: nvml.ERROR_FUNCTION_NOT_FOUND})
				want.Host = nil
				require.Equal(t, *want, sample)
			})
		})
	}
}

func TestNVMLSource_CardThatMeasuresNothing(t *testing.T) {
	t.Parallel()
	for _, ret := range []nvml.Return{nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_UNKNOWN} {
		c := newCard()
		for _, name := range []string{callMemory, callMemoryV2, callUtilization, callTemperature, callPower} {
			c.set(name, fault{ret: ret})
		}
		s := newNVMLSource(c.api)
		sample, err := s.Read(t.Context())
		if ret == nvml.ERROR_UNKNOWN {
			require.Error(t, err, "a card of which nothing can be read has failed")
			require.Equal(t, Sample{}, sample)
			continue
		}
		require.NoError(t, err)
		require.NotNil(t, sample.Name)
		require.False(t, sample.Measured())
	}
}

func TestNVMLSource_NoCard(t *testing.T) {
	t.Parallel()
	c := newCard()
	devices := c.api.Devices
	c.api.Devices = nil
	s := newNVMLSource(c.api)
	_, err := s.Read(t.Context())
	require.ErrorIs(t, err, ErrNoDevice)
	c.api.Devices = devices
	_, err = s.Read(t.Context())
	require.NoError(t, err, "a card that comes later is found")
	require.Equal(t, 2, c.calls[callInit], "NVML finds cards when it is initialized")
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "closed is closed")
	require.Equal(t, 2, c.calls[callShutdown])
	require.Empty(t, c.wrongs())
}

func TestNVMLSource_EndsBetweenCallsWhenNobodyWaits(t *testing.T) {
	t.Parallel()
	c := newCard()
	release := make(chan struct{})
	c.set(callUUID, fault{hang: release})
	s := newNVMLSource(c.api)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Read(ctx)
		ended <- err
	}()
	await.True(t, func() bool { return s.Calling() == callUUID })
	cancel()
	close(release)
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Zero(t, c.calls[callPower])
	require.Empty(t, s.Calling())
}

func TestMebibytes(t *testing.T) {
	t.Parallel()
	used, total := mebibytes(3<<20+1<<19, 24<<30)
	require.EqualValues(t, 3, *used, "rounded down, as nvidia-smi does")
	require.EqualValues(t, 24<<10, *total)
	used, total = mebibytes(2<<30, 1<<30)
	require.Nil(t, used)
	require.EqualValues(t, 1<<10, *total)
	used, total = mebibytes(0, 0)
	require.Nil(t, used)
	require.Nil(t, total)
}

// TestNewNVML_ThisMachine reads what this machine really has, mostly no driver. That the process
// lives on is the test.
func TestNewNVML_ThisMachine(t *testing.T) {
	t.Parallel()
	s := NewNVML()
	for range 2 {
		sample, err := s.Read(t.Context())
		if errors.Is(err, ErrNoDriver) || errors.Is(err, ErrNoDevice) {
			require.Equal(t, Sample{}, sample)
			continue
		}
		require.NoError(t, err)
		require.NotNil(t, sample.Name)
	}
	require.NoError(t, s.Close())
}
