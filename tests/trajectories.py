"""Whole trajectories by a sampler's table and by diffusers' scheduler.

The model is cheap, nonlinear and depends on the timestep, so an error in a step's latents or in
its timestep changes all later steps.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from trt_pipeline.sampling.samplers import SamplerTable

CHANNELS = 16
MIXING = np.random.default_rng(0).standard_normal((CHANNELS, CHANNELS)) / 4


@dataclass
class Case:
    """One sampler of ours and the same of diffusers, ready to run."""

    table: SamplerTable
    scheduler: Any
    start: NDArray[np.float64]
    """[2, CHANNELS], standard normal."""
    noise: NDArray[np.float64]
    """[N, 2, CHANNELS]"""
    eta: float = 0.0
    """Of schedulers that have one, which diffusers' pipelines give them."""


def started(table: SamplerTable, scheduler: Any, eta: float = 0.0) -> Case:
    """A case with seeded noise; the scheduler knows its timesteps."""
    normal = np.random.default_rng(1).standard_normal((1 + len(table.timesteps), 2, CHANNELS))
    return Case(table, scheduler, normal[0], normal[1:], eta)


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
    """The same by diffusers; latents that it scales by √(1+σ²) are scaled back.

    A scheduler with a begin_index begins there.
    """
    import torch

    noise: Iterator[NDArray[Any]] = iter(case.noise.astype(dtype))
    scheduler = case.scheduler
    module = type(scheduler).__module__
    patch.setattr(
        f"{module}.randn_tensor", lambda *_, **__: torch.from_numpy(next(noise)), raising=False
    )
    scales = hasattr(scheduler, "is_scale_input_called")
    has_eta = "eta" in inspect.signature(scheduler.step).parameters
    step = partial(scheduler.step, eta=case.eta) if has_eta else scheduler.step
    x = torch.from_numpy((case.start * float(scheduler.init_noise_sigma)).astype(dtype))
    after = []
    first = getattr(scheduler, "begin_index", None) or 0
    for i, t in enumerate(scheduler.timesteps[first:], first):
        latents = scheduler.scale_model_input(x, t).numpy().astype(dtype)
        output = torch.from_numpy(model(latents, t.numpy().astype(np.float32)))
        x = step(output, t, x).prev_sample
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
