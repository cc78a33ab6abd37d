//go:build linux && cgo

package gpu

import (
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// kind is what an answer of NVML means for one field of a sample.
type kind int

const (
	kindOK          kind = iota
	kindUnsupported      // this card or driver does not have the field, or not for us; that is no fault
	kindLost             // the card or the driver is gone: nothing else of this sample can be trusted
	kindFailed           // the field could not be read this time
)

func kindOf(ret nvml.Return) kind {
	switch ret {
	case nvml.SUCCESS:
		return kindOK
	case nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_NO_PERMISSION, nvml.ERROR_FUNCTION_NOT_FOUND, nvml.ERROR_NO_DATA,
		nvml.ERROR_ARGUMENT_VERSION_MISMATCH, nvml.ERROR_DEPRECATED, nvml.ERROR_NOT_FOUND:
		return kindUnsupported
	case nvml.ERROR_GPU_IS_LOST, nvml.ERROR_GPU_NOT_FOUND, nvml.ERROR_RESET_REQUIRED, nvml.ERROR_UNINITIALIZED,
		nvml.ERROR_DRIVER_NOT_LOADED, nvml.ERROR_LIBRARY_NOT_FOUND, nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return kindLost
	default:
		return kindFailed
	}
}

// describe says what an answer means. It does not ask NVML for its own text: that would be one more
// call into a broken driver.
func describe(ret nvml.Return) string {
	switch ret {
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return "its library libnvidia-ml.so.1 is not installed"
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return "its kernel module is not loaded"
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return "its library and kernel module have different versions; a reboot helps after an upgrade"
	case nvml.ERROR_NO_PERMISSION:
		return "no permission to use it"
	case nvml.ERROR_GPU_IS_LOST:
		return "it has fallen off the bus"
	case nvml.ERROR_RESET_REQUIRED:
		return "it needs a reset"
	case nvml.ERROR_UNINITIALIZED:
		return "the driver was unloaded"
	case nvml.ERROR_NOT_SUPPORTED:
		return "not supported"
	default:
		return fmt.Sprintf("NVML error %d", int32(ret))
	}
}
