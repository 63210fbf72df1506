"""ONNX Runtime on the CPU."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, wait
from functools import partial
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

from trt_pipeline.backends.base import Graph, TensorCheck, Tensors
from trt_pipeline.backends.cpu import CpuBackend
from trt_pipeline.backends.row_parts import part_count, prediction_inputs, row_parts, step_of
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.onnx_files import onnx_file
from trt_pipeline.errors import BackendError, MissingDependencyError

INSTALL = 'pip install "trt-pipeline[cpu]"'
MAX_SMALL_BYTES = 256 * 2**20
"""Weights of a graph above which a step runs as a whole, and half-precision ones stay as stored.

Those lie in memory as the file's own pages, and every run widens them again: a step of the full
size takes a fifth longer, opening it 0.2 s instead of 12, and memory is half as much.
"""


def obstacle(bundle: Bundle | None = None) -> str | None:
    """Why this backend cannot run here, or None if it can."""
    return None if find_spec("onnxruntime") else f"install onnxruntime with: {INSTALL}"


def open_backend(bundle: Bundle, threads: int | None) -> "OnnxRuntimeBackend":
    """Open the backend; MissingDependencyError without the onnxruntime package."""
    return OnnxRuntimeBackend(bundle, threads)


class OnnxRuntimeBackend(CpuBackend):
    """One inference session a graph; sessions share the process's memory, not its threads."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """threads: for each graph; None is every CPU this process may use."""
        super().__init__(bundle, threads)
        self._runtime = _import_runtime()

    def open_graph(self, name: str) -> Graph:
        """A session over the graph's file; BackendError if ONNX Runtime refuses it."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3  # errors; warnings are about the exporter's graph
        # A session's idle threads would keep the CPUs busy for some 30 ms, while the next one runs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # The arena saves small models a thirtieth of their time, and keeps what large ones widen.
        options.enable_cpu_mem_arena = not any(map(self._stays_half, self.bundle.graphs))
        if self._stays_half(name):
            level = self._runtime.GraphOptimizationLevel.ORT_DISABLE_ALL  # folding would widen
            options.graph_optimization_level = level
        path = onnx_file(self.bundle, name, self.precision)
        try:
            session = self._runtime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise BackendError(f"{path} could not be opened: {error}") from error
        threads = None if self._is_large(name) else self.threads  # each part reads all weights
        return OnnxRuntimeGraph(name, session, self.bundle, threads)

    def _stays_half(self, name: str) -> bool:
        return "fp16" in self.bundle.graphs.get(name, ()) and self._is_large(name)

    def _is_large(self, name: str) -> bool:
        weights = self.bundle.graph(name, self.precision).weights
        return self.bundle.files[weights].size > MAX_SMALL_BYTES


class OnnxRuntimeGraph:
    """One graph in one session."""

    def __init__(self, name: str, session: Any, bundle: Bundle, threads: int | None) -> None:
        """threads: that share a step in parts; None if it runs as a whole."""
        spec = bundle.graph(name, "fp32")
        self.inputs = spec.inputs
        self.outputs = spec.outputs
        self._name = name
        self._session = session
        self._threads = threads
        self._process = os.getpid()
        self._check = TensorCheck(name, spec.inputs, bundle)
        self._names = [output.name for output in spec.outputs]

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Inputs by name to outputs by name; the caller owns the outputs."""
        self._check(tensors)
        if self._threads is None or "rows" not in tensors:
            return self._ran([tensors])[0]
        # The session's threads are not in a process that forked since; its own does all.
        threads = self._threads if os.getpid() == self._process else 1
        parts = row_parts(tensors, part_count(len(tensors["rows"]), threads))
        constants = prediction_inputs(parts[0]["latents"].shape)
        return step_of(tensors, self._ran([{**part, **constants} for part in parts]))

    def _ran(self, parts: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]:
        """The outputs of each, run at the same time: the first here, others beside it."""
        others: list[Future[Sequence[NDArray[Any]]]] = []
        try:
            others.extend(started(self._session, self._names, tensors) for tensors in parts[1:])
            first = self._session.run(self._names, dict(parts[0]))
            outputs = [first, *(other.result() for other in others)]
        except Exception as error:
            raise BackendError(f"{self._name}: ONNX Runtime failed: {error}") from error
        finally:
            finish(others)
        return [dict(zip(self._names, one, strict=True)) for one in outputs]


def started(
    session: Any, names: Sequence[str], tensors: Tensors
) -> "Future[Sequence[NDArray[Any]]]":
    """The outputs of a run on one of the session's own threads."""
    future: Future[Sequence[NDArray[Any]]] = Future()
    feed = dict(tensors)
    # As the callback's data it lives until the run has ended: ONNX Runtime 1.22 lets go of inputs.
    session.run_async(names, feed, partial(_settle, future), feed)
    return future


def _settle(
    future: "Future[Sequence[NDArray[Any]]]", outputs: Sequence[NDArray[Any]], _: Any, error: str
) -> None:
    if error:
        future.set_exception(RuntimeError(error))
    else:
        future.set_result(outputs)


def finish(runs: "Sequence[Future[Any]]") -> None:
    """Wait until all have ended; an interrupt meanwhile is raised afterwards."""
    try:
        wait(runs)
    except BaseException:
        finish(runs)
        raise


def _import_runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError(
            f"backend onnxruntime needs the onnxruntime package. Install it with: {INSTALL}"
        ) from None
    return onnxruntime
