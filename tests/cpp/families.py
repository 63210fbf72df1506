"""Small bundles of Stable Diffusion's families, from checkpoints of random weights."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from tests.stable_diffusion import (
    ONE_LEVEL,
    make_inpaint,
    make_instruct_pix2pix,
    make_latent_consistency,
    make_stable_diffusion,
)
from tests.stable_diffusion_xl import make_xl
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint


def make_plain(folder: Path) -> Path:
    """Stable Diffusion 1.x with a UNet of one level."""
    return make_stable_diffusion(folder, **ONE_LEVEL)


MAKERS: Mapping[str, Callable[[Path], Path]] = MappingProxyType(
    {
        "plain": make_plain,
        "consistency": make_latent_consistency,
        "inpaint": make_inpaint,
        "pix2pix": make_instruct_pix2pix,
        "xl": make_xl,
    }
)
"""Name → what writes a checkpoint."""


def write_bundle(name: str, folder: Path) -> Path:
    """The bundle of a family; TRT_PIPELINE_FAMILIES names a folder that has them by name."""
    if given := os.environ.get("TRT_PIPELINE_FAMILIES"):
        return Path(given) / name
    checkpoint = MAKERS[name](folder / "checkpoint")
    options = ExportOptions(precision="fp32", max_batch=4, max_size=128)
    export_checkpoint(open_checkpoint(str(checkpoint)), folder / "bundle", options, lambda _: None)
    return folder / "bundle"
