"""Finished pictures: Pillow images, and PNG files that carry their settings."""

import errno
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.version import package_version

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

SETTINGS_CHUNK = "trt-pipeline"
"""Keyword of the PNG text chunk that holds the settings as JSON."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that makes this picture again."""

    prompt: str
    seed: int
    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str
    eta: float
    sampler: str
    schedule: str
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    model: str
    """The bundle's model name."""


def to_pil(pixels: NDArray[np.uint8]) -> "list[Image]":
    """Pillow images of uint8 pixels [B, H, W, 3]."""
    from PIL import Image

    return [Image.fromarray(image) for image in pixels]


def save_png(image: "Image", path: Path, settings: Settings, *, overwrite: bool = False) -> Path:
    """Write a PNG whole or not at all, return its path; FileExistsError unless overwrite."""
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with unfinished.open("xb") as stream:
            image.save(stream, "PNG", pnginfo=_text_chunks(settings))
        _publish(unfinished, path, overwrite)
        return path
    finally:
        unfinished.unlink(missing_ok=True)


def save_numbered(image: "Image", folder: Path, settings: Settings) -> Path:
    """Write a PNG under the folder's next free number, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal()]
    number = max(taken, default=-1)
    while True:
        number += 1
        path = folder / f"{number:05d}.png"
        try:
            return save_png(image, path, settings)
        except FileExistsError:  # another process took the number
            continue


def _text_chunks(settings: Settings) -> "PngInfo":
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text("Description", settings.prompt)
    chunks.add_text("Software", f"trt-pipeline {package_version()}")
    chunks.add_text(SETTINGS_CHUNK, json.dumps(asdict(settings)))
    return chunks


def _publish(unfinished: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        unfinished.replace(path)
        return
    try:
        path.hardlink_to(unfinished)  # unlike a rename, never replaces
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        unfinished.rename(path)
