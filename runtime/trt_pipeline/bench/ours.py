"""The candidates of this project: one for each backend."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import Pipeline, TorchGenerator, load_bundle
from trt_pipeline.backends import Backend, Graph, open_backend
from trt_pipeline.backends.base import Tensors
from trt_pipeline.bench.candidate import CandidateSpec, Parts
from trt_pipeline.bench.finishing import finishing_parts
from trt_pipeline.bench.worker import worker_command
from trt_pipeline.bench.workload import Workload
from trt_pipeline.bundle.manifest import Arithmetic, Precision
from trt_pipeline.closing import Closing
from trt_pipeline.errors import BundleError
from trt_pipeline.pictures.images import to_pil
from trt_pipeline.text.tokenizer import Tokenizer


def our_spec(bundle: str, backend: str, threads: int | None) -> CandidateSpec:
    """The candidate that runs a bundle on one backend."""
    arguments = {"bundle": bundle, "backend": backend, "threads": threads}
    command = worker_command(f"{__name__}:BackendCandidate", arguments)
    return CandidateSpec(backend, command, Path(bundle))


class BackendCandidate:
    """A pipeline on one backend."""

    def __init__(self, bundle: str, backend: str, threads: int | None) -> None:
        loaded = load_bundle(bundle)
        if loaded.tokenizer is None:
            raise BundleError(f"{bundle} takes no prompts; bench times text-to-image bundles.")
        self._backend, reason = open_backend(loaded, backend, threads)
        self._pipeline = Pipeline(loaded, self._backend, reason)
        self._tokenizer = Tokenizer(loaded.path, loaded.tokenizer)
        self.device = self._backend.device
        self.arithmetic = self._backend.arithmetic

    def generate(self, workload: Workload, prompts: Sequence[str]) -> NDArray[np.uint8]:
        """Pixels [B, H, W, 3] of a picture for each prompt."""
        return np.stack([np.asarray(image) for image in _call(self._pipeline, workload, prompts)])

    def parts(self, workload: Workload, prompts: Sequence[str]) -> Parts:
        """Seconds of each graph's runs, of the tokenizer, and of what follows the decoder."""
        watched = WatchedBackend(self._backend)
        pipeline = Pipeline(self._pipeline.bundle, watched)
        started = time.perf_counter()
        images = _call(pipeline, workload, prompts)
        called = time.perf_counter()
        self._tokenizer.encode(prompts)
        return {
            "tokenize": [time.perf_counter() - called],
            **watched.seconds,
            **finishing_parts(lambda: to_pil(np.stack([np.asarray(image) for image in images]))),
            "total": [called - started],
        }


def _call(pipeline: Pipeline, workload: Workload, prompts: Sequence[str]) -> Any:
    return pipeline(
        list(prompts),
        num_inference_steps=workload.num_inference_steps,
        guidance_scale=workload.guidance_scale,
        sampler="ddim",
        eta=workload.eta,
        generator=TorchGenerator(workload.seed),
        progress_bar=False,
    ).images


class WatchedBackend(Closing):
    """A backend whose graphs note how long each run took; closing it leaves the backend open."""

    def __init__(self, backend: Backend) -> None:
        self.name: str = backend.name
        self.precision: Precision = backend.precision
        self.arithmetic: Arithmetic = backend.arithmetic
        self.device: str = backend.device
        self.seconds: Parts = {}
        self._backend = backend

    def graph(self, name: str) -> Graph:
        """The backend's graph, watched."""
        return _WatchedGraph(self._backend.graph(name), self.seconds.setdefault(name, []))

    def close(self) -> None:
        """Nothing: the graphs are the backend's."""


class _WatchedGraph:
    def __init__(self, graph: Graph, seconds: list[float]) -> None:
        self.inputs = graph.inputs
        self.outputs = graph.outputs
        self._graph = graph
        self._seconds = seconds

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        started = time.perf_counter()
        outputs = self._graph.run(tensors)
        self._seconds.append(time.perf_counter() - started)
        return outputs
