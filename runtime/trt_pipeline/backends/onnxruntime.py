"""ONNX Runtime on the CPU, in float32 arithmetic whatever the precision of the weights."""

import os
from importlib.util import find_spec
from threading import Lock
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.backends.base import TensorCheck, Tensors
from trt_pipeline.bundle import Bundle
from trt_pipeline.errors import BackendError, MissingDependencyError
from trt_pipeline.manifest import Precision

INSTALL = 'pip install "trt-pipeline[cpu]"'


def obstacle() -> str | None:
    """Why this backend cannot run here, or None if it can."""
    return None if find_spec("onnxruntime") else f"install onnxruntime with: {INSTALL}"


def open_backend(bundle: Bundle, threads: int | None) -> "OnnxRuntimeBackend":
    """Open the backend; MissingDependencyError without the onnxruntime package."""
    return OnnxRuntimeBackend(bundle, threads)


class OnnxRuntimeBackend:
    """One inference session a graph; sessions share the process's memory, not its threads."""

    name = "onnxruntime"
    precision: Precision = "fp32"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """threads: for each graph; None is every CPU this process may use."""
        self._runtime = _import_runtime()
        self._bundle = bundle
        self._graphs: dict[str, OnnxRuntimeGraph] = {}
        self._lock = Lock()
        self._closed = False
        self.threads = (
            _usable_cpus() if threads is None else arguments.integer("threads", threads, 1, 1024)
        )
        self.device = f"CPU, {self.threads} threads"

    def graph(self, name: str) -> "OnnxRuntimeGraph":
        """The graph of that name, opened on first use."""
        with self._lock:
            if self._closed:
                raise BackendError("the pipeline is closed; open it again with trt_pipeline(…).")
            if name not in self._graphs:
                self._graphs[name] = self._open(name)
            return self._graphs[name]

    def _open(self, name: str) -> "OnnxRuntimeGraph":
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3  # errors; warnings are about the exporter's graph
        path = self._bundle.file(self._bundle.graph(name, self.precision).path)
        try:
            session = self._runtime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise BackendError(f"{path} could not be opened: {error}") from error
        return OnnxRuntimeGraph(name, session, self._bundle)

    def close(self) -> None:
        """Drop every session; each is freed when no call uses it any more."""
        with self._lock:
            self._closed = True
            self._graphs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class OnnxRuntimeGraph:
    """One graph in one session."""

    def __init__(self, name: str, session: Any, bundle: Bundle) -> None:
        spec = bundle.graph(name, "fp32")
        self.inputs = spec.inputs
        self.outputs = spec.outputs
        self._name = name
        self._session = session
        self._check = TensorCheck(name, spec.inputs, bundle)
        self._names = [output.name for output in spec.outputs]

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Inputs by name to outputs by name; the caller owns the outputs."""
        self._check(tensors)
        try:
            outputs = self._session.run(self._names, dict(tensors))
        except Exception as error:
            raise BackendError(f"{self._name}: ONNX Runtime failed: {error}") from error
        return dict(zip(self._names, outputs, strict=True))


def _import_runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError(
            f"backend onnxruntime needs the onnxruntime package. Install it with: {INSTALL}"
        ) from None
    return onnxruntime


def _usable_cpus() -> int:
    """CPUs this process may run on, which containers restrict below os.cpu_count()."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
