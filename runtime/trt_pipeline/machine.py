"""This machine: its GPU, asked through the CUDA driver alone, its platform, its cache folder."""

import ctypes
import os
import platform
from importlib.util import find_spec
from pathlib import Path

COMPUTE_CAPABILITY_MAJOR = 75
COMPUTE_CAPABILITY_MINOR = 76
"""CUdevice_attribute numbers, CUDA driver API."""


def compute_capability(device: int = 0) -> str | None:
    """A GPU's compute capability such as 8.9, or None where there is no driver or GPU."""
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


def missing_gpu() -> str | None:
    """Why there is no GPU here, or None if there is."""
    return "there is no NVIDIA GPU, or no driver for it" if compute_capability() is None else None


def gpu_obstacle() -> str | None:
    """Why nothing can run on a GPU here, or None if it can."""
    if problem := missing_gpu():
        return problem
    if find_spec("cupy") is None:
        return 'install cupy with: pip install "trt-pipeline[cuda]"'
    return None


def this_platform() -> str:
    """Operating system and processor, such as linux-x86_64."""
    return f"{platform.system()}-{platform.machine()}".lower()


def cache_folder() -> Path:
    """Where this user's compiled kernels and models are kept: $XDG_CACHE_HOME/trt-pipeline."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "trt-pipeline"
