"""Scheduler configurations as published Stable Diffusion repositories have them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
from diffusers import StableDiffusionPipeline

from tests.trajectories import ours, started, theirs, worst
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.schedules.schedule import load_schedule
from trt_export.families import ldm_text_to_image, stable_diffusion
from trt_pipeline.bundle.manifest import ScheduleSpec
from trt_pipeline.errors import CheckpointError
from trt_pipeline.sampling.samplers import sampler_table

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates, and warns of what it
# corrects.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

STABLE: dict[str, Any] = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
EULER: dict[str, Any] = {
    **STABLE,
    "interpolation_type": "linear",
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "use_karras_sigmas": False,
}
SDXL: dict[str, Any] = {
    **EULER,
    "final_sigmas_type": "zero",
    "rescale_betas_zero_snr": False,
    "sigma_max": None,
    "sigma_min": None,
    "timestep_spacing": "leading",
    "timestep_type": "discrete",
}
DPM: dict[str, Any] = {
    **STABLE,
    "algorithm_type": "dpmsolver++",
    "dynamic_thresholding_ratio": 0.995,
    "euler_at_final": False,
    "final_sigmas_type": "zero",
    "lambda_min_clipped": -float("inf"),
    "lower_order_final": True,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "solver_order": 2,
    "solver_type": "midpoint",
    "thresholding": False,
    "timestep_spacing": "leading",
    "use_lu_lambdas": False,
    "variance_type": None,
}
LCM: dict[str, Any] = {
    **STABLE,
    "clip_sample_range": 1.0,
    "dynamic_thresholding_ratio": 0.995,
    "original_inference_steps": 50,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "sample_max_value": 1.0,
    "thresholding": False,
    "timestep_scaling": 10.0,
    "timestep_spacing": "leading",
}
V: dict[str, Any] = {"prediction_type": "v_prediction"}

PUBLISHED: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "Stable Diffusion 1.x": ("PNDM", STABLE, "pndm", 20),
    "1.x before clip_sample was set": ("PNDM", {**STABLE, "clip_sample": True}, "pndm", 20),
    "2.1": ("DDIM", {**STABLE, **V}, "ddim", 20),
    "2.1 with PNDM": ("PNDM", {**STABLE, **V}, "pndm", 20),
    "SD-Turbo": ("EulerDiscrete", {**EULER, "timestep_spacing": "trailing"}, "euler", 1),
    "SDXL": ("EulerDiscrete", SDXL, "euler", 20),
    "SDXL-Turbo": (
        "EulerAncestralDiscrete",
        {**EULER, "timestep_spacing": "trailing"},
        "euler_ancestral",
        4,
    ),
    "LCM": ("LCM", LCM, "lcm", 4),
    "LCM, its numbers written as integers": ("LCM", {**LCM, "timestep_scaling": 10}, "lcm", 8),
    "TCD": ("TCD", LCM, "tcd", 4),
    "TCD from a clipping scheduler": (
        "TCD",
        {**LCM, "clip_sample": True, "thresholding": True, "timestep_scaling": 5.0},
        "tcd",
        8,
    ),
    "a fine-tune": ("DPMSolverMultistep", DPM, "dpmsolver++", 20),
    "a fine-tune with Karras' levels": (
        "DPMSolverMultistep",
        {**DPM, "use_karras_sigmas": True},
        "dpmsolver++_karras",
        20,
    ),
    "Euler with Karras' levels": (
        "EulerDiscrete",
        {**SDXL, "use_karras_sigmas": True},
        "euler_karras",
        20,
    ),
    "Euler with Karras' levels of a cosine schedule": (
        "EulerDiscrete",
        {**SDXL, "use_karras_sigmas": True, "beta_schedule": "squaredcos_cap_v2"},
        "euler_karras",
        7,
    ),
}
"""Model → class, configuration, sampler, and steps."""


def checkpoint(folder: Path, kind: str, config: dict[str, Any]) -> Checkpoint:
    """A Stable Diffusion, as far as its schedule is read."""
    (folder / "scheduler").mkdir()
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", kind]}
    (folder / "model_index.json").write_text(json.dumps(index))
    written = {"_class_name": kind, "_diffusers_version": "0.24.0.dev0", **config}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(written))
    return Checkpoint(folder, "stable", stable_diffusion.FAMILY)


def of_the_pipeline(folder: Path, kind: str) -> Any:
    """diffusers' scheduler, as StableDiffusionPipeline corrects it."""
    scheduler = getattr(diffusers, kind).from_pretrained(folder / "scheduler")
    empty = dict.fromkeys(
        ("vae", "text_encoder", "tokenizer", "unet", "safety_checker", "feature_extractor")
    )
    pipeline = StableDiffusionPipeline(**empty, scheduler=scheduler, requires_safety_checker=False)
    return pipeline.scheduler


def off(schedule: ScheduleSpec, sampler: str, scheduler: Any, steps: int) -> float:
    """How far a trajectory is from that of diffusers."""
    scheduler.set_timesteps(steps)
    run = started(sampler_table(sampler, schedule, steps), scheduler)
    with pytest.MonkeyPatch.context() as patch:
        return worst(ours(run, np.float32), theirs(run, np.float32, patch))


@pytest.mark.parametrize(
    ("kind", "config", "sampler", "steps"), PUBLISHED.values(), ids=list(PUBLISHED)
)
def test_a_published_scheduler_gives_the_trajectory_of_diffusers(
    tmp_path: Path, kind: str, config: dict[str, Any], sampler: str, steps: int
) -> None:
    name = f"{kind}Scheduler"
    schedule, found = load_schedule(checkpoint(tmp_path, name, config))
    assert found == sampler
    assert off(schedule, sampler, of_the_pipeline(tmp_path, name), steps) <= 1e-5


@pytest.mark.parametrize(
    "settings", [{}, {"steps_offset": 0, "clip_sample": True}, {"steps_offset": 3}]
)
@pytest.mark.parametrize("kind", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler"])
def test_what_the_pipeline_corrects_is_corrected(
    tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    """StableDiffusionPipeline samples with steps_offset 1 and without clip_sample in any case."""
    silent = {key: STABLE[key] for key in STABLE.keys() - {"steps_offset", "clip_sample"}}
    spaced = {**silent, **settings, "timestep_spacing": "leading"}
    schedule, sampler = load_schedule(checkpoint(tmp_path, kind, spaced))
    assert schedule.steps_offset == 1
    assert off(schedule, sampler, of_the_pipeline(tmp_path, kind), 20) <= 1e-5


def test_a_family_whose_pipeline_corrects_nothing_keeps_what_the_file_says(tmp_path: Path) -> None:
    given = checkpoint(tmp_path, "DDIMScheduler", {**STABLE, "steps_offset": 0})
    plain = replace(given, family=ldm_text_to_image.FAMILY)
    assert load_schedule(plain)[0].steps_offset == 0
    (tmp_path / "scheduler" / "scheduler_config.json").write_text('{"clip_sample": true}')
    with pytest.raises(CheckpointError, match="clip_sample is true"):
        load_schedule(plain)


@pytest.mark.parametrize("value", ["1", 1.0, True, None])
def test_a_setting_of_the_wrong_type_is_refused_and_not_corrected(
    tmp_path: Path, value: object
) -> None:
    given = checkpoint(tmp_path, "PNDMScheduler", {**STABLE, "steps_offset": value})
    with pytest.raises(CheckpointError, match=r"steps_offset is .*, expected a whole number"):
        load_schedule(given)


@pytest.mark.parametrize(
    "name",
    [
        "DEISMultistepScheduler",
        "DPMSolverSDEScheduler",
        "DPMSolverSinglestepScheduler",
        "EDMEulerScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
    ],
)
def test_a_scheduler_without_a_sampler_is_refused_by_name(tmp_path: Path, name: str) -> None:
    given = checkpoint(tmp_path, name, STABLE)
    with pytest.raises(CheckpointError, match=f"a {name} is not known; only DDIMScheduler, "):
        load_schedule(given)


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        ("LCM", {"original_inference_steps": 100}, "original_inference_steps is 100.* 50 only"),
        ("TCD", {"original_inference_steps": 25}, "original_inference_steps is 25.* 50 only"),
        ("LCM", {"original_inference_steps": True}, "original_inference_steps is true"),
        ("LCM", {"timestep_scaling": 1.0}, r"timestep_scaling is 1\.0, .* with 10\.0 only"),
        ("LCM", {"thresholding": True}, "thresholding is true, .* with false only"),
        ("EulerDiscrete", {"use_karras_sigmas": True, "sigma_max": 14.6}, r"sigma_max is 14\.6"),
        ("EulerDiscrete", {"use_karras_sigmas": True, "sigma_min": 0.03}, r"sigma_min is 0\.03"),
    ],
)
def test_what_no_table_follows_is_refused(
    tmp_path: Path, kind: str, setting: dict[str, Any], message: str
) -> None:
    base = SDXL if kind == "EulerDiscrete" else LCM
    with pytest.raises(CheckpointError, match=message):
        load_schedule(checkpoint(tmp_path, f"{kind}Scheduler", {**base, **setting}))
