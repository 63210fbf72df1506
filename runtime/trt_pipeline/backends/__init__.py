"""Backends run a bundle's graphs; this module picks one."""

import logging
from importlib import import_module
from typing import cast

from trt_pipeline.backends.base import (
    Backend,
    BackendModule,
    CompiledGraph,
    Graph,
    LoopBackend,
)
from trt_pipeline.bundle import Bundle
from trt_pipeline.errors import InvalidInputError, MissingDependencyError

__all__ = ["BACKENDS", "Backend", "CompiledGraph", "Graph", "LoopBackend", "open_backend"]

logger = logging.getLogger(__name__)

BACKENDS = (
    "tensorrt",
    "tensorrt_rtx",
    "onnxruntime_cuda",
    "openvino",
    "onnxruntime",
    "onnxruntime_tensorrt",
    "openvino_bf16",
    "openvino_int8",
)
"""Every backend's name, each a module of this package, in the order in which they are chosen.

The last three never are where another can run: they have to be asked for.
"""


def open_backend(bundle: Bundle, name: str | None, threads: int | None) -> tuple[Backend, str]:
    """Open the named backend, or the best that can run here, and say why it was chosen.

    threads: for arithmetic on the CPU; None is every CPU this process may use.
    InvalidInputError for an unknown name, MissingDependencyError if its package is not installed.
    """
    if name is not None and name not in BACKENDS:
        raise InvalidInputError(f"backend {name!r} is unknown; choose {', '.join(BACKENDS)}.")
    if name is None:
        name, reason = _best(bundle)
    else:
        reason = "as asked for"
    backend = _module(name).open_backend(bundle, threads)
    logger.info("backend %s for %s: %s", name, bundle.model.name, reason)
    return backend, reason


def _best(bundle: Bundle) -> tuple[str, str]:
    obstacles: list[str] = []
    for name in BACKENDS:
        obstacle = _module(name).obstacle(bundle)
        if obstacle is None:
            return name, "; ".join(["the best that can run here", *obstacles])
        obstacles.append(f"{name}: {obstacle}")
    raise MissingDependencyError(f"no backend can run here: {'; '.join(obstacles)}")


def _module(name: str) -> BackendModule:
    return cast(BackendModule, import_module(f"{__name__}.{name}"))
