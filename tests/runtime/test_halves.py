"""A step in two halves gives what the whole step gives."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import Bundle, trt_pipeline
from trt_pipeline.backends import Backend, open_backend
from trt_pipeline.backends.halves import halve, join

SIZES = {"batch": 3, "rows": 6, "latent_height": 4, "latent_width": 5}


def step(backend: Backend, graph: str = "denoiser", rows: int = 6) -> dict[str, NDArray[Any]]:
    """Inputs of a step, of random numbers."""
    rng = np.random.default_rng(0)
    sizes = {**SIZES, "rows": rows}
    tensors = {
        spec.name: rng.normal(size=[sizes[d] if isinstance(d, str) else d for d in spec.shape])
        for spec in backend.graph(graph).inputs
    }
    tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    return {**tensors, "rows": np.arange(rows, dtype=np.int32) % 3}


@pytest.mark.parametrize("name", ["denoiser", "cached_denoiser"])
def test_both_halves_add_up_to_the_step(bundle: Bundle, name: str) -> None:
    with open_backend(bundle, "onnxruntime", 1)[0] as backend:
        graph, tensors = backend.graph(name), step(backend, name)
        whole, halves = graph.run(tensors), halve(tensors)
        assert halves is not None
        joined = join(*map(graph.run, halves))
    assert joined.keys() == whole.keys()
    for output, expected in whole.items():
        np.testing.assert_allclose(joined[output], expected, rtol=1e-5, atol=1e-5)


def test_an_odd_number_of_rows_stays_together(bundle: Bundle) -> None:
    with open_backend(bundle, "onnxruntime", 1)[0] as backend:
        assert halve(step(backend, rows=5)) is None


def test_a_model_without_rows_stays_together() -> None:
    assert halve({"latents": np.zeros((2, 4, 8, 8), np.float32)}) is None


@pytest.mark.parametrize("cache_interval", [1, 2])
@pytest.mark.parametrize("prompts", [["a red circle"], ["a red circle", "a blue circle"]])
def test_two_threads_draw_what_one_draws(
    bundle: Bundle, prompts: list[str], cache_interval: int
) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 6.0, "eta": 0.3}
    settings |= {"cache_interval": cache_interval, "output_type": "latent", "seed": 0}
    drawn = []
    for threads in (1, 2):
        with trt_pipeline(bundle, backend="openvino", threads=threads) as pipe:
            drawn.append(pipe(prompts, progress_bar=False, **settings).images)
    one, two = map(np.asarray, drawn)
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


def test_a_picture_does_not_depend_on_those_beside_it(bundle: Bundle) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 6.0, "eta": 0.3}
    settings |= {"output_type": "latent", "progress_bar": False}
    with trt_pipeline(bundle, backend="openvino", threads=2) as pipe:
        alone = pipe("a blue circle", seed=7, **settings).images
        both = pipe(["a red circle", "a blue circle"], seed=[3, 7], **settings).images
    np.testing.assert_array_equal(both[1:], alone)
