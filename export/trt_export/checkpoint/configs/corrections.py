"""What diffusers' pipelines correct of outdated configurations, whatever the files say."""

import re
from collections.abc import Mapping
from typing import Any

from trt_export.families import Family

WITHOUT_SIZE = (0, 9)
"""The release of diffusers from which on a UNet's sample_size is its own."""


def corrected_scheduler(family: Family, config: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's configuration as the family's reference reads it. Its pipeline compares types
    as well: it corrects true, but not 1."""
    corrections = {
        name: value
        for name, value in family.scheduler_settings.items()
        if type(config.get(name, value)) is type(value)
    }
    return {**config, **corrections}


def corrected_unet(family: Family, config: Mapping[str, Any]) -> dict[str, Any]:
    """A UNet's configuration as the family's reference reads it: the first repositories of Stable
    Diffusion had a default as their sample_size."""
    size, least = config.get("sample_size"), family.corrected_sample_size
    if isinstance(size, int) and size < least and _release(config) < WITHOUT_SIZE:
        return {**config, "sample_size": least}
    return dict(config)


def _release(config: Mapping[str, Any]) -> tuple[int, int]:
    """Of diffusers, as far as it is stated."""
    found = re.match(r"(\d+)\.(\d+)", str(config.get("_diffusers_version")))
    return (int(found[1]), int(found[2])) if found else WITHOUT_SIZE
