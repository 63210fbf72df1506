"""Samplers as tables: one row of coefficients for each step of the denoiser.

Each sampler is a function from a schedule and a number of steps to a SamplerTable.
"""

from collections.abc import Mapping
from typing import Protocol

from trt_pipeline.bundle.manifest import ScheduleSpec
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.sampling.samplers.consistency import lcm, tcd
from trt_pipeline.sampling.samplers.ddim import ddim
from trt_pipeline.sampling.samplers.ddpm import ddpm, ddpm_fixed_large
from trt_pipeline.sampling.samplers.exponential import dpmsolver, dpmsolver_karras, unipc
from trt_pipeline.sampling.samplers.pndm import pndm
from trt_pipeline.sampling.samplers.sigma_space import (
    euler,
    euler_ancestral,
    euler_karras,
    lms,
)
from trt_pipeline.sampling.samplers.table import COLUMNS, SamplerTable

__all__ = [
    "COLUMNS",
    "SAMPLERS",
    "SamplerTable",
    "ddim",
    "ddpm",
    "ddpm_fixed_large",
    "dpmsolver",
    "dpmsolver_karras",
    "euler",
    "euler_ancestral",
    "euler_karras",
    "lcm",
    "lms",
    "pndm",
    "sampler_table",
    "tcd",
    "unipc",
]


class Sampler(Protocol):
    """Makes a table; the first `start` of its steps are left out, as diffusers does it."""

    __name__: str

    def __call__(
        self, schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0
    ) -> SamplerTable: ...


class NoisySampler(Sampler, Protocol):
    """A sampler whose eta says how much noise its steps draw."""

    def __call__(
        self, schedule: ScheduleSpec, num_inference_steps: int, eta: float = 0.0, *, start: int = 0
    ) -> SamplerTable: ...


SAMPLERS: Mapping[str, Sampler] = {
    "ddim": ddim,
    "euler": euler,
    "euler_karras": euler_karras,
    "euler_ancestral": euler_ancestral,
    "pndm": pndm,
    "lms": lms,
    "dpmsolver++": dpmsolver,
    "dpmsolver++_karras": dpmsolver_karras,
    "unipc": unipc,
    "ddpm": ddpm,
    "ddpm_fixed_large": ddpm_fixed_large,
    "lcm": lcm,
    "tcd": tcd,
}
"""Name → function; each follows the defaults of diffusers' scheduler of that name."""
WITH_ETA: Mapping[str, NoisySampler] = {"ddim": ddim, "tcd": tcd}
"""Those that have an eta. It is 0 by default in both, as in diffusers' pipelines."""


def sampler_table(
    sampler: str,
    schedule: ScheduleSpec,
    num_inference_steps: int,
    eta: float = 0.0,
    *,
    start: int = 0,
    strength: float = 1.0,
) -> SamplerTable:
    """The table of the sampler with that name; eta is for those in WITH_ETA alone.

    start: how many of the first steps to leave out, less than num_inference_steps.
    strength: for lcm alone, the part of the timesteps over which all steps are spread.

    InvalidInputError for an unknown name, an eta that the sampler lacks, or steps that it refuses.
    """
    if sampler not in tuple(SAMPLERS):
        raise InvalidInputError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}.")
    if sampler in WITH_ETA:
        return WITH_ETA[sampler](schedule, num_inference_steps, eta, start=start)
    if sampler == "lcm" and eta == 0:
        return lcm(schedule, num_inference_steps, start=start, strength=strength)
    if eta != 0:
        raise InvalidInputError(
            f"eta must be 0 with sampler {sampler}, got {eta!r}; only {' and '.join(WITH_ETA)} "
            "have an eta."
        )
    return SAMPLERS[sampler](schedule, num_inference_steps, start=start)
