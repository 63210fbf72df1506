"""How long kernels took, which TensorRT measures while it builds, kept between builds.

TensorRT for RTX measures nothing: the GPU that runs a plan chooses the kernels.
"""

import logging
from pathlib import Path
from typing import Any

from trt_pipeline.durable import keep, kept
from trt_pipeline.flavours import named_targets
from trt_pipeline.machine import cache_folder, compute_capability, this_platform

logger = logging.getLogger(__name__)


def timing_cache(trt: Any) -> "TimingCache | None":
    """The timings of this TensorRT on this machine; None for the flavour that takes none."""
    if named_targets(trt):
        return None
    name = f"{trt.__version__}-sm{compute_capability()}-{this_platform()}.timings"
    return TimingCache(cache_folder() / "tensorrt" / name)


class TimingCache:
    """A file of timings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cache: Any = None

    def attach(self, config: Any) -> None:
        """Let a build read the timings and add its own.

        TensorRT compares GPU and version itself, and refuses timings that were taken with others.
        """
        self._cache = config.create_timing_cache(kept(self.path) or b"")
        if self._cache is None or not config.set_timing_cache(self._cache, False):
            logger.info("%s is of another GPU or version; timing again", self.path)
            self._cache = config.create_timing_cache(b"")
            config.set_timing_cache(self._cache, False)

    def save(self) -> None:
        """Write the timings after a build; of two builds at once, the last one's remain."""
        keep(self.path, bytes(memoryview(self._cache.serialize())))
