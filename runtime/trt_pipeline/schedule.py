"""Which training timesteps a sampler visits."""

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.bundle import ScheduleSpec
from trt_pipeline.errors import BundleError, InvalidInputError


def inference_timesteps(schedule: ScheduleSpec, num_inference_steps: int) -> NDArray[np.int64]:
    """The visited timesteps [N], falling: arXiv:2305.08891, table 2, rounded as diffusers does.

    InvalidInputError unless 1 <= num_inference_steps <= len(alphas_cumprod) and all timesteps,
    steps_offset included, lie within the schedule.
    """
    total = len(schedule.alphas_cumprod)
    steps = arguments.integer("num_inference_steps", num_inference_steps, 1, total)
    timesteps = _spaced(schedule, total, steps)
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
        case other:
            raise BundleError(
                f"the schedule's timestep_spacing is {other!r}, expected leading, linspace or "
                "trailing. Export the checkpoint again."
            )


def alphas_at(schedule: ScheduleSpec, timesteps: NDArray[np.int64]) -> NDArray[np.float64]:
    """alphas_cumprod at each timestep [N]; before the first training timestep, the final alpha."""
    alphas = np.array(schedule.alphas_cumprod)
    final = 1.0 if schedule.set_alpha_to_one else alphas[0]
    return np.where(timesteps >= 0, alphas[timesteps.clip(min=0)], final)
