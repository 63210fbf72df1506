"""Kernels that TensorRT for RTX compiled, kept between processes.

TensorRT for RTX takes a file of its own version, GPU and driver only, and says so.
"""

import logging
from pathlib import Path
from typing import Any

from trt_pipeline.durable import keep, kept

logger = logging.getLogger(__name__)


class RuntimeCache:
    """The cache of one engine, read at its first context and written on request."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cache: Any = None
        self._saved = b""

    def attach(self, config: Any) -> None:
        """Let contexts made with this configuration read and fill the cache."""
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            self._read()
        config.set_runtime_cache(self._cache)

    def _read(self) -> None:
        content = kept(self._path)
        if content is None:
            return
        if self._cache.deserialize(content):
            self._saved = content
        else:
            logger.info("%s is of another GPU, driver or version; compiling again", self._path)

    def save(self) -> None:
        """Write it if it changed; without a place to write to, the next start compiles again."""
        if self._cache is None:
            return
        content = bytes(memoryview(self._cache.serialize()))
        if content == self._saved:
            return
        keep(self._path, content)
        self._saved = content
