"""Whole trajectories of every sampler against diffusers' scheduler of that name."""

from typing import Any

import numpy as np
import pytest

from tests.trajectories import Case, in_float64, ours, started, theirs, worst
from trt_pipeline import InvalidInputError
from trt_pipeline.bundle.manifest import PREDICTION_TYPES, ScheduleSpec, TimestepSpacing
from trt_pipeline.sampling.samplers import SAMPLERS, WITH_ETA, sampler_table

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SPACINGS = ("leading", "trailing", "linspace")
STEPS = (5, 20, 30, 50, 250)

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
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
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
DISTILLED = ("lcm", "tcd")
"""Samplers that take up to 50 steps."""


def case(
    sampler: str,
    steps: int,
    spacing: TimestepSpacing,
    prediction_type: str,
    offset: int,
    eta: float = 0.0,
) -> Case:
    """offset 1 takes the rest of the training schedule with it."""
    diffusers = pytest.importorskip("diffusers")
    if sampler == "lms":
        pytest.importorskip("scipy")
    name, settings = SCHEDULERS[sampler]
    if name in ("DDIMScheduler", "PNDMScheduler", "LCMScheduler", "TCDScheduler"):
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
    table = sampler_table(
        sampler,
        ScheduleSpec(PREDICTION_TYPES[prediction_type], offset, offset == 0, spacing, alphas),
        steps,
        eta,
    )
    return started(table, scheduler, eta)


def assert_same_timesteps(run: Case) -> None:
    """Exactly, but for those between training timesteps, which diffusers finds in float32."""
    actual, expected = run.table.timesteps, run.scheduler.timesteps.numpy()
    off = 1e-4 if run.scheduler.config.get("use_karras_sigmas") else 0
    np.testing.assert_allclose(actual, expected, rtol=0, atol=off)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_trajectory_in_float32_is_that_of_diffusers(
    sampler: str, steps: int, spacing: TimestepSpacing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e-5: both round to float32 in every step; diffusers its coefficients' terms as well."""
    if steps > 50 and sampler in DISTILLED:
        pytest.skip("diffusers refuses it")
    run = case(sampler, steps, spacing, "epsilon", 0)
    assert_same_timesteps(run)
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
    if steps > 50 and sampler in DISTILLED:
        pytest.skip("diffusers refuses it")
    run = case(sampler, steps, spacing, "epsilon", 1)
    in_float64(run.scheduler, monkeypatch)
    assert_same_timesteps(run)
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
    assert_same_timesteps(run)
    assert worst(ours(run, np.float32), theirs(run, np.float32, monkeypatch)) <= 1e-5


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_other_step_counts_visit_the_timesteps_of_diffusers(
    sampler: str, spacing: TimestepSpacing
) -> None:
    more = () if sampler in DISTILLED else (64, 75, 99, 100, 128, 200, 333, 400, 500)
    for steps in (6, 7, 11, 17, 25, *more):
        run = case(sampler, steps, spacing, "epsilon", 0)
        assert_same_timesteps(run)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_takes_as_much_noise_from_a_stream_as_diffusers(
    sampler: str, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a stream gives the next call the same noise."""
    run = case(sampler, 5, "leading", "epsilon", offset, 0.3 if sampler in WITH_ETA else 0)
    run.noise = run.noise[: run.table.noisy_steps]
    theirs(run, np.float32, monkeypatch)
    if run.table.noisy_steps:
        run.noise = run.noise[:-1]
        run.scheduler.set_timesteps(5)
        with pytest.raises(StopIteration):
            theirs(run, np.float32, monkeypatch)


@pytest.mark.parametrize("sampler", DISTILLED)
def test_consistency_models_take_the_step_counts_that_diffusers_takes(sampler: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    for steps in range(1, 51):
        assert_same_timesteps(case(sampler, steps, "leading", "epsilon", 0))
    for total, steps in ((1000, 51), (60, 51), (49, 1), (49, 49)):
        scheduler = getattr(diffusers, SCHEDULERS[sampler][0])(num_train_timesteps=total)
        alphas = tuple(scheduler.alphas_cumprod.tolist())
        schedule = ScheduleSpec(PREDICTION_TYPES["epsilon"], 0, True, "leading", alphas)
        with pytest.raises(ValueError, match=r"cannot be larger|is smaller than"):
            scheduler.set_timesteps(steps)
        with pytest.raises(InvalidInputError, match=r"from 1 to 50|need at least 50"):
            sampler_table(sampler, schedule, steps)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("steps", [1, 2, 4, 8, 20])
@pytest.mark.parametrize("eta", [0.0, 0.3, 0.5, 1.0])
def test_tcd_with_noise_gives_the_trajectory_of_diffusers(
    eta: float, steps: int, prediction_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = case("tcd", steps, "leading", prediction_type, 0, eta)
    assert worst(ours(run, np.float32), theirs(run, np.float32, monkeypatch)) <= 1e-5


@pytest.mark.parametrize("start", [1, 3, 7])
@pytest.mark.parametrize(("sampler", "eta"), [("lcm", 0.0), ("tcd", 0.0), ("tcd", 0.7)])
def test_the_rest_of_the_steps_is_that_of_diffusers_plain_image_to_image(
    sampler: str, eta: float, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As StableDiffusionImg2ImgPipeline cuts them, by set_begin_index."""
    run = case(sampler, 8, "leading", "epsilon", 0, eta)
    run.table = sampler_table(sampler, _schedule_of(run.scheduler), 8, eta, start=start)
    run.noise = run.noise[start:]
    run.scheduler.set_begin_index(start)
    assert worst(ours(run, np.float32), theirs(run, np.float32, monkeypatch)) <= 1e-5


def _schedule_of(scheduler: Any) -> ScheduleSpec:
    alphas = tuple(scheduler.alphas_cumprod.tolist())
    return ScheduleSpec(PREDICTION_TYPES["epsilon"], 0, True, "leading", alphas)
