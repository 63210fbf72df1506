"""Schedulers: which of diffusers' can be exported, with which settings, and as which sampler."""

import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers

from trt_pipeline.sampling.samplers import (
    SAMPLERS,
    Sampler,
    ddim,
    ddpm,
    ddpm_fixed_large,
    dpmsolver,
    dpmsolver_karras,
    euler,
    euler_ancestral,
    euler_karras,
    lcm,
    lms,
    pndm,
    tcd,
    unipc,
)

Settings = Mapping[str, Any]
Honoured = Mapping[str, tuple[Any, ...]]
"""Setting → the values under which a sampler's table does what the scheduler does."""

PLAIN_SIGMAS: Honoured = dict.fromkeys(
    ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"), (False, None)
)
UNCLIPPED: Honoured = {"clip_sample": (False,), "thresholding": (False,)}
"""Clipping is not linear, so no table has it."""
NO_SAMPLE: Honoured = {"prediction_type": ("epsilon", "v_prediction")}
"""Of schedulers that cannot step from a predicted sample."""
SECOND_ORDER: Honoured = {
    **PLAIN_SIGMAS,
    "final_sigmas_type": ("zero",),
    "solver_order": (2,),
    "thresholding": (False,),
    "use_dynamic_shifting": (False,),
    "use_flow_sigmas": (False,),
}
DISTILLED: Honoured = {"original_inference_steps": (50,)}
UNREAD_BY_TCD = frozenset({"clip_sample", "thresholding", "timestep_scaling"})


@dataclass(frozen=True, slots=True)
class Scheduler:
    """One of diffusers' schedulers, as far as a sampler follows it."""

    sampler: Sampler
    honoured: Honoured
    variants: Mapping[tuple[str, Any], Sampler] = field(default_factory=dict)
    """Setting and value → the sampler that follows it instead."""
    unread: frozenset[str] = frozenset()
    """Settings that the class has and never reads."""

    def follows(self, settings: Settings) -> Sampler:
        """The sampler for settings that are all honoured."""
        chosen = (one for key, one in self.variants.items() if key in settings.items())
        return next(chosen, self.sampler)


SCHEDULERS: Mapping[str, Scheduler] = {
    "DDIMScheduler": Scheduler(ddim, UNCLIPPED),
    "DDPMScheduler": Scheduler(
        ddpm,
        # fixed_small_log is the same variance; with fixed_large_log diffusers itself draws NaN.
        {
            **UNCLIPPED,
            "rescale_betas_zero_snr": (False,),
            "variance_type": ("fixed_small", "fixed_small_log", "fixed_large"),
        },
        {("variance_type", "fixed_large"): ddpm_fixed_large},
    ),
    "PNDMScheduler": Scheduler(pndm, {**NO_SAMPLE, "skip_prk_steps": (True,)}),
    "LMSDiscreteScheduler": Scheduler(lms, PLAIN_SIGMAS),
    "EulerDiscreteScheduler": Scheduler(
        euler,
        {
            **PLAIN_SIGMAS,
            "final_sigmas_type": ("zero",),
            "interpolation_type": ("linear",),
            "timestep_type": ("discrete",),
            "use_karras_sigmas": (False, None, True),
        },
        {("use_karras_sigmas", True): euler_karras},
    ),
    "EulerAncestralDiscreteScheduler": Scheduler(euler_ancestral, NO_SAMPLE),
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
        {("use_karras_sigmas", True): dpmsolver_karras},
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
    "LCMScheduler": Scheduler(lcm, {**UNCLIPPED, **DISTILLED, "timestep_scaling": (10.0,)}),
    "TCDScheduler": Scheduler(tcd, DISTILLED, unread=UNREAD_BY_TCD),
}

OF_THE_SCHEDULE = {
    "beta_end",
    "beta_schedule",
    "beta_start",
    "num_train_timesteps",
    "prediction_type",
    "rescale_betas_zero_snr",
    "set_alpha_to_one",
    "steps_offset",
    "timestep_spacing",
    "trained_betas",
}
WITHOUT_EFFECT = {
    # They belong to settings that are not honoured.
    "clip_sample_range",
    "dynamic_thresholding_ratio",
    "flow_shift",
    "sample_max_value",
    "sigma_max",
    "sigma_min",
    "time_shift_type",
    # DPM-Solver++'s last step to a σ of 0 is of order 1 in any case.
    "euler_at_final",
    "lower_order_final",
}
BESIDE_KARRAS = ("sigma_min", "sigma_max")
"""Keys that diffusers reads from a configuration for Karras' levels, whatever the signature."""
OF_THE_MODEL = {
    "prediction_type",
    "original_inference_steps",
    "rescale_betas_zero_snr",
    "shift_terminal",
    "timestep_scaling",
    "timestep_type",
    "use_dynamic_shifting",
    "use_flow_sigmas",
    "variance_type",
}
"""Settings that a model is trained for: with another value it draws nothing of use."""


def choose_sampler(name: str, config: Settings) -> str:
    """The name of the sampler that follows a scheduler; ValueError names all settings that the
    sampler would not honour."""
    if name not in SCHEDULERS:
        raise ValueError(
            f"a {name} is not known; only {', '.join(SCHEDULERS)} can be exported. Put one of them "
            "into that file of a copy; the sampler of each picture is chosen in its call"
        )
    settings, allowed = complete_settings(name, config), honoured_settings(name)
    wrong = {
        setting: value
        for setting, value in settings.items()
        if setting in allowed and not _is_one_of(value, allowed[setting])
    }
    if wrong:
        raise ValueError(_refusal(name, wrong, allowed))
    if settings.get("use_karras_sigmas"):
        _check_karras(name, config)
    return _name_of(SCHEDULERS[name].follows(settings))


def _check_karras(name: str, config: Settings) -> None:
    """ValueError for what changes Karras' levels in diffusers, though no setting of the class."""
    for key in BESIDE_KARRAS:
        if config.get(key) is not None:
            raise ValueError(
                f"{key} is {_json(config[key])}, which a {name} with use_karras_sigmas takes as an "
                "end of its levels; only null can be exported"
            )
    cuts = SCHEDULERS[name].sampler is dpmsolver
    if cuts and config.get("beta_schedule") == "squaredcos_cap_v2":
        raise ValueError(
            'beta_schedule is "squaredcos_cap_v2", with which diffusers cuts the timesteps of '
            "use_karras_sigmas instead of rounding them; only another beta_schedule, or "
            "use_karras_sigmas false, can be exported"
        )


def _is_one_of(value: Any, allowed: tuple[Any, ...]) -> bool:
    """A file may say 10 for 10.0."""
    number = float(value) if type(value) is int else value
    return any(type(one) in (type(value), type(number)) and value == one for one in allowed)


def honoured_settings(name: str) -> Honoured:
    """The values that can be exported of a scheduler's settings, less those that may have any.

    A setting that only a later release of diffusers has may have its default.
    """
    parameters = inspect.signature(getattr(diffusers, name).__init__).parameters
    known = OF_THE_SCHEDULE | WITHOUT_EFFECT | SCHEDULERS[name].unread | {"self"}
    defaults = {setting: (parameters[setting].default,) for setting in parameters.keys() - known}
    return {**defaults, **SCHEDULERS[name].honoured}


def _refusal(name: str, wrong: Settings, allowed: Honoured) -> str:
    faults = [
        f"{setting} is {_json(value)}, but a {name} can be exported with "
        f"{' or '.join(_json(one) for one in allowed[setting] if one is not None) or 'null'} only"
        for setting, value in wrong.items()
    ]
    if OF_THE_MODEL & wrong.keys():
        return "; ".join(faults)
    advised = {setting: _nearest(value, allowed[setting]) for setting, value in wrong.items()}
    changes = " and ".join(f"{setting} to {_json(value)}" for setting, value in advised.items())
    advice = (
        f"{'; '.join(faults)}. Set {changes} in that file: the bundle then draws what diffusers"
    )
    if all(_is_same_flag(value, advised[setting]) for setting, value in wrong.items()):
        return f"{advice} draws with the file as it is"
    return (
        f"{advice} draws with the file changed so, which are other pictures than with the file as "
        "it is"
    )


def _nearest(value: Any, allowed: tuple[Any, ...]) -> Any:
    """The flag that diffusers takes a value for, where it is allowed; else the first allowed."""
    return next((one for one in allowed if _is_same_flag(value, one)), allowed[0])


def _is_same_flag(value: Any, flag: Any) -> bool:
    """Whether diffusers, which only asks whether a flag is true, takes a value for it."""
    return isinstance(flag, bool) and bool(value) == flag


def _json(value: Any) -> str:
    """A value as the file has it."""
    return f"{json.dumps(value, default=repr):.80}"


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
