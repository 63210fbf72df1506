"""Guidance that the model embeds, as LCM has it: no unconditional row."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import InvalidInputError, Pipeline, SeedNoise, trt_pipeline
from trt_pipeline.sampling.samplers import ddim

from .tiny_bundle import EMBEDDING, write_embedded_guidance_bundle

QUICK: dict[str, Any] = {"num_inference_steps": 3, "seed": 0, "progress_bar": False}


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def pipe(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Pipeline]:
    bundle = write_embedded_guidance_bundle(tmp_path_factory.mktemp("bundles") / "embedded")
    with trt_pipeline(bundle, backend=request.param, threads=1) as pipeline:
        yield pipeline


def latents(pipe: Pipeline, prompt: Any = "red", **settings: Any) -> NDArray[np.float32]:
    images = pipe(prompt, output_type="latent", **{**QUICK, **settings}).images
    assert isinstance(images, np.ndarray)
    return images


@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_the_latents_are_those_of_the_formula(pipe: Pipeline, scale: float) -> None:
    """The tiny model's output is x / 2 + mean(text) + timestep / 1000 + scale / 10."""
    red = np.full(77, 0)
    red[:3] = 2, 6, 3
    table = ddim(pipe.bundle.schedule, 3)
    x = SeedNoise(0).draw((1, 4, 8, 8))
    for t, (_, _, a, b0, *_) in zip(table.timesteps, table.coefficients, strict=True):
        x = a * x + b0 * (x / 2 + EMBEDDING[red].mean() + t / 1000 + scale / 10)
    np.testing.assert_allclose(latents(pipe, guidance_scale=scale), x, rtol=1e-5, atol=1e-5)


def test_a_sample_has_one_row_whatever_its_scale(pipe: Pipeline) -> None:
    (sample,) = pipe.start("red", guidance_scale=7.5, **QUICK)
    assert sample.rows[0].weights.tolist() == [1]


def test_samples_of_other_scales_in_one_call_equal_lone_ones(pipe: Pipeline) -> None:
    both = latents(pipe, ["red", "red"], seed=[4, 4], guidance_scale=[1.0, 7.5])
    for row, scale in zip(both, (1.0, 7.5), strict=True):
        np.testing.assert_array_equal(row, latents(pipe, seed=4, guidance_scale=scale)[0])
    assert np.abs(both[0] - both[1]).max() > 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"negative_prompt": "blue"},
            "negative_prompt is 'blue', but this model has guidance",
        ),
        ({"guidance_interval": (0, 0.5)}, r"guidance_interval is \(0, 0\.5\), but this model has"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number"),
    ],
)
def test_what_needs_an_unconditional_row_is_refused(
    pipe: Pipeline, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        latents(pipe, **settings)
