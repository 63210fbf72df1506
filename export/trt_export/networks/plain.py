"""Settings of diffusers' classes that must have their plain values."""

from collections.abc import Mapping
from typing import Any


def require_plain(model: Any, plain: Mapping[str, tuple[Any, ...]]) -> Any:
    """The model; ValueError for a setting that its graphs don't have."""
    for setting, supported in plain.items():
        if model.config[setting] not in supported:
            raise ValueError(
                f"{setting} is {model.config[setting]!r}; only {supported[0]!r} can be exported"
            )
    return model
