"""Finished pictures: Pillow images, and PNG, WebP and JPEG files that carry their settings."""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.durable import naming
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.metadata import XMP, PictureFormat, exif, png_chunks
from trt_pipeline.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS: Mapping[str, PictureFormat] = {
    ".png": "png",
    ".webp": "webp",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
}
"""File name suffix → format; a format's first suffix is the one that new files get."""
LARGEST_SIDE: Mapping[PictureFormat, int] = {"png": 2**31 - 1, "webp": 16383, "jpeg": 65500}
"""Pixels that a format, as Pillow writes it, has room for."""


QUALITY = 95
"""Of WebP and JPEG, if nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a picture is written, whatever its format."""

    quality: int = QUALITY
    """1 to 100, of WebP and JPEG; a JPEG keeps its colours at full resolution."""
    lossless: bool = False
    """Whether a WebP keeps every pixel, as a PNG does."""
    ai_mark: bool = True
    """Whether XMP says that the picture was made by a trained model."""

    def __post_init__(self) -> None:
        """InvalidInputError for a quality outside 1..100."""
        arguments.integer("quality", self.quality, 1, 100)


def to_pil(pixels: NDArray[np.uint8]) -> "list[Image]":
    """Pillow images of uint8 pixels [B, H, W, 3]."""
    from PIL import Image

    return [Image.fromarray(image) for image in pixels]


def picture_format(path: Path) -> PictureFormat:
    """The format that a file name's suffix stands for; InvalidInputError if it is none."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise InvalidInputError(
            f"output {path}: a picture's name ends in {', '.join(FORMATS)}. If it shall be a "
            "folder, make it first."
        ) from None


def suffix_of(kind: PictureFormat) -> str:
    """The suffix that new files of a format get."""
    return next(suffix for suffix, one in FORMATS.items() if one == kind)


def save_picture(
    image: "Image",
    path: str | os.PathLike[str],
    settings: Settings | None = None,
    encoding: Encoding | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a picture whole or not at all, in the format of its suffix, and return its path.

    settings: what makes the picture again, embedded in the file. encoding: how; with a mark that a
    trained model made the picture, if not given.
    Raises InvalidInputError for an unknown suffix, or settings or sides too long for the format;
    FileExistsError unless overwrite.
    """
    from PIL.Image import Image

    if not isinstance(image, Image):
        raise InvalidInputError(f"image is a {type(image).__name__}, expected a Pillow image.")
    path = Path(path)
    kind = picture_format(path)
    check_sides(image.size, kind)
    parameters = _parameters(kind, settings, encoding or Encoding())
    unfinished = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with naming(path, unfinished), unfinished.open("xb") as stream:
            image.save(stream, kind.upper(), **parameters)
        _publish(unfinished, path, overwrite)
        return path
    finally:
        unfinished.unlink(missing_ok=True)


def save_numbered(
    image: "Image",
    folder: Path,
    settings: Settings,
    encoding: Encoding | None = None,
    kind: PictureFormat = "png",
) -> Path:
    """Write a picture under the folder's next free number, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = (path for path in folder.iterdir() if path.suffix.lower() in FORMATS)
    number = max((int(path.stem) for path in pictures if path.stem.isdecimal()), default=-1)
    while True:
        number += 1
        path = folder / f"{number:05d}{suffix_of(kind)}"
        try:
            return save_picture(image, path, settings, encoding)
        except FileExistsError:  # another process took the number
            continue


def check_sides(size: tuple[int, int], kind: PictureFormat) -> None:
    """InvalidInputError if a format has no room for width × height pixels."""
    if max(size) > LARGEST_SIDE[kind]:
        raise InvalidInputError(
            f"a {kind} picture has sides up to {LARGEST_SIDE[kind]} pixels, "
            f"got {size[0]} × {size[1]}. Write a PNG."
        )


def _parameters(
    kind: PictureFormat, settings: Settings | None, encoding: Encoding
) -> dict[str, Any]:
    """What Pillow's encoder of a format takes."""
    if kind == "png":
        return {"pnginfo": png_chunks(settings, encoding.ai_mark)}
    mark = {"xmp": XMP.encode()} if encoding.ai_mark else {}
    common = {"exif": exif(settings, kind), "quality": encoding.quality, **mark}
    if kind == "webp":
        return {**common, "lossless": encoding.lossless}
    return {**common, "subsampling": "4:4:4"}


def _publish(unfinished: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        unfinished.replace(path)
        return
    exists = FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    try:
        path.hardlink_to(unfinished)  # unlike a rename, never replaces
    except FileExistsError:
        raise exists from None
    except OSError:  # a file system without hard links
        if path.exists():
            raise exists from None
        unfinished.rename(path)
