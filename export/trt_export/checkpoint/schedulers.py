"""Schedulers: which of diffusers' can be exported, with which settings, and as which sampler."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers

from trt_pipeline.sampling.samplers import (
    SAMPLERS,
    Sampler,
    ddim,
    dpmsolver,
    dpmsolver_karras,
    euler,
    euler_ancestral,
    lms,
    pndm,
    unipc,
)

Settings = Mapping[str, Any]
Honoured = Mapping[str, tuple[Any, ...]]
"""Setting → the values under which a sampler's table does what the scheduler does."""

PLAIN_SIGMAS: Honoured = dict.fromkeys(
    ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"), (False, None)
)
NO_RESCALE: Honoured = {"rescale_betas_zero_snr": (False,)}
NO_SAMPLE: Honoured = {"prediction_type": ("epsilon", "v_prediction")}
"""Of schedulers that cannot step from a predicted sample."""
SECOND_ORDER: Honoured = {
    **NO_RESCALE,
    **PLAIN_SIGMAS,
    "final_sigmas_type": ("zero",),
    "solver_order": (2,),
    "thresholding": (False,),
    "use_dynamic_shifting": (False,),
    "use_flow_sigmas": (False,),
}


@dataclass(frozen=True, slots=True)
class Scheduler:
    """One of diffusers' schedulers, as far as a sampler follows it."""

    sampler: Sampler
    honoured: Honoured
    karras: Sampler | None = None
    """The sampler if use_karras_sigmas is on, where there is one."""


SCHEDULERS: Mapping[str, Scheduler] = {
    "DDIMScheduler": Scheduler(
        ddim, {**NO_RESCALE, "clip_sample": (False,), "thresholding": (False,)}
    ),
    "PNDMScheduler": Scheduler(pndm, {**NO_SAMPLE, "skip_prk_steps": (True,)}),
    "LMSDiscreteScheduler": Scheduler(lms, PLAIN_SIGMAS),
    "EulerDiscreteScheduler": Scheduler(
        euler,
        {
            **NO_RESCALE,
            **PLAIN_SIGMAS,
            "final_sigmas_type": ("zero",),
            "interpolation_type": ("linear",),
            "timestep_type": ("discrete",),
        },
    ),
    "EulerAncestralDiscreteScheduler": Scheduler(euler_ancestral, {**NO_RESCALE, **NO_SAMPLE}),
    "DPMSolverMultistepScheduler": Scheduler(
        dpmsolver,
        {
            **SECOND_ORDER,
            "algorithm_type": ("dpmsolver++",),
            "lambda_min_clipped": (-math.inf,),
            "solver_type": ("midpoint",),
            "use_karras_sigmas": (False, None, True),
            "use_lu_lambdas": (False,),
            "variance_type": (None,),
        },
        karras=dpmsolver_karras,
    ),
    "UniPCMultistepScheduler": Scheduler(
        unipc,
        {
            **SECOND_ORDER,
            "disable_corrector": ([],),
            "lower_order_final": (True,),
            "predict_x0": (True,),
            "shift_terminal": (None,),
            "solver_p": (None,),
            "solver_type": ("bh2",),
        },
    ),
}
"""Settings that are not named here take part in the schedule, or in nothing that is allowed."""


ADVICE = {
    "DDPMScheduler": " Its steps are those of DDIMScheduler with eta 1: name DDIMScheduler in "
    "model_index.json, and generate with --eta 1."
}
"""What to do about a class that cannot be exported."""


def choose_sampler(name: str, config: Settings) -> str:
    """The name of the sampler that follows a scheduler; ValueError names a setting that the sampler
    would not honour."""
    if name not in SCHEDULERS:
        raise ValueError(
            f"a {name} is not known; only {', '.join(SCHEDULERS)} can be exported"
            f"{ADVICE.get(name, '')}"
        )
    scheduler, settings = SCHEDULERS[name], complete_settings(name, config)
    for setting, allowed in scheduler.honoured.items():
        value = settings.get(setting, allowed[0])  # older versions of diffusers lack some
        if not any(type(value) is type(one) and value == one for one in allowed):
            choices = " or ".join(repr(one) for one in allowed if one is not None) or None
            raise ValueError(
                f"{setting} is {value!r}, but a {name} can be exported with {choices} only"
            )
    karras = scheduler.karras if settings.get("use_karras_sigmas") else None
    return _name_of(karras or scheduler.sampler)


def _name_of(sampler: Sampler) -> str:
    return next(name for name, function in SAMPLERS.items() if function is sampler)


def complete_settings(name: str, config: Settings) -> dict[str, Any]:
    """A scheduler's settings with its defaults, less those of other classes or versions."""
    known = inspect.signature(getattr(diffusers, name).__init__).parameters
    return {
        setting: config.get(setting, parameter.default)
        for setting, parameter in known.items()
        if setting != "self"
    }


def training_alphas(name: str, config: Settings) -> list[float]:
    """alphas_cumprod of a scheduler; what its class raises where the settings make no sense."""
    scheduler = getattr(diffusers, name).from_config(complete_settings(name, config))
    return list(scheduler.alphas_cumprod.tolist())
