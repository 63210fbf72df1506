"""Samplers as tables: one row of coefficients for each step of the denoiser.

A step computes m0 = p·x + q·output and x' = a·x + b0·m0 + b1·m1 + b2·m2 + b3·m3 + s·z from the
latents x, the model's output, the earlier m0 and standard normal noise z. engines/README.md
specifies the columns (p, q, a, b0, b1, b2, b3, s).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.bundle import ScheduleSpec
from trt_pipeline.errors import BundleError
from trt_pipeline.schedule import alphas_at, inference_timesteps

COLUMNS = ("p", "q", "a", "b0", "b1", "b2", "b3", "s")

Float64s = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SamplerTable:
    """Everything a sampler does, one row a step."""

    timesteps: NDArray[np.float32]
    """[N], what the time embedding sees."""
    coefficients: NDArray[np.float32]
    """[N, 8]: p, q, a, b0, b1, b2, b3, s."""
    draws_noise: bool
    """Whether each step takes fresh noise from the stream, the last step included."""


def ddim(schedule: ScheduleSpec, num_inference_steps: int, eta: float = 0.0) -> SamplerTable:
    """DDIM, arXiv:2010.02502, eq. 12 and 16; m0 is the predicted noise.

    eta: 0 is deterministic, 1 is DDPM. InvalidInputError for eta outside 0..1 or steps outside
    the schedule.
    """
    eta = arguments.real("eta", eta, 0, 1)
    timesteps = inference_timesteps(schedule, num_inference_steps)
    stride = len(schedule.alphas_cumprod) // num_inference_steps
    alpha = alphas_at(schedule, timesteps)
    alpha_prev = alphas_at(schedule, timesteps - stride)

    sigma = eta * np.sqrt((1 - alpha_prev) / (1 - alpha) * (1 - alpha / alpha_prev))
    direction = np.sqrt((1 - alpha_prev - sigma**2).clip(min=0))
    p, q = predicted_noise(schedule.prediction_type, alpha)
    a = np.sqrt(alpha_prev / alpha)
    b0 = direction - a * np.sqrt(1 - alpha)
    return _table(timesteps, eta > 0, p=p, q=q, a=a, b0=b0, s=sigma)


def predicted_noise(prediction_type: str, alpha: Float64s) -> tuple[Float64s, Float64s]:
    """p and q [N] that turn the model's output into the noise it predicts: ε = p·x + q·output."""
    match prediction_type:
        case "epsilon":
            return np.zeros_like(alpha), np.ones_like(alpha)
        case "sample":
            return 1 / np.sqrt(1 - alpha), -np.sqrt(alpha / (1 - alpha))
        case "v_prediction":  # arXiv:2202.00512, appendix D
            return np.sqrt(1 - alpha), np.sqrt(alpha)
        case other:
            raise BundleError(
                f"the schedule's prediction_type is {other!r}, expected epsilon, sample or "
                "v_prediction. Export the checkpoint again."
            )


def _table(timesteps: NDArray[np.int64], draws_noise: bool, **columns: Float64s) -> SamplerTable:
    zeros = np.zeros(len(timesteps))
    coefficients = np.stack([columns.get(name, zeros) for name in COLUMNS], axis=1)
    return SamplerTable(timesteps.astype(np.float32), coefficients.astype(np.float32), draws_noise)
