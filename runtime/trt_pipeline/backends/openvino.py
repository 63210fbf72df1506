"""OpenVINO on the CPU: each graph compiled for each set of shapes it meets."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from threading import Lock, Thread
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends.base import TensorCheck, Tensors
from trt_pipeline.backends.compiled_models import CompiledModels
from trt_pipeline.backends.cpu import CpuBackend
from trt_pipeline.backends.row_parts import prediction_inputs, row_parts, step_of
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import GraphPrecision, TensorSpec
from trt_pipeline.bundle.onnx_files import onnx_file
from trt_pipeline.errors import BackendError, MissingDependencyError

INSTALL = 'pip install "trt-pipeline[openvino]"'
MOST_COMPILED = 4
"""Sets of shapes a graph stays compiled for; each holds its own copy of the weights."""
MOST_PARTS = 2
"""In which the rows of a step run side by side, where there are as many threads: half the threads
wait for each other after every layer, which takes a fifth off a small model's step."""
MAX_CACHED_BYTES = 256 * 2**20
"""Weights of a graph above which compiled models, each as large, are not kept on disk."""

Key: TypeAlias = tuple[int, tuple[tuple[int, ...], ...]]
"""Runs at a time, and the shapes of the inputs of one."""


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
        package = import_openvino()
        self._core = package.Core()
        self._core.set_property(
            "CPU",
            {
                "INFERENCE_NUM_THREADS": self.threads,
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        self._kept = CompiledModels(self._core, package.get_version())

    def hint(self, graph: str) -> str:
        """Of a graph's arithmetic; without it, some CPUs would take bfloat16."""
        return "f32"

    def source(self, graph: str) -> GraphPrecision:
        """Of the ONNX graph to read."""
        return self.precision

    def open_graph(self, name: str) -> "OpenVinoGraph":
        """Read the graph's file; BackendError if OpenVINO refuses it."""
        spec = self.bundle.graph(name, self.source(name))
        path = onnx_file(self.bundle, name, self.source(name))
        try:
            model = self._core.read_model(path)
        except RuntimeError as error:
            raise BackendError(f"{path} could not be opened: {error}") from error
        files = [self.bundle.files[file] for file in (spec.path, spec.weights)]
        hint = {"INFERENCE_PRECISION_HINT": self.hint(name)}

        def compiled(shapes: Mapping[str, tuple[int, ...]], streams: int) -> Any:
            """streams: how many runs may share the threads at a time."""

            def reshaped() -> Any:
                fixed = model.clone()
                fixed.reshape({name: list(shape) for name, shape in shapes.items()})
                return fixed

            config = hint | ({"NUM_STREAMS": str(streams)} if streams > 1 else {})
            if files[1].size > MAX_CACHED_BYTES:
                return self._core.compile_model(reshaped(), "CPU", config)
            lines = [file.sha256 for file in files]
            lines += [f"{n}={','.join(map(str, shapes[n]))}" for n in sorted(shapes)]
            return self._kept.compiled("\n".join(lines), config, reshaped)

        return OpenVinoGraph(name, compiled, self.bundle, self.threads)


class OpenVinoGraph:
    """One graph, compiled when it first meets a set of shapes."""

    def __init__(
        self,
        name: str,
        compiled: Callable[[Mapping[str, tuple[int, ...]], int], Any],
        bundle: Bundle,
        threads: int,
    ) -> None:
        """threads: that run the graph."""
        spec = bundle.graph(name, "fp32")
        self.inputs = spec.inputs
        self.outputs = spec.outputs
        self._name = name
        self._compiled_model = compiled
        self._threads = threads
        self._check = TensorCheck(name, spec.inputs, bundle)
        self._compiled: OrderedDict[Key, Compiled] = OrderedDict()
        self._lock = Lock()

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Inputs by name to outputs by name; the caller owns the outputs."""
        self._check(tensors)
        try:
            with self._ran(self._parts(tensors)) as outputs:
                if "rows" in tensors:
                    return step_of(tensors, outputs)
                return {name: tensor.copy() for name, tensor in outputs[0].items()}
        except RuntimeError as error:
            raise BackendError(f"{self._name}: OpenVINO failed: {error}") from error

    def prepare(self, sizes: Mapping[str, int]) -> None:
        """Begin to compile for inputs of these sizes, by dimension; a run waits for it."""
        parts = self._parts(
            {
                spec.name: np.zeros(
                    [d if isinstance(d, int) else sizes[d] for d in spec.shape], spec.dtype
                )
                for spec in self.inputs
            }
        )
        if self._key(parts) not in self._compiled:
            Thread(target=self._try_to_compile, args=(parts,)).start()

    def _parts(self, tensors: Tensors) -> list[Tensors]:
        if "rows" not in tensors:
            return [tensors]
        return row_parts(tensors, min(MOST_PARTS, self._threads, len(tensors["rows"])))

    @contextmanager
    def _ran(self, parts: Sequence[Tensors]) -> Iterator[list[Tensors]]:
        """The outputs of parts of equal shapes, run at the same time; they hold until it ends."""
        compiled = self._compiled_for(parts)
        with ExitStack() as stack:
            lanes = [stack.enter_context(compiled.lane()) for _ in parts]
            try:
                for lane, tensors in zip(lanes, parts, strict=True):
                    lane.start(tensors)
            finally:
                outputs = [lane.outputs() for lane in lanes]
            yield outputs

    def _key(self, parts: Sequence[Tensors]) -> Key:
        given = (spec.name for spec in self.inputs if spec.name in parts[0])
        return len(parts), tuple(parts[0][name].shape for name in given)

    def _compiled_for(self, parts: Sequence[Tensors]) -> "Compiled":
        key = self._key(parts)
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = self._compile(parts[0], len(parts))
                if len(self._compiled) > MOST_COMPILED:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(key)
            return self._compiled[key]

    def _try_to_compile(self, parts: Sequence[Tensors]) -> None:
        with suppress(RuntimeError):  # a run meets it again
            self._compiled_for(parts)

    def _compile(self, part: Tensors, streams: int) -> "Compiled":
        constants = prediction_inputs(part) if len(part) < len(self.inputs) else {}
        shapes = {name: tensor.shape for name, tensor in {**part, **constants}.items()}
        return Compiled(self._compiled_model(shapes, streams), self.outputs, constants)


class Compiled:
    """A graph at fixed shapes, and its lanes: each holds the memory of one run at a time."""

    def __init__(self, model: Any, outputs: Sequence[TensorSpec], constants: Tensors) -> None:
        """constants: inputs that no run changes."""
        self._model = model
        self._outputs = outputs
        self._constants = constants
        self._idle: list[Lane] = []

    @contextmanager
    def lane(self) -> "Iterator[Lane]":
        """One that nobody else uses, with warm memory if there is any."""
        try:
            lane = self._idle.pop()
        except IndexError:
            lane = Lane(self._model.create_infer_request(), self._outputs)
            lane.write(self._constants)
        yield lane
        self._idle.append(lane)


class Lane:
    """A request that reads and writes memory of its own.

    Tensors bound anew for every run take an eighth of a small model's step, and copies far less.
    """

    def __init__(self, request: Any, outputs: Sequence[TensorSpec]) -> None:
        self._request = request
        self._inputs: dict[str, NDArray[Any]] = {}
        self._outputs = {spec.name: request.get_tensor(spec.name).data for spec in outputs}

    def write(self, tensors: Tensors) -> None:
        """Set inputs for this run and those after it."""
        for name, tensor in tensors.items():
            if name not in self._inputs:
                self._inputs[name] = self._request.get_tensor(name).data
            np.copyto(self._inputs[name], tensor)

    def start(self, tensors: Tensors) -> None:
        """Run with these inputs."""
        self.write(tensors)
        self._request.start_async()

    def outputs(self) -> Tensors:
        """Of the run, when it has ended; the next one overwrites them."""
        self._request.wait()
        return self._outputs


def import_openvino() -> Any:
    """The package; MissingDependencyError without it."""
    try:
        import openvino
    except ImportError:
        raise MissingDependencyError(
            f"the openvino package is not installed. Install it with: {INSTALL}"
        ) from None
    return openvino
