"""A step in parts gives what the whole step gives, whatever the parts and the batch."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import Bundle, trt_pipeline
from trt_pipeline.backends import Backend, open_backend
from trt_pipeline.backends.row_parts import prediction_inputs, row_parts, step_of

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
    bundle: Bundle, name: str, rows: int, count: int
) -> None:
    with open_backend(bundle, "onnxruntime", 1)[0] as backend:
        graph, tensors = backend.graph(name), step(backend, name, rows)
        whole, parts = graph.run(tensors), row_parts(tensors, count)
        others = prediction_inputs(parts[0]["latents"].shape)
        made = step_of(tensors, [graph.run({**part, **others}) for part in parts])
    assert made.keys() == whole.keys()
    for output, expected in whole.items():
        np.testing.assert_allclose(made[output], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cache_interval", [1, 2])
def test_the_number_of_threads_changes_no_bit(bundle: Bundle, cache_interval: int) -> None:
    drawn = []
    for threads in (1, 2):
        with trt_pipeline(bundle, backend="openvino", threads=threads) as pipe:
            prompts = ["a red circle", "a blue circle"]
            settings = {**SETTINGS, "cache_interval": cache_interval, "seed": 0}
            drawn.append(pipe(prompts, guidance_scale=[6.0, 1.0], **settings).images)
    np.testing.assert_array_equal(np.asarray(drawn[0]), np.asarray(drawn[1]))


@pytest.mark.parametrize("scale", [6.0, 1.0])
def test_a_picture_does_not_depend_on_those_beside_it(bundle: Bundle, scale: float) -> None:
    with trt_pipeline(bundle, backend="openvino", threads=2) as pipe:
        alone = pipe("a blue circle", seed=7, guidance_scale=scale, **SETTINGS).images
        prompts = ["a red circle", "a blue circle"]
        scales = [4.0, scale]
        both = pipe(prompts, seed=[3, 7], guidance_scale=scales, **SETTINGS).images
    np.testing.assert_array_equal(np.asarray(both[1:]), np.asarray(alone))
