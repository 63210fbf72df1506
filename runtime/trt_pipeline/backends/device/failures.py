"""Failures of a GPU in one clear line each."""

import re

from trt_pipeline.errors import BackendError, DeviceMemoryError, DeviceUnavailableError

OUT_OF_MEMORY = r"out of memory|OutOfMemory|MemoryAllocation|Failed to allocate memory|BFCArena"
OLD_DRIVER = r"driver version is insufficient|InsufficientDriver|SystemDriverMismatch|PTX .*version"
LOST = (
    r"illegal memory access|launch failure|LaunchFailure|IllegalAddress|ECC|fell off the bus"
    r"|DevicesUnavailable|NoDevice|no CUDA-capable device|device\(s\) is/are busy|Unknown error 46"
)
REFUSED = r"no kernel image|NoKernelImage|not compatible|unsupported (SM|compute)"


def device_error(what: str, error: BaseException) -> BackendError:
    """What went wrong in words; what: such as "denoiser"."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:400]
    if re.search(OUT_OF_MEMORY, text):
        return DeviceMemoryError(
            f"{what}: the GPU is out of memory. Make fewer or smaller pictures a call, set "
            f"vae_tile_size, or close what else uses the GPU. ({text})"
        )
    if re.search(OLD_DRIVER, text):
        return DeviceUnavailableError(
            f"{what}: the NVIDIA driver is too old for this CUDA. Install a newer driver; "
            f"`nvidia-smi` prints which is installed. ({text})"
        )
    if re.search(LOST, text):
        return DeviceUnavailableError(
            f"{what}: the GPU was lost. Start the program again; if that does not help, look at "
            f"`nvidia-smi` and `dmesg`. ({text})"
        )
    if re.search(REFUSED, text):
        return DeviceUnavailableError(
            f"{what}: the package was not built for this GPU. Choose another backend. ({text})"
        )
    return BackendError(f"{what} failed on the GPU: {text}")
