"""Models that OpenVINO compiled, kept on disk so that only the first process compiles.

OpenVINO's own cache does that too. But it reshapes and hashes a model to find it again, a fifth of
a small model's cold start, and puts the whole process into the C locale meanwhile, where threads
that do so at once leave it.
"""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any

from trt_pipeline.durable import keep, kept
from trt_pipeline.machine import cache_folder

logger = logging.getLogger(__name__)

MAX_BYTES = 2**30
"""Of all that is kept; the least recently used goes first."""


class CompiledModels:
    """Those of one core on the CPU, for Python and C++ alike."""

    def __init__(self, core: Any, version: str) -> None:
        """version: OpenVINO's, with its build."""
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        cpu = core.get_property("CPU", "FULL_DEVICE_NAME")
        self._core = core
        self._folder = cache_folder() / "openvino"
        self._fits = "\n".join([version, cpu, " ".join(sorted(able))])

    def compiled(self, source: str, config: Mapping[str, str], make: Callable[[], Any]) -> Any:
        """The compiled form of a model, which is made where it is not kept.

        source: all that makes another model of it: hashes, shapes.
        """
        options = "".join(f"{name}={config[name]}\n" for name in sorted(config))
        name = sha256(f"{self._fits}\n{options}{source}".encode()).hexdigest()
        path = self._folder / f"{name[:32]}.model"
        content = kept(path)
        if content is not None:
            try:
                compiled = self._core.import_model(content, "CPU", config)
                with suppress(OSError):
                    os.utime(path)
                return compiled
            except RuntimeError as error:
                logger.info("%s is not taken, compiling again: %s", path, error)
        compiled = make()
        keep(path, compiled.export_model().getvalue())
        with suppress(OSError):
            self._make_room()
        return compiled

    def _make_room(self) -> None:
        found = [(path.stat(), path) for path in self._folder.iterdir()]
        total = 0
        for status, path in sorted(found, key=lambda one: one[0].st_mtime_ns, reverse=True):
            total += status.st_size
            if total > MAX_BYTES:
                path.unlink()
