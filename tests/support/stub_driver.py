"""A stand-in for NVIDIA's driver and its management library, compiled from C."""

import shutil
import subprocess
from pathlib import Path

import pytest

CODE = """
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 7 + ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, device > 7 ? "Second" : "First", 9); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 5000000000UL; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 6 : 46;
    return 0;
}
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "580.65.06", size); return 0; }
"""


def stub_driver(folder: Path, init: int, count: int) -> str:
    """Its path; ``cuInit`` answers ``init``, and there are ``count`` GPUs of compute capability 8.6."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler for a stand-in of the driver")
    library = folder / "libcuda_stub.so"
    flags = ["-shared", "-fPIC", "-x", "c", "-", f"-DINIT={init}", f"-DCOUNT={count}", "-o", str(library)]
    subprocess.run([compiler, *flags], input=CODE.encode(), check=True)
    return str(library)
