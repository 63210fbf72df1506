"""OpenVINO on the CPU: each graph compiled for each set of shapes it meets."""

import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from threading import Lock, Thread
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends.base import TensorCheck, Tensors
from trt_pipeline.backends.compiled_models import CompiledModels
from trt_pipeline.backends.cpu import CpuBackend
from trt_pipeline.backends.row_parts import (
    part_count,
    part_size,
    prediction_inputs,
    row_parts,
    step_of,
)
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.integrity import file_problem
from trt_pipeline.bundle.manifest import FileSpec, GraphPrecision, TensorSpec
from trt_pipeline.bundle.onnx_files import onnx_file
from trt_pipeline.errors import BackendError, MissingDependencyError

INSTALL = 'pip install "trt-pipeline[openvino]"'
TELEMETRY = "openvino_telemetry"
"""It writes to ~/intel and reports over the network when openvino is imported, with no switch to
turn it off; openvino does without it where it is missing."""
MAX_COMPILED = {True: 8, False: 4}
"""Sets of shapes that a graph stays compiled for, if it is small and if not; each holds its own
copy of the weights."""
MAX_PADDING = 2
"""Rows that a part may run for each row that it needs, rather than compile for their number."""
MAX_CACHED_BYTES = 256 * 2**20
"""Weights of a graph above which compiled models, each as large, are not kept on disk."""

Key: TypeAlias = tuple[int, tuple[tuple[str, tuple[int, ...]], ...]]
"""Runs at a time, and the shapes of the inputs of one by name."""


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
        path = onnx_file(self.bundle, name, self.source(name))
        try:
            model = self._core.read_model(path)
        except RuntimeError as error:
            raise BackendError(f"{path} could not be opened: {error}") from error
        spec = self.bundle.graph(name, self.source(name))
        files = {file: self.bundle.files[file] for file in (spec.path, spec.weights)}
        may_be_kept = files[spec.weights].size <= MAX_CACHED_BYTES and self._are_as_listed(files)
        source = Source(
            core=self._core,
            model=model,
            config={"INFERENCE_PRECISION_HINT": self.hint(name)},
            kept=self._kept if may_be_kept else None,
            hashes="\n".join(file.sha256 for file in files.values()),
        )
        return OpenVinoGraph(name, source, self.bundle, self.threads)

    def _are_as_listed(self, files: Mapping[str, FileSpec]) -> bool:
        """Which those of a bundle that was opened unverified may not be."""
        folder = self.bundle.path
        return not any(file_problem(folder, *item, hashes=True) for item in files.items())


@dataclass(frozen=True, slots=True)
class Source:
    """A graph as it was read: of free sizes, to be compiled."""

    core: Any
    model: Any
    config: Mapping[str, str]
    """OpenVINO's options."""
    kept: CompiledModels | None
    """Where compiled forms of it are; None if they are not kept."""
    hashes: str
    """Of its files."""

    def compiled(self, shapes: Mapping[str, tuple[int, ...]], streams: int) -> Any:
        """OpenVINO's model for inputs of these shapes; RuntimeError if it fails.

        streams: how many runs may share the threads at a time.
        """
        config = {**self.config, **({"NUM_STREAMS": str(streams)} if streams > 1 else {})}

        def compile_model() -> Any:
            fixed = self.model.clone()
            fixed.reshape({name: list(shape) for name, shape in shapes.items()})
            return self.core.compile_model(fixed, "CPU", config)

        if self.kept is None:
            return compile_model()
        lines = [f"{name}={','.join(map(str, shapes[name]))}" for name in sorted(shapes)]
        return self.kept.compiled("\n".join([self.hashes, *lines]), config, compile_model)


class OpenVinoGraph:
    """One graph, compiled when it first meets a set of shapes."""

    def __init__(self, name: str, source: Source, bundle: Bundle, threads: int) -> None:
        """threads: that run the graph."""
        spec = bundle.graph(name, "fp32")
        self.inputs = spec.inputs
        self.outputs = spec.outputs
        self._name = name
        self._source = source
        self._threads = threads
        self._process = os.getpid()
        self._check = TensorCheck(name, spec.inputs, bundle)
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._lock = Lock()

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Inputs by name to outputs by name; the caller owns the outputs."""
        self._check(tensors)
        if self._is_elsewhere():
            raise BackendError(
                f"{self._name}: this process forked after the pipeline was opened. Open one in it."
            )
        try:
            with self._ran(self._parts(tensors)) as outputs:
                if "rows" in tensors:
                    return step_of(tensors, outputs)
                return {name: tensor.copy() for name, tensor in outputs[0].items()}
        except (RuntimeError, TypeError) as error:
            raise BackendError(f"{self._name}: OpenVINO failed: {error}") from error

    def prepare(self, sizes: Mapping[str, int]) -> None:
        """Begin to compile for inputs of these sizes, by dimension; a run waits for it, and so does
        the end of the process."""
        if self._is_elsewhere():
            return
        tensors = {
            spec.name: np.zeros(
                [d if isinstance(d, int) else sizes[d] for d in spec.shape], spec.dtype
            )
            for spec in self.inputs
        }
        key = self._key(self._parts(tensors, exact=True))
        entry, is_new = self._entry(key)
        if is_new:
            with suppress(RuntimeError):  # no more threads: the run compiles
                Thread(target=entry.prepare, args=(partial(self._compile, *key),)).start()

    def _is_elsewhere(self) -> bool:
        """Whether the process forked since: OpenVINO's threads are not here, and a run would not
        end."""
        return os.getpid() != self._process

    def _parts(self, tensors: Tensors, exact: bool = False) -> list[Tensors]:
        """exact: without padding, as a call does that knows its sizes beforehand."""
        if "rows" not in tensors:
            return [tensors]
        rows = len(tensors["rows"])
        count = part_count(rows, self._threads)
        size = part_size(rows, count)
        if not exact:
            size = self._padded(count, size, tensors["latents"].shape[1:])
        return row_parts(tensors, count, size)

    def _padded(self, count: int, size: int, latents: tuple[int, ...]) -> int:
        """Rows to run for `size`: the fewest that fit among those compiled, or a power of 2."""
        with self._lock:
            compiled = [
                shapes["latents"][0]
                for streams, shapes in ((key[0], dict(key[1])) for key in self._entries)
                if streams == count and shapes["latents"][1:] == latents
            ]
        fitting = [rows for rows in compiled if size <= rows <= MAX_PADDING * size]
        return min(fitting, default=1 << (size - 1).bit_length())

    @contextmanager
    def _ran(self, parts: Sequence[Tensors]) -> Iterator[list[Tensors]]:
        """The outputs of parts of equal shapes, run at the same time; they hold until it ends."""
        key = self._key(parts)
        compiled = self._entry(key)[0].compiled(partial(self._compile, *key))
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
        return len(parts), tuple((name, parts[0][name].shape) for name in given)

    def _entry(self, key: Key) -> "tuple[Entry, bool]":
        """The compiled form for these shapes, made or not, and whether it is new."""
        with self._lock:
            is_new = key not in self._entries
            entry = self._entries.setdefault(key, Entry())
            self._entries.move_to_end(key)
            full = len(self._entries) > MAX_COMPILED[self._source.kept is not None]
            dropped = self._entries.popitem(last=False) if full else None
        del dropped  # without the lock, as freeing it takes long
        return entry, is_new

    def _compile(self, streams: int, part: Iterable[tuple[str, tuple[int, ...]]]) -> "Compiled":
        shapes = dict(part)
        whole = len(shapes) == len(self.inputs)
        constants = {} if whole else prediction_inputs(shapes["latents"])
        shapes |= {name: tensor.shape for name, tensor in constants.items()}
        return Compiled(self._source.compiled(shapes, streams), self.outputs, constants)


class Entry:
    """A graph for one set of shapes, compiled by whoever needs it first; others wait meanwhile.

    It does not know the graph that it belongs to, which is freed as soon as nobody uses it.
    """

    def __init__(self) -> None:
        self._made: Compiled | None = None
        self._lock = Lock()

    def compiled(self, make: "Callable[[], Compiled]") -> "Compiled":
        """RuntimeError if OpenVINO fails; the next call tries again."""
        with self._lock:
            if self._made is None:
                self._made = make()
            return self._made

    def prepare(self, make: "Callable[[], Compiled]") -> None:
        """Compile now; a failure is left to whoever needs it."""
        with suppress(Exception):
            self.compiled(make)


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

    Binding tensors for every run takes an eighth of a small model's step, and copying far less.
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
            np.copyto(self._inputs[name], tensor, casting="no")

    def start(self, tensors: Tensors) -> None:
        """Run with these inputs."""
        self.write(tensors)
        self._request.start_async()

    def outputs(self) -> Tensors:
        """Of the run, when it has ended; the next one overwrites them."""
        self._request.wait()
        return self._outputs


def import_openvino() -> Any:
    """The package, without its telemetry; MissingDependencyError without the package."""
    try:
        with _without(TELEMETRY):
            import openvino
    except ImportError:
        raise MissingDependencyError(
            f"the openvino package is not installed. Install it with: {INSTALL}"
        ) from None
    return openvino


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Let imports of a package fail, unless something else imported it before."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = cast(Any, None)
    try:
        yield
    finally:
        del sys.modules[package]
