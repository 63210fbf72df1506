"""Machine: what a measurement was made on, and with which packages."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

from trt_pipeline.bench.usage import Nvml

PACKAGES = (
    "cupy-cuda12x",
    "cupy-cuda13x",
    "diffusers",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "openvino-genai",
    "openvino-tokenizers",
    "pillow",
    "tensorrt-cu13",
    "tensorrt-rtx-cu13",
    "tokenizers",
    "torch",
    "transformers",
    "trt-pipeline",
)
"""Those that have a part in a picture."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware, versions and date."""

    cpu: str
    cores: int
    """That this process may use."""
    gpu: str | None
    system: str
    python: str
    packages: dict[str, str]
    """Of those installed: name → version."""
    date: str
    """UTC, ISO 8601."""


def describe_machine() -> Machine:
    """This machine, now."""
    installed = {one.name.lower(): one.version for one in distributions() if one.name}
    return Machine(
        cpu=_cpu_name(),
        cores=_cores(),
        gpu=Nvml().device(),
        system=platform.platform(),
        python=platform.python_version(),
        packages={name: installed[name] for name in PACKAGES if name in installed},
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
