"""DDPM, whose steps draw noise of one of two variances; m0 is the predicted sample."""

import numpy as np

from trt_pipeline.bundle.manifest import ScheduleSpec
from trt_pipeline.sampling.samplers.table import SamplerTable, predicted_sample, tabulate
from trt_pipeline.sampling.schedule import alphas_at, inference_timesteps


def ddpm(schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0) -> SamplerTable:
    """DDPM, arXiv:2006.11239, eq. 7, with the variance of the true posterior: fixed_small.

    InvalidInputError for steps outside the schedule.
    """
    return _table(schedule, num_inference_steps, start, posterior=True)


def ddpm_fixed_large(
    schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0
) -> SamplerTable:
    """DDPM with the variance of the forward step, arXiv:2006.11239, section 3.2: fixed_large.

    InvalidInputError for steps outside the schedule.
    """
    return _table(schedule, num_inference_steps, start, posterior=False)


def _table(schedule: ScheduleSpec, steps: int, start: int, posterior: bool) -> SamplerTable:
    """The last step lands on the predicted sample; at timestep 0 it draws no noise."""
    timesteps = inference_timesteps(schedule, steps)[start:]
    levels = np.append(alphas_at(schedule, timesteps), 1.0)
    alpha, alpha_prev = levels[:-1], levels[1:]
    beta = 1 - alpha / alpha_prev
    kept = (1 - alpha_prev) / (1 - alpha)
    variance = kept * beta if posterior else beta
    p, q = predicted_sample(schedule.prediction, alpha)
    a = np.sqrt(alpha / alpha_prev) * kept
    b0 = np.sqrt(alpha_prev) * beta / (1 - alpha)
    s = np.where(timesteps > 0, np.sqrt(variance), 0)
    noisy_steps = int(np.count_nonzero(timesteps > 0))
    return tabulate(timesteps, levels, noisy_steps, p=p, q=q, a=a, b0=b0, s=s)
