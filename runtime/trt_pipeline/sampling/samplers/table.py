"""The table that every sampler fills.

A step computes m0 = p·x + q·output and x' = a·x + b0·m0 + b1·m1 + b2·m2 + b3·m3 + s·z from the
latents x, the model's output, the earlier m0 and standard normal noise z.
docs/reference/bundle-format.md specifies the columns (p, q, a, b0, b1, b2, b3, s). The latents are
those the model was trained on, x = √ᾱ·x0 + √(1-ᾱ)·ε, in every sampler.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle.manifest import PredictionSpec

COLUMNS = ("p", "q", "a", "b0", "b1", "b2", "b3", "s")

Float64s = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SamplerTable:
    """Everything a sampler does, one row a step."""

    timesteps: NDArray[np.float32]
    """[N], what the time embedding sees; one more than was asked for with pndm."""
    coefficients: NDArray[np.float32]
    """[N, 8]: p, q, a, b0, b1, b2, b3, s."""
    alphas_cumprod: NDArray[np.float32]
    """[N + 1], the noise level ᾱ of the latents before each step, and after the last."""
    noisy_steps: int
    """How many of the steps, from the first, take fresh noise from the stream."""
    initial_scale: float = 1.0
    """What the first standard normal noise is multiplied by to become the latents."""


def tabulate(
    timesteps: NDArray[Any],
    alphas_cumprod: Float64s,
    noisy_steps: int = 0,
    initial_scale: float = 1.0,
    **columns: Float64s,
) -> SamplerTable:
    """Cast the columns [N] to float32; those left out are 0."""
    zeros = np.zeros(len(timesteps))
    coefficients = np.stack([columns.get(name, zeros) for name in COLUMNS], axis=1)
    return SamplerTable(
        timesteps=timesteps.astype(np.float32),
        coefficients=coefficients.astype(np.float32),
        alphas_cumprod=alphas_cumprod.astype(np.float32),
        noisy_steps=noisy_steps,
        initial_scale=initial_scale,
    )


def predicted_noise(prediction: PredictionSpec, alpha: Float64s) -> tuple[Float64s, Float64s]:
    """p and q [N] that turn the model's output into the noise it predicts: ε = p·x + q·output.

    From output = u·x0 + w·ε and x = √ᾱ·x0 + √(1-ᾱ)·ε.
    """
    signal, noise = np.sqrt(alpha), np.sqrt(1 - alpha)
    basis = np.stack([np.ones_like(alpha), signal, noise])
    u, w = np.array(prediction.sample) @ basis, np.array(prediction.noise) @ basis
    determinant = signal * w - noise * u
    return (0 - u) / determinant, signal / determinant


def predicted_sample(prediction: PredictionSpec, alpha: Float64s) -> tuple[Float64s, Float64s]:
    """p and q [N] that turn the model's output into the sample it predicts: x0 = p·x + q·output."""
    p, q = predicted_noise(prediction, alpha)
    noise = np.sqrt(1 - alpha)
    return (1 - noise * p) / np.sqrt(alpha), -noise * q / np.sqrt(alpha)
