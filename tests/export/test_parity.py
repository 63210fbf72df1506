"""The finished picture against diffusers, with the same weights and the same noise."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray

from trt_export.precision import round_weights
from trt_pipeline import Pipeline, TorchGenerator, trt_pipeline

PROMPTS = ["a red circle above a small blue square", "über-große Katzen, 猫!"]
SETTINGS = {"num_inference_steps": 50, "guidance_scale": 6.0, "eta": 0.3}


@pytest.fixture(scope="module", params=["plain", "other"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[DiffusionPipeline, Pipeline]]:
    """diffusers and this project on one checkpoint; "other" is stored as float16."""
    checkpoint: Path = request.getfixturevalue(f"{request.param}_checkpoint")
    bundle: Path = request.getfixturevalue(f"{request.param}_bundle")
    theirs = DiffusionPipeline.from_pretrained(checkpoint)
    theirs.set_progress_bar_config(disable=True)
    if request.param == "other":
        for component in ("bert", "unet", "vqvae"):
            round_weights(component, getattr(theirs, component))
    with trt_pipeline(bundle) as ours:
        yield theirs, ours


def _levels(picture: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.round(picture * 255).astype(np.int64)


@pytest.mark.parametrize("seed", [0, 4711])
def test_fifty_steps_with_guidance_and_noise_match_diffusers(
    pair: tuple[DiffusionPipeline, Pipeline], seed: int
) -> None:
    theirs, ours = pair
    torch.manual_seed(seed)
    expected = _levels(theirs(PROMPTS, output_type="np", **SETTINGS).images)
    found = ours(
        PROMPTS,
        generator=TorchGenerator(seed),
        output_type="np",
        progress_bar=False,
        **SETTINGS,
    ).images
    difference = np.abs(_levels(np.asarray(found)) - expected)
    assert (difference <= 1).mean() >= 0.999
    assert difference.max() <= 2


def test_sizes_that_do_not_divide_by_the_downsampling_match_diffusers(
    pair: tuple[DiffusionPipeline, Pipeline],
) -> None:
    theirs, ours = pair
    torch.manual_seed(1)
    size = {"height": 56, "width": 104, "num_inference_steps": 5, "guidance_scale": 2.0}
    expected = _levels(theirs(PROMPTS[0], output_type="np", **size).images)
    found = ours(
        PROMPTS[0], generator=TorchGenerator(1), output_type="np", progress_bar=False, **size
    ).images
    assert np.abs(_levels(np.asarray(found)) - expected).max() <= 2


def test_float16_weights_keep_forty_decibels(other_checkpoint: Path, other_bundle: Path) -> None:
    theirs = DiffusionPipeline.from_pretrained(other_checkpoint)
    theirs.set_progress_bar_config(disable=True)
    torch.manual_seed(2)
    expected = theirs(PROMPTS, output_type="np", **SETTINGS).images
    with trt_pipeline(other_bundle) as ours:
        found = ours(
            PROMPTS, generator=TorchGenerator(2), output_type="np", progress_bar=False, **SETTINGS
        ).images
    error = float(np.square(np.asarray(found) - expected).mean())
    assert 10 * np.log10(1 / error) >= 40
