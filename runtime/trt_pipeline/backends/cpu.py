"""What the CPU backends share: threads, graphs opened once, and their end."""

import os
from abc import abstractmethod
from threading import Lock

from trt_pipeline import arguments
from trt_pipeline.backends.base import Graph
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import Arithmetic, Precision
from trt_pipeline.closing import Closing
from trt_pipeline.errors import BackendError


class CpuBackend(Closing):
    """Float32 graphs whatever the precision of the weights."""

    name: str
    precision: Precision = "fp32"
    arithmetic: Arithmetic = "fp32"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """threads: for each graph; None is every CPU this process may use."""
        self.bundle = bundle
        self.threads = (
            _usable_cpus() if threads is None else arguments.integer("threads", threads, 1, 1024)
        )
        self.device = f"CPU, {arguments.counted(self.threads, 'thread')}"
        self._graphs: dict[str, Graph] = {}
        self._lock = Lock()
        self._closed = False

    @abstractmethod
    def open_graph(self, name: str) -> Graph:
        """Read and prepare one graph; BackendError if that is not possible."""

    def graph(self, name: str) -> Graph:
        """The graph of that name, opened on first use."""
        with self._lock:
            if self._closed:
                raise BackendError("the pipeline is closed; open it again with trt_pipeline(…).")
            if name not in self._graphs:
                self._graphs[name] = self.open_graph(name)
            return self._graphs[name]

    def close(self) -> None:
        """Drop every graph; each is freed when no call uses it any more."""
        with self._lock:
            self._closed = True
            self._graphs.clear()


def _usable_cpus() -> int:
    """CPUs this process may run on, which containers restrict below os.cpu_count()."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
