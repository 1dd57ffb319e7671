/* NVIDIA's driver on the processor's memory: the calls that this project makes, with the types of cuda.h and nvml.h. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef unsigned long long CUdeviceptr;

static size_t allocated;
static int context_is_current, capturing, recorded;
size_t fake_allocated(void) { return allocated; }

static int refuses(const char *name) {
    const char *refused = getenv("FAKE_REFUSES");
    return refused && strcmp(refused, name) == 0 ? 999 : 0;
}

static size_t number(const char *variable, size_t usual) {
    const char *value = getenv(variable);
    return value ? (size_t)strtoull(value, NULL, 10) : usual;
}
static int gpus(void) { return getenv("FAKE_NO_GPU") ? 0 : (int)number("FAKE_GPUS", 1); }
static CUresult known(int device) { return device >= 0 && device < gpus() ? 0 : 101; }

CUresult cuInit(unsigned flags) { return flags == 0 ? refuses("cuInit") : 1; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return refuses("cuDriverGetVersion"); }
CUresult cuDeviceGetCount(int *count) { *count = gpus(); return 0; }
CUresult cuDeviceGet(int *device, int index) { *device = index; return known(index); }
CUresult cuDeviceGetName(char *name, int length, int device) {
    const char *gpu = getenv("FAKE_GPU");
    if (device) snprintf(name, (size_t)length, "%s %d", gpu ? gpu : "Orin", device);
    else snprintf(name, (size_t)length, "%s", gpu ? gpu : "Orin");
    return known(device);
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = number("FAKE_MEMORY", (size_t)8 << 30);
    return known(device);
}
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    const char *capability = getenv("FAKE_CAPABILITY");
    int major = 8, minor = 7;
    if (capability) sscanf(capability, "%d.%d", &major, &minor);
    *value = attribute == 75 ? major : attribute == 76 ? minor
             : attribute == 16 ? (int)number("FAKE_MULTIPROCESSORS", 8) : -1;
    return known(device);
}
CUresult cuDeviceGetPCIBusId(char *text, int length, int device) {
    snprintf(text, (size_t)length, "0000:01:00.%d", device);
    return known(device);
}
int nvmlInit_v2(void) { return refuses("nvmlInit_v2"); }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.65.06"); return 0; }
CUresult cuDevicePrimaryCtxRetain(void **context, int device) { *context = &allocated; return device; }
CUresult cuCtxSetCurrent(void *context) { context_is_current = context == &allocated; return context_is_current ? 0 : 201; }
CUresult cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)77; return flags == 1 ? 0 : 1; }
CUresult cuStreamBeginCapture_v2(void *stream, int mode) { capturing = 1; return stream == (void *)77 && mode == 1 ? 0 : 400; }
CUresult cuStreamEndCapture(void *stream, void **graph) { *graph = (void *)78; return capturing ? (capturing = 0) : 400; }
CUresult cuGraphInstantiateWithFlags(void **runnable, void *graph, unsigned long long flags) {
    *runnable = (void *)79;
    allocated++;
    return graph == (void *)78 && flags == 0 ? 0 : 400;
}
CUresult cuGraphLaunch(void *runnable, void *stream) { return runnable == (void *)79 && stream == (void *)77 ? 0 : 400; }
CUresult cuGraphExecDestroy(void *runnable) { allocated--; return runnable == (void *)79 ? 0 : 400; }
CUresult cuGraphDestroy(void *graph) { return graph == (void *)78 ? 0 : 400; }
CUresult cuEventCreate(void **event, unsigned flags) { *event = calloc(1, sizeof(int)); allocated++; return flags; }
CUresult cuEventRecord(void *event, void *stream) { *(int *)event = ++recorded; return stream == (void *)77 ? 0 : 400; }
CUresult cuEventElapsedTime(float *ms, void *begin, void *end) {
    *ms = 2.5f; /* if they were recorded in order */
    return *(int *)begin && *(int *)begin < *(int *)end ? 0 : 600;
}
CUresult cuEventDestroy_v2(void *event) { free(event); allocated--; return 0; }
CUresult cuStreamSynchronize(void *stream) { return stream == (void *)77 ? 0 : 400; }
CUresult cuStreamDestroy_v2(void *stream) { return stream == (void *)77 ? 0 : 400; }
CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
    if (!context_is_current || refuses("cuMemAlloc_v2")) return 2;
    *address = (CUdeviceptr)(uintptr_t)malloc(bytes);
    allocated++;
    return 0;
}
CUresult cuMemFree_v2(CUdeviceptr address) { free((void *)(uintptr_t)address); allocated--; return 0; }
CUresult cuMemAllocHost_v2(void **address, size_t bytes) { *address = malloc(bytes); allocated++; return 0; }
CUresult cuMemFreeHost(void *address) { free(address); allocated--; return 0; }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, void *stream) {
    memcpy((void *)(uintptr_t)to, from, bytes);
    return stream == (void *)77 ? 0 : 400;
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, void *stream) {
    memcpy(to, (void *)(uintptr_t)from, bytes);
    return stream == (void *)77 ? 0 : 400;
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, void *stream) {
    for (size_t at = 0; at < count; at++) ((unsigned *)(uintptr_t)to)[at] = value;
    return stream == (void *)77 ? 0 : 400;
}
