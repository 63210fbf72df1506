"""Numbers of a schedule: what they may be, before a scheduler's class computes with them."""

from collections.abc import Mapping
from typing import Any

from trt_export.checkpoint.configs.bounds import MAX


def check_numbers(settings: Mapping[str, Any]) -> None:
    """ValueError names a number of a scheduler's complete settings that no schedule has."""
    most = MAX["num_train_timesteps"]
    _check_whole("num_train_timesteps", settings["num_train_timesteps"], 1, most)
    _check_whole("steps_offset", settings["steps_offset"], 0, settings["num_train_timesteps"] - 1)
    for name in ("beta_start", "beta_end"):
        _check_beta(name, settings[name])
    if settings["trained_betas"] is not None:
        _check_betas(settings["trained_betas"], settings["num_train_timesteps"])


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(_wrong(name, value, f"a whole number from {low} to {high}"))


def _check_betas(betas: Any, steps: int) -> None:
    """diffusers spaces timesteps by num_train_timesteps, however many levels there are."""
    if not isinstance(betas, list | tuple):
        raise ValueError(_wrong("trained_betas", betas, "null or a list of numbers"))
    if len(betas) != steps:
        raise ValueError(
            f"trained_betas has {len(betas)} values, but num_train_timesteps is {steps}; expected "
            "as many values as timesteps"
        )
    for place, beta in enumerate(betas):
        _check_beta(f"trained_betas[{place}]", beta)


def _check_beta(name: str, value: Any) -> None:
    """Compared as it is: whole numbers may be too large to be floats."""
    if type(value) not in (int, float) or not 0 < value <= 1:
        raise ValueError(_wrong(name, value, "a number above 0 and at most 1"))


def _wrong(name: str, value: Any, expected: str) -> str:
    return f"{name} is {value!r:.80}, expected {expected}"
