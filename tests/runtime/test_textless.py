"""Pipelines without prompts: unconditional, and super-resolution."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trt_pipeline import (
    Bundle,
    BundleError,
    InvalidInputError,
    SeedNoise,
    SuperResolutionPipeline,
    UnconditionalPipeline,
    UnknownArgumentError,
    trt_pipeline,
)
from trt_pipeline.sampling.samplers import ddim

from .tiny_bundle import write_textless_bundle

QUICK: dict[str, Any] = {"num_inference_steps": 3, "progress_bar": False, "seed": 0}


@pytest.fixture
def unconditional(tmp_path: Path) -> Iterator[UnconditionalPipeline]:
    with UnconditionalPipeline.open(write_textless_bundle(tmp_path / "u", "LDMPipeline")) as pipe:
        yield pipe


@pytest.fixture
def enlarging(tmp_path: Path) -> Iterator[SuperResolutionPipeline]:
    bundle = write_textless_bundle(tmp_path / "s", "LDMSuperResolutionPipeline")
    with SuperResolutionPipeline.open(bundle) as pipe:
        yield pipe


@pytest.mark.parametrize("cache_interval", [1, 2])
def test_unconditional_latents_are_those_of_the_formula(
    unconditional: UnconditionalPipeline, cache_interval: int
) -> None:
    """The tiny model's output is its features, x / 2."""
    table = ddim(unconditional.bundle.schedule, 3)
    x = SeedNoise(0).draw((1, 4, 8, 8))
    for step, (p, q, a, b0, *_) in enumerate(table.coefficients):
        if step % cache_interval == 0:
            features = x / 2
        x = a * x + b0 * (p * x + q * features)
    found = unconditional(output_type="latent", cache_interval=cache_interval, **QUICK).images
    np.testing.assert_allclose(np.asarray(found), x, rtol=1e-5, atol=1e-6)


def test_a_batch_larger_than_the_bundle_s_is_split(unconditional: UnconditionalPipeline) -> None:
    many = unconditional(batch_size=6, **QUICK)
    alone = unconditional(**{**QUICK, "seed": 5}).images[0]
    assert many.seeds == (0, 1, 2, 3, 4, 5)
    np.testing.assert_array_equal(np.asarray(many.images[5]), np.asarray(alone))


def test_an_unknown_argument_is_refused(unconditional: UnconditionalPipeline) -> None:
    with pytest.raises(UnknownArgumentError, match="prompt is no argument of this call"):
        unconditional(prompt="red")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="batch_size must be an integer from 1"):
        unconditional(batch_size=0)


def test_an_enlarged_picture_has_the_latents_of_its_own_size(
    enlarging: SuperResolutionPipeline,
) -> None:
    small = Image.new("RGBA", (40, 33), (255, 0, 0, 255))
    assert enlarging.bundle.model.vae_scale_factor == 8
    with pytest.raises(InvalidInputError, match=r"image would be enlarged to 256x256 .* 32\.\.128"):
        enlarging(small, **QUICK)


def test_images_of_several_sizes_are_refused(enlarging: SuperResolutionPipeline) -> None:
    images = [Image.new("L", (64, 64)), Image.new("L", (32, 32))]
    with pytest.raises(InvalidInputError, match="image: 64x64, 32x32 pixels; all must have one"):
        enlarging(images, **QUICK)
    with pytest.raises(
        InvalidInputError, match="batch_size must be 2, the number of images, got 3"
    ):
        enlarging(images, batch_size=3, **QUICK)


def test_a_bundle_of_another_pipeline_is_refused_by_name(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"LDMTextToImagePipeline, this opens .*; use trt_pipel"):
        UnconditionalPipeline.open(bundle)
    other = write_textless_bundle(tmp_path / "u", "LDMPipeline")
    with pytest.raises(BundleError, match=r"use UnconditionalPipeline\.open"):
        trt_pipeline(other)
