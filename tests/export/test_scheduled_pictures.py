"""Finished pictures of a checkpoint's own scheduler, compared with diffusers' pipeline.

A scheduler changes nothing but the manifest, so the bundles here share their graphs.
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from tests.checkpoints import edit_json
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.checkpoint.schedules.schedule import load_schedule
from trt_pipeline import TorchGenerator, load_bundle, trt_pipeline
from trt_pipeline.bundle import manifest_json
from trt_pipeline.errors import CheckpointError

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
GUIDED: dict[str, Any] = {"prompt": ["a red circle", "a blue star"], "guidance_scale": 3.0}
DDPM: dict[str, Any] = {**BETAS, "clip_sample": False}


def scheduled(checkpoint: Path, place: Path, kind: str, **settings: Any) -> Path:
    """A copy of a checkpoint with another scheduler."""
    copy = Path(shutil.copytree(checkpoint, place / "checkpoint"))
    getattr(diffusers, kind)(**settings).save_pretrained(copy / "scheduler")
    edit_json(copy / "model_index.json", scheduler=["diffusers", kind])
    return copy


def bundle_of(checkpoint: Path, bundle: Path, place: Path) -> Path:
    """What an export of the checkpoint would write; bundle: that of another scheduler."""
    schedule, sampler = load_schedule(open_checkpoint(str(checkpoint)))
    copy = Path(shutil.copytree(bundle, place / "bundle"))
    found = load_bundle(copy)
    defaults = replace(found.defaults, sampler=sampler)
    changed = replace(found, schedule=schedule, defaults=defaults)
    (copy / "bundle.json").write_text(manifest_json(changed))
    return copy


def assert_same_pictures(checkpoint: Path, bundle: Path, **given: Any) -> None:
    """diffusers gives its generator to the first noise alone; the steps take torch's own."""
    settings: dict[str, Any] = {"num_inference_steps": 8, "output_type": "np", **given}
    theirs = diffusers.DiffusionPipeline.from_pretrained(checkpoint)
    theirs.set_progress_bar_config(disable=True)
    torch.manual_seed(0)
    expected = theirs(**settings).images
    settings |= {"generator": TorchGenerator(0), "progress_bar": False}
    with trt_pipeline(bundle) as pipe:
        found = pipe(**settings).images
    difference = np.abs(np.asarray(found) - expected) * 255
    assert (difference <= 1.01).mean() >= 0.999


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_small_log", "fixed_large"])
def test_pictures_of_ddpm_match_diffusers(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path, variance: str
) -> None:
    checkpoint = scheduled(
        plain_checkpoint, tmp_path, "DDPMScheduler", **DDPM, variance_type=variance
    )
    bundle = bundle_of(checkpoint, plain_bundle, tmp_path)
    assert_same_pictures(checkpoint, bundle, **GUIDED)


@pytest.mark.parametrize(
    "settings",
    [
        {"variance_type": "fixed_large", "timestep_spacing": "trailing"},
        {"prediction_type": "v_prediction", "timestep_spacing": "linspace"},
        {"prediction_type": "sample", "steps_offset": 1},
    ],
)
def test_pictures_of_ddpm_without_prompts_match_diffusers(
    unconditional_checkpoint: Path,
    unconditional_bundle: Path,
    tmp_path: Path,
    settings: dict[str, Any],
) -> None:
    checkpoint = scheduled(unconditional_checkpoint, tmp_path, "DDPMScheduler", **DDPM, **settings)
    assert_same_pictures(checkpoint, bundle_of(checkpoint, unconditional_bundle, tmp_path))


@pytest.mark.parametrize(
    ("kind", "given"),
    [("LCMScheduler", {}), ("TCDScheduler", {}), ("TCDScheduler", {"eta": 0.3})],
)
def test_pictures_of_consistency_models_match_diffusers(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path, kind: str, given: dict[str, Any]
) -> None:
    """Without an eta, diffusers' pipelines tell the scheduler 0, whatever its own default."""
    checkpoint = scheduled(plain_checkpoint, tmp_path, kind, **BETAS)
    bundle = bundle_of(checkpoint, plain_bundle, tmp_path)
    assert_same_pictures(checkpoint, bundle, **GUIDED, **given)


def test_pictures_without_a_signal_at_the_end_match_diffusers(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path
) -> None:
    zero_snr = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    settings = {**DDPM, **zero_snr, "timestep_spacing": "trailing"}
    checkpoint = scheduled(plain_checkpoint, tmp_path, "DDIMScheduler", **settings)
    bundle = bundle_of(checkpoint, plain_bundle, tmp_path)
    assert_same_pictures(checkpoint, bundle, **GUIDED)


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("DDIMScheduler", {"clip_sample": True}),
        ("DDPMScheduler", {"clip_sample": True, "thresholding": True}),
        ("DPMSolverMultistepScheduler", {"thresholding": True}),
    ],
)
def test_who_follows_the_advice_against_clipping_gets_diffusers_pictures(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path, kind: str, setting: dict[str, Any]
) -> None:
    checkpoint = scheduled(plain_checkpoint, tmp_path, kind, **BETAS, **setting)
    with pytest.raises(CheckpointError) as caught:
        load_schedule(open_checkpoint(str(checkpoint)))
    advice = re.search(r"Set (.*) in that file", str(caught.value))
    assert advice
    for change in advice[1].split(" and "):
        name, _, value = change.partition(" to ")
        edit_json(checkpoint / "scheduler" / "scheduler_config.json", **{name: json.loads(value)})
    bundle = bundle_of(checkpoint, plain_bundle, tmp_path)
    assert_same_pictures(checkpoint, bundle, **GUIDED)
