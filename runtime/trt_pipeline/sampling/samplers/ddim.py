"""DDIM, from deterministic to DDPM."""

import numpy as np

from trt_pipeline import arguments
from trt_pipeline.bundle.manifest import ScheduleSpec
from trt_pipeline.sampling.samplers.table import SamplerTable, predicted_noise, tabulate
from trt_pipeline.sampling.schedule import alphas_at, inference_timesteps


def ddim(
    schedule: ScheduleSpec, num_inference_steps: int, eta: float = 0.0, *, start: int = 0
) -> SamplerTable:
    """DDIM, arXiv:2010.02502, eq. 12 and 16; m0 is the predicted noise.

    eta: 0 is deterministic, 1 is DDPM. InvalidInputError for eta outside 0..1 or steps outside
    the schedule.
    """
    eta = arguments.real("eta", eta, 0, 1)
    timesteps = inference_timesteps(schedule, num_inference_steps)[start:]
    stride = len(schedule.alphas_cumprod) // num_inference_steps
    alpha = alphas_at(schedule, timesteps)
    alpha_prev = alphas_at(schedule, timesteps - stride)

    sigma = eta * np.sqrt((1 - alpha_prev) / (1 - alpha) * (1 - alpha / alpha_prev))
    direction = np.sqrt((1 - alpha_prev - sigma**2).clip(min=0))
    p, q = predicted_noise(schedule.prediction, alpha)
    a = np.sqrt(alpha_prev / alpha)
    b0 = direction - a * np.sqrt(1 - alpha)
    levels = np.append(alpha, alpha_prev[-1])
    noisy_steps = len(timesteps) if eta > 0 else 0
    return tabulate(timesteps, levels, noisy_steps, p=p, q=q, a=a, b0=b0, s=sigma)
