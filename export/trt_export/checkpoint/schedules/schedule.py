"""The noise schedule that a checkpoint's scheduler configuration describes."""

from typing import Any

import diffusers
from diffusers.utils import DummyObject

from trt_export.checkpoint.configs.bounds import check_bounds
from trt_export.checkpoint.configs.corrections import corrected_scheduler
from trt_export.checkpoint.configs.keys import known_settings
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.schedules.schedulers import (
    choose_sampler,
    complete_settings,
    training_alphas,
)
from trt_export.checkpoint.schedules.settings import check_numbers
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.bundle.manifest import PREDICTION_TYPES, ScheduleSpec
from trt_pipeline.errors import CheckpointError

NO_SIGNAL = 2.0**-24
"""The last alphas_cumprod instead of 0, as diffusers' schedulers in σ have it."""


def load_schedule(checkpoint: Checkpoint) -> tuple[ScheduleSpec, str]:
    """The schedule as its pipeline reads it, and the name of the sampler of its scheduler.

    CheckpointError for a setting that the sampler would not honour.
    """
    path, scheduler = checkpoint.configs["scheduler"], checkpoint.class_of("scheduler")
    config = corrected_scheduler(checkpoint.family, checkpoint.config("scheduler"))
    try:
        check_bounds(config)
        sampler = choose_sampler(scheduler, config)
        known_settings(scheduler, config)
        settings = complete_settings(scheduler, config)
        _check_installed(scheduler)
        check_numbers(settings)
        alphas_cumprod = _training_alphas(scheduler, config)
        _keep_signal(alphas_cumprod, settings)
        return _schedule(settings, alphas_cumprod), sampler
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be exported: {error}.") from None


def _check_installed(scheduler: str) -> None:
    """ValueError for a class that diffusers replaces by one without settings."""
    if isinstance(getattr(diffusers, scheduler), DummyObject):
        raise ValueError(f"a {scheduler} needs SciPy: pip install scipy")


def _training_alphas(scheduler: str, config: dict[str, Any]) -> list[float]:
    """ValueError for what the scheduler's class refuses."""
    try:
        return training_alphas(scheduler, config)
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{scheduler} refuses it: {reason:.200}") from None


def _keep_signal(alphas_cumprod: list[float], settings: dict[str, Any]) -> None:
    """Let the last level keep so little signal that no picture shows it, where there was none.

    ValueError for levels that rise to it, and for predicted noise, which says nothing of a sample
    that left no signal.
    """
    *_, before, last = (1.0, 1.0, *alphas_cumprod)
    if last == 0 and settings["prediction_type"] == "epsilon":
        rescaled = " (rescale_betas_zero_snr)" if settings.get("rescale_betas_zero_snr") else ""
        raise ValueError(
            f"alphas_cumprod ends at 0{rescaled}, where predicted noise says nothing of the "
            'sample; expected prediction_type "v_prediction" or "sample"'
        )
    if last > before:
        raise ValueError(
            f"alphas_cumprod rises at the end from {before:.2g} to {last:.2g} "
            "(rescale_betas_zero_snr); expected levels that never rise"
        )
    if last == 0:
        alphas_cumprod[-1] = min(NO_SIGNAL, before)


def _schedule(settings: dict[str, Any], alphas_cumprod: list[float]) -> ScheduleSpec:
    """ValueError for a setting of the wrong type."""
    prediction_type = settings["prediction_type"]
    if prediction_type not in tuple(PREDICTION_TYPES):
        raise ValueError(
            f"prediction_type is {prediction_type!r:.80}, expected {' or '.join(PREDICTION_TYPES)}"
        )
    entries = {
        "steps_offset": settings["steps_offset"],
        # DDIMScheduler.from_config takes True from a scheduler without this setting.
        "set_alpha_to_one": settings.get("set_alpha_to_one", True),
        "timestep_spacing": settings["timestep_spacing"],
        "alphas_cumprod": alphas_cumprod,
    }
    return decode(ScheduleSpec, entries, "it", prediction=PREDICTION_TYPES[prediction_type])
