"""Samplers that solve dx_σ/dσ = ε, where x_σ = x0 + σ·ε is the latents divided by √ᾱ.

They are k-diffusion's (arXiv:2206.00364). Their rows are brought back to the latents that the
model knows, x = x_σ / √(1+σ²), so no input needs scaling; m0 is the predicted noise.
"""

import numpy as np
from numpy.polynomial import Polynomial

from trt_pipeline.bundle.manifest import ScheduleSpec
from trt_pipeline.sampling.samplers.table import Float64s, SamplerTable, predicted_noise, tabulate
from trt_pipeline.sampling.schedule import (
    fractional_timesteps,
    karras_sigmas,
    sigmas_at,
    timesteps_of,
)

LMS_ORDER = 4


def euler(schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0) -> SamplerTable:
    """Euler's method without churn, arXiv:2206.00364, algorithm 2.

    InvalidInputError for steps outside the schedule.
    """
    timesteps = fractional_timesteps(schedule, num_inference_steps)[start:]
    sigmas = sigmas_at(schedule, timesteps)
    return _table(schedule, timesteps, sigmas, b0=np.diff(sigmas))


def euler_karras(
    schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0
) -> SamplerTable:
    """Euler's method along Karras' noise levels between the first and the last of `euler`'s.

    InvalidInputError for steps outside the schedule.
    """
    ends = sigmas_at(schedule, fractional_timesteps(schedule, num_inference_steps))[:-1]
    sigmas = karras_sigmas(ends, num_inference_steps)[start:]
    timesteps = timesteps_of(schedule, sigmas[:-1])
    return _table(schedule, timesteps, sigmas, b0=np.diff(sigmas))


def euler_ancestral(
    schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0
) -> SamplerTable:
    """Euler's method down to σ_down, then noise up to the next σ, as in k-diffusion.

    InvalidInputError for steps outside the schedule.
    """
    timesteps = fractional_timesteps(schedule, num_inference_steps)[start:]
    sigmas = sigmas_at(schedule, timesteps)
    now, then = sigmas[:-1], sigmas[1:]
    up = then * np.sqrt(1 - (then / now) ** 2)
    down = then**2 / now
    return _table(schedule, timesteps, sigmas, len(timesteps), b0=down - now, s=up)


def lms(schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0) -> SamplerTable:
    """Linear multistep (Adams-Bashforth) of order 4 on uneven steps, as in k-diffusion.

    As in diffusers, the first steps after a start have the weights of all steps, of which those of
    outputs before the start come to nothing. InvalidInputError for steps outside the schedule.
    """
    timesteps = fractional_timesteps(schedule, num_inference_steps)
    sigmas = sigmas_at(schedule, timesteps)
    weights = np.zeros((len(timesteps), LMS_ORDER))
    for step in range(len(timesteps)):
        known = sigmas[max(0, step + 1 - LMS_ORDER) : step + 1][::-1]
        weights[step, : len(known)] = _adams_bashforth(known, sigmas[step + 1])
    b0, b1, b2, b3 = weights[start:].T
    return _table(schedule, timesteps[start:], sigmas[start:], b0=b0, b1=b1, b2=b2, b3=b3)


def _adams_bashforth(known: Float64s, then: float) -> Float64s:
    """Integrals from known[0] to then of the Lagrange polynomials through known."""
    weights = []
    for i, node in enumerate(known):
        others = np.delete(known, i) - known[0]
        basis = Polynomial.fromroots(others) if len(others) else Polynomial([1.0])
        weights.append(basis.integ()(then - known[0]) / np.prod(node - np.delete(known, i)))
    return np.array(weights)


def _table(
    schedule: ScheduleSpec,
    timesteps: Float64s,
    sigmas: Float64s,
    noisy_steps: int = 0,
    **columns: Float64s,
) -> SamplerTable:
    """Rows of x_σ' = x_σ + b0·m0 + … + s·z for steps along sigmas [N + 1], in the latents' scale.

    diffusers starts leading steps from √(1+σ²) times the noise, others from σ times it.
    """
    scale = 1 / np.sqrt(1 + sigmas**2)
    p, q = predicted_noise(schedule.prediction, scale[:-1] ** 2)
    initial = 1.0 if schedule.timestep_spacing == "leading" else float(sigmas[0] * scale[0])
    scaled = {name: scale[1:] * column for name, column in columns.items()}
    return tabulate(
        timesteps, scale**2, noisy_steps, initial, p=p, q=q, a=scale[1:] / scale[:-1], **scaled
    )
