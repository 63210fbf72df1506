"""OpenVINO on the CPU: each graph compiled for each set of shapes it meets."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from tempfile import TemporaryFile
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends.base import TensorCheck, Tensors
from trt_pipeline.backends.cpu import CpuBackend
from trt_pipeline.backends.row_parts import row_parts, step_of
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import GraphPrecision
from trt_pipeline.bundle.onnx_files import onnx_file
from trt_pipeline.errors import BackendError, MissingDependencyError
from trt_pipeline.machine import cache_folder

logger = logging.getLogger(__name__)

INSTALL = 'pip install "trt-pipeline[openvino]"'
MOST_COMPILED = 4
"""Sets of shapes a graph stays compiled for; each holds its own copy of the weights."""
MOST_PARTS = 2
"""In which the rows of a step run side by side, where there are as many threads: half the threads
wait for each other after every layer, which takes a fifth off a small model's step."""
MAX_CACHED_BYTES = 256 * 2**20
"""Weights of a graph above which compiled models, each as large, are not kept on disk."""

Shapes: TypeAlias = tuple[tuple[int, ...], ...]


def obstacle(bundle: Bundle | None = None) -> str | None:
    """Why this backend cannot run here, or None if it can."""
    return None if find_spec("openvino") else f"install openvino with: {INSTALL}"


def open_backend(bundle: Bundle, threads: int | None) -> "OpenVinoBackend":
    """Open the backend; MissingDependencyError without the openvino package."""
    return OpenVinoBackend(bundle, threads)


class OpenVinoBackend(CpuBackend):
    """One OpenVINO core; graphs are compiled for fixed shapes, which is faster than free ones."""

    name = "openvino"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """threads: for each graph; None is every CPU this process may use."""
        super().__init__(bundle, threads)
        self._core = import_openvino().Core()
        self._cache = _cache(self.name)
        self._core.set_property(
            "CPU",
            {
                "INFERENCE_NUM_THREADS": self.threads,
                "PERFORMANCE_HINT": "LATENCY",
            },
        )

    def hint(self, graph: str) -> str:
        """Of a graph's arithmetic; without it, some CPUs would take bfloat16."""
        return "f32"

    def source(self, graph: str) -> GraphPrecision:
        """Of the ONNX graph to read."""
        return self.precision

    def open_graph(self, name: str) -> "OpenVinoGraph":
        """Read the graph's file; BackendError if OpenVINO refuses it."""
        source = self.source(name)
        path = onnx_file(self.bundle, name, source)
        try:
            model = self._core.read_model(path)
        except RuntimeError as error:
            raise BackendError(f"{path} could not be opened: {error}") from error
        weights = self.bundle.files[self.bundle.graph(name, source).weights]
        config = {"INFERENCE_PRECISION_HINT": self.hint(name)}
        if weights.size <= MAX_CACHED_BYTES:
            config |= self._cache

        def compile_model(fixed: Any, streams: int) -> Any:
            """streams: how many runs may share the threads at a time."""
            sharing = {"NUM_STREAMS": str(streams)} if streams > 1 else {}
            return self._core.compile_model(fixed, "CPU", config | sharing)

        return OpenVinoGraph(name, compile_model, model, self.bundle, self.threads)


class OpenVinoGraph:
    """One graph, compiled when it first meets a set of shapes."""

    def __init__(
        self,
        name: str,
        compile_model: Callable[[Any, int], Any],
        model: Any,
        bundle: Bundle,
        threads: int,
    ) -> None:
        """threads: that run the graph."""
        spec = bundle.graph(name, "fp32")
        self.inputs = spec.inputs
        self.outputs = spec.outputs
        self._name = name
        self._compile_model = compile_model
        self._model = model
        self._threads = threads
        self._check = TensorCheck(name, spec.inputs, bundle)
        self._compiled: OrderedDict[tuple[int, Shapes], Compiled] = OrderedDict()
        self._lock = Lock()

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Inputs by name to outputs by name; the caller owns the outputs."""
        self._check(tensors)
        try:
            if "rows" not in tensors:
                return self._run([tensors])[0]
            count = min(MOST_PARTS, self._threads, len(tensors["rows"]))
            return step_of(tensors, self._run(row_parts(tensors, count)))
        except RuntimeError as error:
            raise BackendError(f"{self._name}: OpenVINO failed: {error}") from error

    def _run(self, parts: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]:
        """The outputs of parts of equal shapes, run at the same time."""
        compiled = self._compile(parts[0], len(parts))
        given = [{n: np.ascontiguousarray(t) for n, t in part.items()} for part in parts]
        with ExitStack() as stack:
            requests = [stack.enter_context(compiled.request()) for _ in parts]
            try:
                for request, tensors in zip(requests, given, strict=True):
                    request.start_async(tensors, share_inputs=True)
            finally:  # what is running reads the tensors
                for request in requests:
                    request.wait()
            return [
                {spec.name: request.get_tensor(spec.name).data.copy() for spec in self.outputs}
                for request in requests
            ]

    def _compile(self, tensors: Tensors, streams: int) -> "Compiled":
        shapes = tuple(tensors[spec.name].shape for spec in self.inputs)
        with self._lock:
            if (streams, shapes) not in self._compiled:
                self._compiled[streams, shapes] = self._compile_for(shapes, streams)
                if len(self._compiled) > MOST_COMPILED:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end((streams, shapes))
            return self._compiled[streams, shapes]

    def _compile_for(self, shapes: Shapes, streams: int) -> "Compiled":
        model = self._model.clone()
        names = (spec.name for spec in self.inputs)
        model.reshape({n: list(shape) for n, shape in zip(names, shapes, strict=True)})
        return Compiled(self._compile_model(model, streams))


class Compiled:
    """A graph at fixed shapes, and its requests: each holds the memory of one run at a time."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._idle: list[Any] = []

    @contextmanager
    def request(self) -> Iterator[Any]:
        """One that nobody else uses, with warm memory if there is any."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        yield request
        self._idle.append(request)


def _cache(backend: str) -> dict[str, str]:
    """OpenVINO's option to keep compiled models, where this user may write.

    It names them by a hash of the model, its weights, its shapes and the version, not of the
    arithmetic: each backend has a folder of its own.
    """
    folder = cache_folder() / backend
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return {"CACHE_DIR": str(folder)}
    except OSError as error:
        logger.info("compiled models are not kept: %s", error)
        return {}


def import_openvino() -> Any:
    """The package; MissingDependencyError without it."""
    try:
        import openvino
    except ImportError:
        raise MissingDependencyError(
            f"the openvino package is not installed. Install it with: {INSTALL}"
        ) from None
    return openvino
