"""Which timesteps and noise levels of the training schedule a sampler visits.

σ = √((1-ᾱ)/ᾱ) is the noise level relative to the clean sample.
"""

from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.bundle.manifest import ScheduleSpec, TimestepSpacing
from trt_pipeline.errors import InvalidInputError

KARRAS_RHO = 7.0
NO_SIGNAL = 1e-6
"""A last alphas_cumprod below it leaves noise only: 0 or, in some of diffusers' classes, 2^-24."""
DISTILLED_STEPS = 50
"""Steps of the solver that consistency models were distilled from: original_inference_steps."""


def choose_schedule(
    published: ScheduleSpec, name: str, timestep_spacing: str | None = None
) -> ScheduleSpec:
    """The schedule as the bundle has it ("published") or as CompVis trained with it ("trained").

    timestep_spacing: leading, linspace or trailing, as diffusers names them; None is the bundle's.
    """
    schedule = published if name == "published" else trained_schedule(published)
    spacing = published.timestep_spacing if timestep_spacing is None else timestep_spacing
    return replace(schedule, timestep_spacing=cast(TimestepSpacing, spacing))


def trained_schedule(published: ScheduleSpec) -> ScheduleSpec:
    """The schedule of CompVis' own code, where "linear" betas are the squares of evenly spaced √β.

    It keeps the published first and last beta, to the six decimals that float32 leaves of them.
    InvalidInputError for a schedule that ends without signal, as CompVis' never do.
    """
    alphas = np.array(published.alphas_cumprod)
    if alphas[-1] < NO_SIGNAL:
        raise InvalidInputError(
            'schedule is "trained", but the noise schedule of this bundle ends without signal, '
            'which no model of CompVis was trained with. Use schedule="published".'
        )
    betas = 1 - alphas / np.concatenate([[1.0], alphas[:-1]])
    first, last = betas[[0, -1]].round(6)
    trained = np.cumprod(1 - np.linspace(first**0.5, last**0.5, len(alphas)) ** 2)
    return replace(
        published, alphas_cumprod=tuple(trained.tolist()), steps_offset=1, set_alpha_to_one=False
    )


def inference_timesteps(schedule: ScheduleSpec, num_inference_steps: int) -> NDArray[np.int64]:
    """The visited timesteps [N], falling: arXiv:2305.08891, table 2, rounded as diffusers does.

    InvalidInputError unless 1 <= num_inference_steps <= len(alphas_cumprod) and all timesteps,
    steps_offset included, lie within the schedule.
    """
    total = len(schedule.alphas_cumprod)
    steps = arguments.integer("num_inference_steps", num_inference_steps, 1, total)
    return _inside(schedule, steps, _spaced(schedule, total, steps))


def fractional_timesteps(schedule: ScheduleSpec, num_inference_steps: int) -> NDArray[np.float64]:
    """inference_timesteps, but linspace is rounded to float32 only; same errors."""
    timesteps = inference_timesteps(schedule, num_inference_steps)
    if schedule.timestep_spacing != "linspace":
        return timesteps.astype(np.float64)
    even = np.linspace(0, len(schedule.alphas_cumprod) - 1, len(timesteps), dtype=np.float32)
    return even[::-1].astype(np.float64)


def timesteps_above_end(schedule: ScheduleSpec, num_inference_steps: int) -> NDArray[np.int64]:
    """N + 1 timesteps without the last where the spacing would end at 0, before any steps_offset.

    InvalidInputError unless 1 <= num_inference_steps < len(alphas_cumprod) and all timesteps,
    steps_offset included, lie within the schedule.
    """
    total = len(schedule.alphas_cumprod)
    steps = arguments.integer("num_inference_steps", num_inference_steps, 1, total - 1)
    points = steps if schedule.timestep_spacing == "trailing" else steps + 1
    return _inside(schedule, steps, _spaced(schedule, total, points)[:steps])


def distilled_timesteps(
    schedule: ScheduleSpec, num_inference_steps: int, strength: float = 1.0
) -> NDArray[np.int64]:
    """The visited ones [N], falling, of the 50 timesteps that a consistency model was trained for.

    strength: the part of the 50, from the lowest, among which they are. InvalidInputError for more
    steps than that, and for a schedule with fewer than 50 timesteps.
    """
    total = len(schedule.alphas_cumprod)
    if total < DISTILLED_STEPS:
        raise InvalidInputError(
            f"the schedule has {arguments.counted(total, 'timestep')}, but lcm and tcd need "
            f"at least {DISTILLED_STEPS}. Use another sampler."
        )
    steps = arguments.integer("num_inference_steps", num_inference_steps, 1, DISTILLED_STEPS)
    count = int(DISTILLED_STEPS * strength)
    if steps > count:
        raise InvalidInputError(
            f"num_inference_steps is {steps}, but a strength of {strength:g} leaves {count} of the "
            f"{DISTILLED_STEPS} timesteps that the model was distilled for. Use fewer steps, or a "
            f"strength of at least {steps / DISTILLED_STEPS:g}."
        )
    skipped = np.floor(np.arange(steps) * (count / steps)).astype(np.int64)
    timesteps: NDArray[np.int64] = (count - skipped) * (total // DISTILLED_STEPS) - 1
    return timesteps


def _inside(schedule: ScheduleSpec, steps: int, timesteps: NDArray[np.int64]) -> NDArray[np.int64]:
    total = len(schedule.alphas_cumprod)
    if timesteps[0] >= total:
        raise InvalidInputError(
            f"num_inference_steps is {steps}, but with steps_offset {schedule.steps_offset} that "
            f"would begin at timestep {timesteps[0]} and the schedule ends at {total - 1}. "
            "Use fewer steps."
        )
    return timesteps


def _spaced(schedule: ScheduleSpec, total: int, steps: int) -> NDArray[np.int64]:
    match schedule.timestep_spacing:
        case "leading":
            return np.arange(steps)[::-1] * (total // steps) + schedule.steps_offset
        case "linspace":
            return np.linspace(0, total - 1, steps).round()[::-1].astype(np.int64)
        case "trailing":
            # For some counts arange's rounding error appends a timestep of -1; diffusers keeps it.
            return np.arange(total, 0, -total / steps)[:steps].round().astype(np.int64) - 1


def alphas_at(schedule: ScheduleSpec, timesteps: NDArray[np.int64]) -> NDArray[np.float64]:
    """alphas_cumprod at each timestep [N]; before the first training timestep, the final alpha."""
    alphas = np.array(schedule.alphas_cumprod)
    final = 1.0 if schedule.set_alpha_to_one else alphas[0]
    return np.where(timesteps >= 0, alphas[timesteps.clip(min=0)], final)


def training_sigmas(schedule: ScheduleSpec) -> NDArray[np.float64]:
    """σ at every training timestep, rising."""
    alphas: NDArray[np.float64] = np.array(schedule.alphas_cumprod)
    return np.sqrt(1 / alphas - 1)


def sigmas_at(
    schedule: ScheduleSpec, timesteps: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """σ at each timestep, interpolated between training timesteps, and a final 0: [N + 1]."""
    sigmas = training_sigmas(schedule)
    return np.append(np.interp(timesteps, np.arange(len(sigmas)), sigmas), 0)


def karras_sigmas(sigmas: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """From the highest to the lowest of sigmas, even in σ^(1/7), and a final 0: [steps + 1].

    arXiv:2206.00364, eq. 5.
    """
    high, low = sigmas.max() ** (1 / KARRAS_RHO), sigmas.min() ** (1 / KARRAS_RHO)
    return np.append((high + np.linspace(0, 1, steps) * (low - high)) ** KARRAS_RHO, 0)


def timesteps_of(schedule: ScheduleSpec, sigmas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each sigma [N] is among the training timesteps, interpolated in log σ."""
    known = np.log(training_sigmas(schedule))
    return np.interp(np.log(sigmas), known, np.arange(len(known)))
