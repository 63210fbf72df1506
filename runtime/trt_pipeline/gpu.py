"""The GPU of this machine, asked through the CUDA driver alone."""

import ctypes

COMPUTE_CAPABILITY_MAJOR = 75
COMPUTE_CAPABILITY_MINOR = 76
"""CUdevice_attribute numbers, CUDA driver API."""


def compute_capability(device: int = 0) -> str | None:
    """A GPU's compute capability such as 8.9, or None where there is no driver or no such GPU."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    handle = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(handle), device):
        return None
    numbers = []
    for attribute in (COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR):
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle):
            return None
        numbers.append(str(value.value))
    return ".".join(numbers)
