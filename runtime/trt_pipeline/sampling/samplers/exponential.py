"""Second-order exponential integrators in λ = -log σ, half the log-SNR; m0 is the predicted sample.

Their last step goes to σ = 0, an infinite λ, and lands on m0.
"""

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.bundle.manifest import ScheduleSpec
from trt_pipeline.sampling.samplers.table import Float64s, SamplerTable, predicted_sample, tabulate
from trt_pipeline.sampling.schedule import (
    karras_sigmas,
    sigmas_at,
    timesteps_above_end,
    timesteps_of,
    training_sigmas,
)


def dpmsolver(schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0) -> SamplerTable:
    """DPM-Solver++(2M), midpoint, arXiv:2211.01095, algorithm 2.

    InvalidInputError unless there are fewer steps than training timesteps.
    """
    timesteps = timesteps_above_end(schedule, num_inference_steps)[start:]
    sigmas = sigmas_at(schedule, timesteps)
    return _table(schedule, timesteps, sigmas, _predictor(sigmas))


def dpmsolver_karras(
    schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0
) -> SamplerTable:
    """DPM-Solver++(2M) along the noise levels of arXiv:2206.00364, eq. 5, whatever the spacing.

    The model sees the nearest training timesteps. InvalidInputError for more steps than those.
    """
    trained = training_sigmas(schedule)
    steps = arguments.integer("num_inference_steps", num_inference_steps, 1, len(trained))
    sigmas = karras_sigmas(trained, steps)[start:]
    timesteps = timesteps_of(schedule, sigmas[:-1]).round().astype(np.int64)
    return _table(schedule, timesteps, sigmas, _predictor(sigmas))


def unipc(schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0) -> SamplerTable:
    """UniPC of order 2 with B(h) = e^h - 1, arXiv:2302.04867, algorithms 5 and 6.

    Its corrected sample is the predicted one, x, plus a mix of m0, m1 and m2, so one row corrects
    and predicts. InvalidInputError unless there are fewer steps than training timesteps.
    """
    timesteps = timesteps_above_end(schedule, num_inference_steps)[start:]
    sigmas = sigmas_at(schedule, timesteps)
    weights = _predictor(sigmas) + _decay(sigmas)[:, None] * _corrector(sigmas)
    return _table(schedule, timesteps, sigmas, weights)


def _table(
    schedule: ScheduleSpec, timesteps: NDArray[np.int64], sigmas: Float64s, weights: Float64s
) -> SamplerTable:
    levels = _signal(sigmas) ** 2
    p, q = predicted_sample(schedule.prediction, levels[:-1])
    b0, b1, b2 = weights.T
    return tabulate(timesteps, levels, p=p, q=q, a=_decay(sigmas), b0=b0, b1=b1, b2=b2)


def _signal(sigmas: Float64s) -> Float64s:
    """The share √ᾱ of the clean sample in the latents."""
    return 1 / np.sqrt(1 + sigmas**2)


def _decay(sigmas: Float64s) -> Float64s:
    """How each step [N] shrinks the noise in the latents."""
    noise = sigmas * _signal(sigmas)
    return noise[1:] / noise[:-1]


def _gain(sigmas: Float64s) -> Float64s:
    """How much of the predicted sample each step [N] adds: √ᾱ'·(1 - e^-h), e^-h = σ'/σ."""
    return _signal(sigmas[1:]) * (1 - sigmas[1:] / sigmas[:-1])


def _predictor(sigmas: Float64s) -> Float64s:
    """Weights [N, 3] of m0, m1, m2 in DPM-Solver++(2M), also UniP-2's.

    The first step, which has no history, and the last are of order 1.
    """
    h = np.log(sigmas[:-2] / sigmas[1:-1])
    slope = np.zeros(len(sigmas) - 1)
    slope[1:-1] = h[1:] / h[:-1] / 2
    return _gain(sigmas)[:, None] * np.stack([1 + slope, -slope, np.zeros_like(slope)], axis=1)


def _corrector(sigmas: Float64s) -> Float64s:
    """What UniC-2 adds to the latents before each step: weights [N, 3] of m0, m1, m2.

    Knowing m0, it repeats the previous step: the mix rho[0]·D1 + rho[1]·(m0 - m1) replaces D1 / 2,
    where D1 = (m1 - m2) / r, r = h_previous / h. Before the first step there is nothing to correct;
    the first correction has no D1.
    """
    h = np.log(sigmas[:-2] / sigmas[1:-1])
    phi_1 = np.expm1(-h)
    phi_2 = -phi_1 / h - 1
    phi_3 = -phi_2 / h - 0.5
    r = h[:-1] / h[1:]
    old, new = np.zeros(len(h)), np.full(len(h), 0.5)
    excess = ((phi_2 - 2 * phi_3) / phi_1)[1:] / (1 + r)
    old[1:] = (excess - 0.5) / r
    new[1:] = (phi_2 / phi_1)[1:] - excess
    weights = np.zeros((len(sigmas) - 1, 3))
    weights[1:] = _gain(sigmas)[:-1, None] * np.stack([new, old - new, -old], axis=1)
    return weights
