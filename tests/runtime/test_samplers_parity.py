"""Whole trajectories of every sampler against diffusers' scheduler of that name."""

from typing import Any

import numpy as np
import pytest

from tests.trajectories import Case, in_float64, ours, started, theirs, worst
from trt_pipeline.bundle.manifest import PREDICTION_TYPES, ScheduleSpec, TimestepSpacing
from trt_pipeline.sampling.samplers import SAMPLERS

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SPACINGS = ("leading", "trailing", "linspace")
STEPS = (5, 20, 30, 50, 250)

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "lms": ("LMSDiscreteScheduler", {}),
    "dpmsolver++": ("DPMSolverMultistepScheduler", {}),
    "dpmsolver++_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "ddpm_fixed_large": (
        "DDPMScheduler",
        {"clip_sample": False, "variance_type": "fixed_large"},
    ),
}


def case(
    sampler: str, steps: int, spacing: TimestepSpacing, prediction_type: str, offset: int
) -> Case:
    """offset 1 takes the rest of the training schedule with it."""
    diffusers = pytest.importorskip("diffusers")
    if sampler == "lms":
        pytest.importorskip("scipy")
    name, settings = SCHEDULERS[sampler]
    if name in ("DDIMScheduler", "PNDMScheduler"):
        settings = {**settings, "set_alpha_to_one": offset == 0}
    scheduler = getattr(diffusers, name)(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear" if offset else "linear",
        prediction_type=prediction_type,
        timestep_spacing=spacing,
        steps_offset=offset,
        **settings,
    )
    scheduler.set_timesteps(steps)
    alphas = tuple(scheduler.alphas_cumprod.tolist())
    table = SAMPLERS[sampler](
        ScheduleSpec(PREDICTION_TYPES[prediction_type], offset, offset == 0, spacing, alphas),
        steps,
    )
    return started(table, scheduler)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_trajectory_in_float32_is_that_of_diffusers(
    sampler: str, steps: int, spacing: TimestepSpacing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e-5: both round to float32 in every step; diffusers its coefficients' terms as well."""
    run = case(sampler, steps, spacing, "epsilon", 0)
    assert run.table.timesteps.tolist() == run.scheduler.timesteps.tolist()
    assert worst(ours(run, np.float32), theirs(run, np.float32, monkeypatch)) <= 1e-5


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_trajectory_in_float64_is_that_of_diffusers(
    sampler: str, steps: int, spacing: TimestepSpacing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3e-6: what is left are the table's float32 coefficients and diffusers' float32 noise levels.

    A step from the highest noise subtracts numbers up to 25 times the result.
    """
    run = case(sampler, steps, spacing, "epsilon", 1)
    in_float64(run.scheduler, monkeypatch)
    assert run.table.timesteps.tolist() == run.scheduler.timesteps.tolist()
    assert worst(ours(run, np.float64), theirs(run, np.float64, monkeypatch)) <= 3e-6


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 20])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_prediction_gives_the_trajectory_of_diffusers(
    sampler: str,
    steps: int,
    spacing: TimestepSpacing,
    prediction_type: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if prediction_type == "sample" and sampler in ("pndm", "euler_ancestral"):
        pytest.skip("diffusers lacks it")
    run = case(sampler, steps, spacing, prediction_type, 1)
    assert run.table.timesteps.tolist() == run.scheduler.timesteps.tolist()
    assert worst(ours(run, np.float32), theirs(run, np.float32, monkeypatch)) <= 1e-5


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_other_step_counts_visit_the_timesteps_of_diffusers(
    sampler: str, spacing: TimestepSpacing
) -> None:
    for steps in (6, 7, 11, 17, 25, 64, 75, 99, 100, 128, 200, 333, 400, 500):
        run = case(sampler, steps, spacing, "epsilon", 0)
        assert run.table.timesteps.tolist() == run.scheduler.timesteps.tolist(), steps
