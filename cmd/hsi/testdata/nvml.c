// A driver library with one card, as far as the server asks. What it answers stands in the file that HSI_TEST_NVML names: nothing
// when all is well, "lost" when the card has fallen off the bus, "driver" when the driver is gone.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };

static int state(void) {
	char text[16] = "";
	const char *path = getenv("HSI_TEST_NVML");
	FILE *file = path ? fopen(path, "r") : NULL;
	if (file) {
		text[fread(text, 1, sizeof text - 1, file)] = 0;
		fclose(file);
	}
	if (strcmp(text, "lost") == 0) return GPU_IS_LOST;
	if (strcmp(text, "driver") == 0) return DRIVER_NOT_LOADED;
	return SUCCESS;
}

typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2;

static int copy(char *to, unsigned int length, const char *text) {
	int at = state();
	if (at == SUCCESS) snprintf(to, length, "%s", text);
	return at;
}

int nvmlInit_v2(void) { return state() == DRIVER_NOT_LOADED ? DRIVER_NOT_LOADED : SUCCESS; }
int nvmlInit(void) { return nvmlInit_v2(); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int result) { return result == SUCCESS ? "Success" : "Scripted failure"; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return state(); }
int nvmlDeviceGetCount(unsigned int *count) { return nvmlDeviceGetCount_v2(count); }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = (void *)(1ul + index); return state(); }
int nvmlDeviceGetHandleByIndex(unsigned int index, void **device) { return nvmlDeviceGetHandleByIndex_v2(index, device); }
int nvmlDeviceGetName(void *device, char *name, unsigned int length) { return copy(name, length, "Scripted GPU"); }
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length) { return copy(uuid, length, "GPU-scripted"); }
int nvmlDeviceGetUtilizationRates(void *device, utilization *rates) { rates->gpu = 42, rates->memory = 7; return state(); }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *celsius) { *celsius = 61; return state(); }
int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) { *milliwatts = 123000; return state(); }
int nvmlDeviceGetMemoryInfo(void *device, memory *info) {
	info->total = 24ull << 30, info->used = 6ull << 30, info->free = 18ull << 30;
	return state();
}
int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *info) {
	info->total = 24ull << 30, info->used = 6ull << 30, info->free = 18ull << 30, info->reserved = 0;
	return state();
}
