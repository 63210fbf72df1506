"""A step in parts gives what the whole step gives, whatever the parts and the batch."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import BackendError, Bundle, trt_pipeline
from trt_pipeline.backends import Backend, onnxruntime, open_backend
from trt_pipeline.backends.onnxruntime import OnnxRuntimeGraph
from trt_pipeline.backends.openvino import OpenVinoGraph
from trt_pipeline.backends.row_parts import prediction_inputs, row_parts, step_of

CPU_BACKENDS = ("onnxruntime", "openvino")
SETTINGS: dict[str, Any] = {
    "num_inference_steps": 4,
    "eta": 0.3,
    "output_type": "latent",
    "progress_bar": False,
}


def step(backend: Backend, graph: str, rows: int) -> dict[str, NDArray[Any]]:
    """Inputs of a step, of random numbers."""
    rng = np.random.default_rng(0)
    sizes = {"batch": 3, "rows": rows, "latent_height": 4, "latent_width": 5}
    tensors = {
        spec.name: rng.normal(size=[sizes[d] if isinstance(d, str) else d for d in spec.shape])
        for spec in backend.graph(graph).inputs
    }
    tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    return {**tensors, "rows": np.arange(rows, dtype=np.int32) % 3}


@pytest.mark.parametrize("name", ["denoiser", "cached_denoiser"])
@pytest.mark.parametrize(("rows", "count"), [(6, 2), (5, 2), (4, 1), (4, 4), (1, 1)])
def test_the_parts_of_a_step_give_the_step(
    bundle: Bundle, name: str, rows: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "MAX_SMALL_BYTES", 0)  # a large graph runs as a whole
    with open_backend(bundle, "onnxruntime", 1)[0] as backend:
        graph, tensors = backend.graph(name), step(backend, name, rows)
        whole, parts = graph.run(tensors), row_parts(tensors, count)
        others = prediction_inputs(parts[0]["latents"].shape)
        made = step_of(tensors, [graph.run({**part, **others}) for part in parts])
    assert made.keys() == whole.keys()
    for output, expected in whole.items():
        np.testing.assert_allclose(made[output], expected, rtol=1e-5, atol=1e-5)


def compiled_rows(graph: OpenVinoGraph) -> list[int]:
    return [dict(shapes)["latents"][0] for _, shapes in graph._entries]


def test_openvino_compiles_for_few_numbers_of_rows(bundle: Bundle) -> None:
    with open_backend(bundle, "openvino", 1)[0] as backend:
        graph = backend.graph("denoiser")
        assert isinstance(graph, OpenVinoGraph)
        for rows in (1, 2, 3, 5, 6, 7, 8, 4):
            graph.run(step(backend, "denoiser", rows))
        assert compiled_rows(graph) == [1, 2, 8, 4]


def test_rows_are_padded_to_what_a_call_prepared(bundle: Bundle) -> None:
    sizes = {"batch": 3, "rows": 6, "latent_height": 4, "latent_width": 5}
    with open_backend(bundle, "openvino", 1)[0] as backend:
        graph = backend.graph("denoiser")
        assert isinstance(graph, OpenVinoGraph)
        graph.prepare(sizes)
        graph.run(step(backend, "denoiser", 5))
        assert compiled_rows(graph) == [6]
        graph.run(step(backend, "denoiser", 2))
        assert compiled_rows(graph) == [6, 2]


@pytest.mark.parametrize("rows", [3, 5, 7])
def test_padding_changes_no_bit(bundle: Bundle, rows: int) -> None:
    with open_backend(bundle, "openvino", 1)[0] as backend:
        graph, tensors = backend.graph("denoiser"), step(backend, "denoiser", rows)
        assert isinstance(graph, OpenVinoGraph)
        padded = graph.run(tensors)
    with open_backend(bundle, "openvino", 1)[0] as backend:
        graph = backend.graph("denoiser")
        assert isinstance(graph, OpenVinoGraph)
        graph.prepare({"batch": 3, "rows": rows, "latent_height": 4, "latent_width": 5})
        exact = graph.run(tensors)
        assert compiled_rows(graph) == [rows]
    for name, expected in exact.items():
        np.testing.assert_array_equal(padded[name], expected)


@dataclass(frozen=True)
class Failing:
    """A session of ONNX Runtime that fails here, or on its own threads."""

    session: Any
    here: bool

    def run(self, *arguments: Any) -> Any:
        if self.here:
            raise RuntimeError("out of memory")
        return self.session.run(*arguments)

    def run_async(self, names: Any, feed: Any, callback: Callable[..., None], data: Any) -> None:
        if self.here:
            self.session.run_async(names, feed, callback, data)
        else:
            Thread(target=callback, args=([], data, "out of memory")).start()


@pytest.mark.parametrize("here", [True, False])
def test_a_part_that_fails_fails_the_step(bundle: Bundle, here: bool) -> None:
    with open_backend(bundle, "onnxruntime", 2)[0] as backend:
        graph, tensors = backend.graph("denoiser"), step(backend, "denoiser", 2)
        assert isinstance(graph, OnnxRuntimeGraph)
        session = graph._session
        graph._session = Failing(session, here)
        with pytest.raises(BackendError, match="denoiser: ONNX Runtime failed: out of memory"):
            graph.run(tensors)
        graph._session = session
        graph.run(tensors)


def test_an_interrupt_waits_for_the_parts_that_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[bool] = []

    def interrupted(runs: list[Future[None]]) -> None:
        waits.append(runs[0].done())
        if len(waits) == 1:
            raise KeyboardInterrupt
        runs[0].set_result(None)

    monkeypatch.setattr(onnxruntime, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        onnxruntime.finish([Future()])
    assert waits == [False, False]


@pytest.mark.parametrize(("name", "answer"), [("onnxruntime", "ran"), ("openvino", "refused")])
def test_a_forked_process_waits_for_no_thread_that_it_lacks(
    bundle: Bundle, name: str, answer: str
) -> None:
    with open_backend(bundle, name, 2)[0] as backend:
        graph, tensors = backend.graph("denoiser"), step(backend, "denoiser", 2)
        graph.run(tensors)
        assert in_child(lambda: graph.run(tensors)) == answer
    with open_backend(bundle, name, 2)[0] as backend:
        assert in_child(lambda: backend.graph("denoiser").run(tensors)) == "ran"


def in_child(run: Callable[[], object]) -> str:
    """What a process that forks now says of a run: "ran" or "refused", nothing if it hangs."""
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return {0: "ran", 3: "refused"}.get(status, "")
    signal.alarm(30)
    status = 1
    try:
        run()
        status = 0
    except BackendError:
        status = 3
    finally:
        os._exit(status)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("cache_interval", [1, 2])
def test_the_number_of_threads_changes_no_bit(
    bundle: Bundle, backend: str, cache_interval: int
) -> None:
    drawn = []
    for threads in (1, 2, 3):
        with trt_pipeline(bundle, backend=backend, threads=threads) as pipe:
            prompts = ["a red circle", "a blue circle"]
            settings = {**SETTINGS, "cache_interval": cache_interval, "seed": 0}
            drawn.append(pipe(prompts, guidance_scale=[6.0, 1.0], **settings).images)
    np.testing.assert_array_equal(np.asarray(drawn[0]), np.asarray(drawn[1]))
    np.testing.assert_array_equal(np.asarray(drawn[0]), np.asarray(drawn[2]))


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("scale", [6.0, 1.0])
def test_a_picture_does_not_depend_on_those_beside_it(
    bundle: Bundle, backend: str, scale: float
) -> None:
    with trt_pipeline(bundle, backend=backend, threads=2) as pipe:
        alone = pipe("a blue circle", seed=7, guidance_scale=scale, **SETTINGS).images
        prompts = ["a red circle", "a blue circle"]
        scales = [4.0, scale]
        both = pipe(prompts, seed=[3, 7], guidance_scale=scales, **SETTINGS).images
    np.testing.assert_array_equal(np.asarray(both[1:]), np.asarray(alone))
