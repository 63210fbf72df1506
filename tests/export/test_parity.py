"""The finished picture against diffusers, with the same weights and the same noise."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from fidelity import compare, load_diffusers, measure
from numpy.typing import NDArray

from trt_pipeline import Pipeline, load_bundle, trt_pipeline
from trt_pipeline.backends import onnxruntime, open_backend, openvino_bf16

PROMPTS = ["a red circle above a small blue square", "über-große Katzen, 猫!"]
needs_bf16 = pytest.mark.skipif(openvino_bf16.obstacle() is not None, reason="a CPU without it")
SETTINGS: dict[str, Any] = {"num_inference_steps": 50, "guidance_scale": 6.0, "eta": 0.3}


@pytest.fixture(scope="module", params=["plain", "other", "other, not widened"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[DiffusionPipeline, Pipeline]]:
    """diffusers and this project on one checkpoint; "other" is stored as float16."""
    name, _, not_widened = request.param.partition(", ")
    checkpoint: Path = request.getfixturevalue(f"{name}_checkpoint")
    bundle: Path = request.getfixturevalue(f"{name}_bundle")
    with pytest.MonkeyPatch.context() as patch:
        if not_widened:
            patch.setattr(onnxruntime, "MAX_SMALL_BYTES", 0)
        with trt_pipeline(bundle, backend="onnxruntime") as ours:
            yield load_diffusers(checkpoint, rounded=name == "other"), ours


@pytest.mark.parametrize("seed", [0, 4711])
def test_fifty_steps_with_guidance_and_noise_match_diffusers(
    pair: tuple[DiffusionPipeline, Pipeline], seed: int
) -> None:
    found = compare(*pair, PROMPTS, seed, **SETTINGS)
    assert found.within_one >= 0.999
    assert found.largest <= 2


def test_sizes_that_do_not_divide_by_the_downsampling_match_diffusers(
    pair: tuple[DiffusionPipeline, Pipeline],
) -> None:
    size: dict[str, Any] = {
        "height": 56,
        "width": 104,
        "num_inference_steps": 5,
        "guidance_scale": 2.0,
    }
    assert compare(*pair, PROMPTS, 1, **size).largest <= 2


def test_cached_steps_match_diffusers_with_the_features_of_the_step_before(
    pair: tuple[DiffusionPipeline, Pipeline],
) -> None:
    theirs, ours = pair
    features: list[torch.Tensor] = []
    skipped = theirs.unet.conv_in.out_channels

    def keep_features(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Steps 0, 3, 6, … keep theirs; those between see them."""
        sample, time = arguments
        features.append(features[-1] if len(features) % 3 else sample[:, :-skipped])
        return torch.cat([features[-1], sample[:, -skipped:]], dim=1), time

    handle = theirs.unet.up_blocks[-1].resnets[-1].register_forward_pre_hook(keep_features)
    found = compare(theirs, partial(ours, cache_interval=3), PROMPTS, 0, **SETTINGS)
    handle.remove()
    assert len(features) == 50
    assert found.within_one >= 0.999
    assert found.largest <= 2


def test_float16_weights_keep_forty_decibels(other_checkpoint: Path, other_bundle: Path) -> None:
    theirs = load_diffusers(other_checkpoint, rounded=False)
    with trt_pipeline(other_bundle) as ours:
        assert compare(theirs, ours, PROMPTS, 2, **SETTINGS).psnr >= 40


@needs_bf16
def test_bfloat16_arithmetic_keeps_forty_decibels(
    other_checkpoint: Path, other_bundle: Path
) -> None:
    theirs = load_diffusers(other_checkpoint, rounded=False)
    with trt_pipeline(other_bundle, backend="openvino_bf16") as ours:
        assert ours.info.arithmetic == "bf16"
        found = compare(theirs, ours, PROMPTS, 2, **SETTINGS)
    assert 40 <= found.psnr < 70  # and is not float32's


def test_8_bit_layers_keep_thirty_decibels(other_checkpoint: Path, quantized_bundle: Path) -> None:
    theirs = load_diffusers(other_checkpoint, rounded=False)
    with trt_pipeline(quantized_bundle, backend="openvino_int8") as ours:
        assert ours.info.arithmetic == "int8"
        found = compare(theirs, ours, PROMPTS, 2, **SETTINGS)
    assert 30 <= found.psnr < 60  # and is neither float32's nor bfloat16's


@needs_bf16
def test_bfloat16_arithmetic_tells_timesteps_apart(other_bundle: Path) -> None:
    def time_embeds(name: str) -> NDArray[np.float32]:
        with open_backend(load_bundle(other_bundle), name, 1)[0] as backend:
            timesteps = np.array([981, 980], np.float32)
            return backend.graph("time_embedding").run({"timesteps": timesteps})["time_embeds"]

    np.testing.assert_array_equal(time_embeds("openvino_bf16"), time_embeds("openvino"))


def test_other_pictures_are_far_from_parity(pair: tuple[DiffusionPipeline, Pipeline]) -> None:
    theirs, ours = pair
    first = theirs(PROMPTS[0], output_type="np", num_inference_steps=3).images
    second = np.asarray(ours(PROMPTS[1], output_type="np", num_inference_steps=3, seed=0).images)
    assert measure(second, first, 0, "as stored").psnr < 30
