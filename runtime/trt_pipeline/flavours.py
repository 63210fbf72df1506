"""The two flavours of TensorRT: one Python API, two packages, few differences.

| | tensorrt | tensorrt_rtx |
|---|---|---|
| versions | 10.13 and newer, 11 | 1.4 and newer |
| builds | on the GPU that will run the plan | anywhere, for named compute capabilities |
| kernels | timed while building | compiled on first use, kept in a runtime cache |
"""

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from trt_pipeline.bundle.manifest import Flavour
from trt_pipeline.errors import MissingDependencyError

logger = logging.getLogger(__name__)

EXTRAS: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}


def load_flavour(flavour: Flavour) -> Any:
    """Import a flavour's module; MissingDependencyError names the pip command."""
    if find_spec(flavour) is None:
        raise MissingDependencyError(
            f"{flavour} is not installed. Install it with: "
            f'pip install "trt-pipeline[{EXTRAS[flavour]}]"'
        )
    return import_module(flavour)


def named_targets(trt: Any) -> tuple[str, ...]:
    """Compute capabilities that a flavour builds for by name, such as 8.9; none for tensorrt."""
    members = getattr(getattr(trt, "ComputeCapability", None), "__members__", {})
    numbers = [name[2:] for name in members if name.startswith("SM")]
    return tuple(f"{number[:-1]}.{number[-1]}" for number in numbers)


def network_flags(trt: Any) -> int:
    """Creation flags of a strongly typed network; versions that know no other kind need none."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def messages(trt: Any) -> Any:
    """TensorRT's messages as log records, the last error kept for ours."""
    levels = {
        trt.Logger.INTERNAL_ERROR: logging.ERROR,
        trt.Logger.ERROR: logging.ERROR,
        trt.Logger.WARNING: logging.INFO,
        trt.Logger.INFO: logging.DEBUG,
        trt.Logger.VERBOSE: logging.DEBUG,
    }

    class Messages(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.last_error = "It gave no reason."

        def log(self, severity: Any, message: str) -> None:
            level = levels[severity]
            if level == logging.ERROR:
                self.last_error = message
            # What TensorRT calls an error is told by the exception that follows from it.
            logger.log(min(level, logging.INFO), "%s", message)

    return Messages()
