"""PLMS, the multistep half of PNDM, as most latent diffusion models are sampled with it."""

import numpy as np

from trt_pipeline.bundle.manifest import ScheduleSpec
from trt_pipeline.sampling.samplers.table import Float64s, SamplerTable, predicted_noise, tabulate
from trt_pipeline.sampling.schedule import alphas_at, inference_timesteps

OPENING = np.array([[24, 0, 0, 0], [12, 12, 0, 0], [36, 0, -12, 0], [46, -32, 0, 10]]) / 24
"""Weights of m0..m3 in the first rows; row 1's output is never used again."""
ADAMS_BASHFORTH = np.array([55, -59, 37, -9]) / 24
"""Weights of m0..m3 in all other rows."""


def pndm(schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0) -> SamplerTable:
    """PLMS, arXiv:2202.09778, eq. 9 and 12, started without Runge-Kutta; m0 is the model's output.

    The first step is repeated with the mean of its outputs at both ends, so the table has a row
    more than num_inference_steps if that is over 1. As in diffusers, the row left out by a start is
    the repeated one, so that the steps after the first two are a timestep ahead of the latents.
    InvalidInputError for steps outside the schedule.
    """
    timesteps = inference_timesteps(schedule, num_inference_steps)
    stride = len(schedule.alphas_cumprod) // num_inference_steps
    timesteps = np.concatenate([timesteps[:2], timesteps[1:]])[start:]
    origin = timesteps.copy()
    origin[1:2] += stride
    alpha, alpha_prev = alphas_at(schedule, origin), alphas_at(schedule, origin - stride)
    a, drift = _transfer(schedule, alpha, alpha_prev)
    weights = np.tile(ADAMS_BASHFORTH, (len(origin), 1))
    weights[: len(OPENING)] = OPENING[: len(origin)]
    b = drift[:, None] * weights
    p, q = np.zeros_like(a), np.ones_like(a)
    if len(origin) > 1:
        _repeat_first_step(p, q, a, b)
    if len(origin) > len(OPENING):
        _recall_first_output(a, b)
    b0, b1, b2, b3 = b.T
    levels = np.append(alphas_at(schedule, timesteps), alpha_prev[-1])
    return tabulate(timesteps, levels, p=p, q=q, a=a, b0=b0, b1=b1, b2=b2, b3=b3)


def _transfer(
    schedule: ScheduleSpec, alpha: Float64s, alpha_prev: Float64s
) -> tuple[Float64s, Float64s]:
    """Factors [N] of the latents and of the mixed outputs in each step; eq. 9 simplified."""
    decay = np.sqrt(alpha_prev / alpha)
    drift = np.sqrt(1 - alpha_prev) - decay * np.sqrt(1 - alpha)
    p, q = predicted_noise(schedule.prediction, alpha)
    return decay + drift * p, drift * q


def _repeat_first_step(p: Float64s, q: Float64s, a: Float64s, b: Float64s) -> None:
    """Let row 1 start again from the noise x0, which is (x - b[0, 0]·m1) / a[0] there.

    Its m0 holds all of the next latents but m1's part, so that row 4 can tell m1 from them.
    """
    p[1], q[1] = a[1] / a[0], b[1, 0]
    a[1], b[1] = 0, [1, b[1, 1] - p[1] * b[0, 0], 0, 0]


def _recall_first_output(a: Float64s, b: Float64s) -> None:
    """Let row 4 use the first output, which is a row older than m3.

    Rows 1 to 3 made the latents there: x = known·(m0, m1, m2, m3) + share·first.
    """
    known = np.array([0, b[3, 0], a[3] * b[2, 0] + b[3, 1], a[3] * a[2]])
    share = a[3] * (a[2] * b[1, 1] + b[2, 2]) + b[3, 3]
    recalled = b[4, 3] / share
    b[4, 3] = 0
    a[4] += recalled
    b[4] -= recalled * known
