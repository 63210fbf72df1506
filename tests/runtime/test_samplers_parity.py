"""Whole trajectories of every sampler against diffusers' scheduler of that name.

The model is cheap, nonlinear and depends on the timestep, so an error in a step's latents or in
its timestep changes all later steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from trt_pipeline.bundle.manifest import PREDICTION_TYPES, ScheduleSpec, TimestepSpacing
from trt_pipeline.sampling.samplers import SAMPLERS, SamplerTable

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CHANNELS = 16
MIXING = np.random.default_rng(0).standard_normal((CHANNELS, CHANNELS)) / 4
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
}


@dataclass
class Case:
    """One sampler of ours and the same of diffusers, ready to run."""

    table: SamplerTable
    scheduler: Any
    start: NDArray[np.float64]
    """[2, CHANNELS], standard normal."""
    noise: NDArray[np.float64]
    """[N, 2, CHANNELS]"""


def case(
    sampler: str, steps: int, spacing: TimestepSpacing, prediction_type: str, offset: int
) -> Case:
    """offset 1 takes the rest of the training schedule with it."""
    diffusers = pytest.importorskip("diffusers")
    if sampler == "lms":
        pytest.importorskip("scipy")
    name, settings = SCHEDULERS[sampler]
    if "clip_sample" in settings or "skip_prk_steps" in settings:
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
    random = np.random.default_rng(1)
    rows = len(table.timesteps)
    normal = random.standard_normal((1 + rows, 2, CHANNELS))
    return Case(table, scheduler, normal[0], normal[1:])


def model(x: NDArray[Any], timestep: np.float32) -> NDArray[Any]:
    output: NDArray[Any] = np.tanh(x @ MIXING.astype(x.dtype) + x.dtype.type(timestep / 1000))
    return output


def ours(case: Case, dtype: DTypeLike) -> NDArray[Any]:
    """Latents [N, 2, CHANNELS] after each step, as docs/reference/bundle-format.md has it."""
    x = (case.start * case.table.initial_scale).astype(dtype)
    m1 = m2 = m3 = np.zeros_like(x)
    after = []
    coefficients = case.table.coefficients.astype(dtype)
    for t, row, z in zip(case.table.timesteps, coefficients, case.noise.astype(dtype), strict=True):
        p, q, a, b0, b1, b2, b3, s = row
        m0 = p * x + q * model(x, t)
        x = a * x + b0 * m0 + b1 * m1 + b2 * m2 + b3 * m3 + s * z
        m1, m2, m3 = m0, m1, m2
        after.append(x)
    return np.stack(after)


def theirs(case: Case, dtype: DTypeLike, patch: pytest.MonkeyPatch) -> NDArray[np.float64]:
    """The same by diffusers; latents that it scales by √(1+σ²) are scaled back."""
    import torch

    noise: Iterator[NDArray[Any]] = iter(case.noise.astype(dtype))
    patch.setattr(
        "diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor",
        lambda *_, **__: torch.from_numpy(next(noise)),
    )
    scheduler = case.scheduler
    scales = hasattr(scheduler, "is_scale_input_called")
    x = torch.from_numpy((case.start * float(scheduler.init_noise_sigma)).astype(dtype))
    after = []
    for i, t in enumerate(scheduler.timesteps):
        latents = scheduler.scale_model_input(x, t).numpy().astype(dtype)
        output = torch.from_numpy(model(latents, t.numpy().astype(np.float32)))
        x = scheduler.step(output, t, x).prev_sample
        scale = np.sqrt(1 + float(scheduler.sigmas[i + 1]) ** 2) if scales else 1
        after.append(x.numpy().astype(np.float64) / scale)
    return np.stack(after)


def in_float64(scheduler: Any, patch: pytest.MonkeyPatch) -> None:
    """diffusers casts to float32 by name, so in this test that name means float64."""
    import torch

    for name in ("alphas_cumprod", "final_alpha_cumprod", "sigmas"):
        if hasattr(scheduler, name):
            setattr(scheduler, name, getattr(scheduler, name).double())
    patch.setattr(torch, "float32", torch.float64)


def worst(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest error of any step, relative to the step's largest value."""
    errors = np.abs(actual - expected).max(axis=(1, 2)) / np.abs(expected).max(axis=(1, 2))
    return float(errors.max())


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
