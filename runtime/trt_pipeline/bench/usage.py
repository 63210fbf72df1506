"""What a process used of its host and of its GPU."""

import os
import resource
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def peak_host_bytes() -> int:
    """Resident memory of this process at most, the interpreter included."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts the parent's memory at the fork into a child's ru_maxrss
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Nvml:
    """The first GPU as NVML (package nvidia-ml-py) sees it; every answer is None without one."""

    def __init__(self) -> None:
        self._library = _nvml()

    def device(self) -> str | None:
        """The GPU's name, memory and driver."""
        if self._library is None:
            return None
        name = self._library.nvmlDeviceGetName(self._handle())
        memory = self._library.nvmlDeviceGetMemoryInfo(self._handle()).total / 2**30
        driver = self._library.nvmlSystemGetDriverVersion()
        return f"{name}, {memory:.0f} GiB, driver {driver}"

    def device_bytes(self) -> int | None:
        """GPU memory that this process holds now; None where NVML cannot tell processes apart."""
        if self._library is None:
            return None
        processes = self._library.nvmlDeviceGetComputeRunningProcesses(self._handle())
        return next((one.usedGpuMemory for one in processes if one.pid == os.getpid()), None)

    def joules(self) -> float | None:
        """Energy since the driver was loaded; None on GPUs that don't count it."""
        if self._library is None:
            return None
        try:
            energy: float = self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle()) / 1e3
        except self._library.NVMLError:
            return None
        return energy

    def _handle(self) -> Any:
        assert self._library
        return self._library.nvmlDeviceGetHandleByIndex(0)


def _nvml() -> Any:
    if not find_spec("pynvml"):
        return None
    pynvml = import_module("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
