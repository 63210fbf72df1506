"""Pictures that a user gives: paths, Pillow images or arrays, of any mode and orientation."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.metadata import UNREADABLE

if TYPE_CHECKING:
    from PIL.Image import Image

ImageInput: TypeAlias = "str | os.PathLike[str] | Image | NDArray[Any]"
"""A path, a Pillow image, or an array [H, W] or [H, W, 1, 3 or 4], uint8, bool or 0..1 floats."""

TIFF_BITS_PER_SAMPLE = 258
SIXTEEN_BITS = re.compile(";16[BLN]")
"""In the name of a layout of 16 bits a channel; BMP's BGR;16 has 16 bits a pixel."""
MASK_THRESHOLD = 128
"""Grey level from which a mask's pixel is repainted."""


def open_pictures(name: str, given: Any, count: int, copies: int = 1) -> "list[Image]":
    """The pictures of an argument: one for all, or a list or [B, H, W, C] array with one each.

    copies: pictures of each prompt, for a list with one a prompt.
    """
    if isinstance(given, np.ndarray) and given.ndim == 4:
        given = list(given)
    if not isinstance(given, list | tuple):
        return [open_picture(name, given)] * count
    arguments.per_picture(name, given, count, copies)  # before any is read
    return arguments.per_picture(name, [open_picture(name, one) for one in given], count, copies)


def open_picture(name: str, given: ImageInput) -> "Image":
    """A Pillow image, turned upright by its EXIF orientation; InvalidInputError if unreadable."""
    from PIL import Image

    if isinstance(given, np.ndarray):
        return Image.fromarray(_as_uint8(name, given))
    if given == "":
        raise InvalidInputError(f"{name} is an empty path, expected a picture's.")
    try:
        if isinstance(given, str | os.PathLike):
            _require_file(name, Path(given))
            with Image.open(Path(given)) as file:
                _require_few_pixels(name, file)
                return _upright(name, file)
        if isinstance(given, Image.Image):
            return _upright(name, given)
    except InvalidInputError:
        raise
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise InvalidInputError(f"{name} cannot be read: {error}.") from None
    raise InvalidInputError(
        f"{name} is a {type(given).__name__}, expected a path, a Pillow image or a NumPy array."
    )


def _require_file(name: str, path: Path) -> None:
    """Opening a pipe would wait for its writer."""
    if path.exists() and not path.is_file():
        raise InvalidInputError(f"{name} {path} is not a file.")


def _require_few_pixels(name: str, image: "Image") -> None:
    """Pillow warns of more pixels than its limit, and refuses twice as many."""
    from PIL import Image

    most = Image.MAX_IMAGE_PIXELS
    if most and image.width * image.height > most:
        raise InvalidInputError(
            f"{name} is {image.width}x{image.height} pixels, more than Pillow's limit of {most}."
        )


def _upright(name: str, image: "Image") -> "Image":
    from PIL import ImageOps

    halved = _loses_lower_bytes(image)  # before it is loaded
    image.load()
    if halved:
        _require_upper_bytes(name, image)
    return _eight_bits(name, ImageOps.exif_transpose(image), _white(image))


def _loses_lower_bytes(image: "Image") -> bool:
    """Whether a file's colours have 16 bits, of which Pillow is to keep the upper 8."""
    tiles = getattr(image, "tile", ())
    return not image.mode.startswith("I") and any(
        SIXTEEN_BITS.search(str(tile[3])) for tile in tiles
    )


def _require_upper_bytes(name: str, image: "Image") -> None:
    """InvalidInputError where 8-bit colours in 16-bit samples would turn black."""
    colours = (image.getchannel(band) for band in image.getbands() if band != "A")
    if not any(colour.getbbox() for colour in colours):
        raise InvalidInputError(
            f"{name} has colours of 16 bits that are all below 256: it is black, or its colours "
            "have 8 bits in fact. Save them as uint8, or give an array of floats from 0 to 1."
        )


def _white(image: "Image") -> int:
    """The white of a mode of more than 8 bits; Pillow keeps the 12 bits of a TIFF as they are."""
    bits = getattr(image, "tag_v2", {}).get(TIFF_BITS_PER_SAMPLE)
    return 0xFFF if bits == (12,) else 0xFFFF


def _eight_bits(name: str, image: "Image", white: int) -> "Image":
    """The image, in a mode of 8 bits a channel: greys of more bits are scaled, floats are 0..1."""
    from PIL import Image

    if not all(image.size):
        raise InvalidInputError(f"{name} is {image.width}x{image.height} pixels, expected some.")
    if image.mode == "F":
        return Image.fromarray(_as_uint8(name, np.asarray(image)))
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _scaled_greys(name, image, white)
    if image.mode == "LAB":
        raise InvalidInputError(f"{name} has colours in LAB, expected RGB. Convert it first.")
    return image.convert("LA") if image.mode == "La" else image


def _scaled_greys(name: str, image: "Image", white: int) -> "Image":
    """Greys from 0..white in 0..255; the one that a PNG calls transparent stays so.

    InvalidInputError for greys outside 0..white, and for those of 8 bits: Pillow's convert("I")
    leaves 255 white, which as one of 65535 is black.
    """
    from PIL import Image

    greys = np.asarray(image).astype(np.int64)
    low, high = int(greys.min()), int(greys.max())
    if low < 0 or high > white:
        raise InvalidInputError(f"{name} has greys from {low} to {high}, expected 0 to {white}.")
    if 0 < high <= 0xFF:
        raise InvalidInputError(
            f"{name} has greys from {low} to {high} in Pillow's mode {image.mode}, where {high} "
            f"may be white or, as one of {white}, black. {_unambiguous(high, white)}"
        )
    scaled = Image.fromarray(((greys * 0xFF + white // 2) // white).astype(np.uint8))
    if "transparency" in image.info:
        opaque = greys != image.info["transparency"]
        scaled.putalpha(Image.fromarray(opaque.astype(np.uint8) * np.uint8(0xFF)))
    return scaled


def _unambiguous(high: int, white: int) -> str:
    """How to give greys up to high, whichever are meant."""
    eight_bits = "a mask of 0 and 1 as bools" if high == 1 else "greys of 8 bits as uint8"
    kind = "bool" if high == 1 else "numpy.uint8"
    return (
        f"Give {eight_bits}: numpy.asarray(image).astype({kind}). "
        f"Give really dark greys as floats: numpy.asarray(image) / {white}."
    )


def _as_uint8(name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not fits or not array.size:
        raise InvalidInputError(
            f"{name} has shape {array.shape}, expected (H, W) or (H, W, 1, 3 or 4)."
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.floating):
        raise InvalidInputError(
            f"{name} is an array of {array.dtype}, expected uint8, bool, or floats from 0 to 1."
        )
    if not ((array >= 0) & (array <= 1)).all():
        raise InvalidInputError(
            f"{name} has numbers from {array.min():g} to {array.max():g}, expected 0 to 1."
        )
    return (array * 255).round().astype(np.uint8)


def rgb_pixels(image: "Image", height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: what is transparent becomes white; Lanczos filter if resized."""
    from PIL import Image

    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image)


def mask_pixels(mask: "Image", height: int, width: int) -> NDArray[np.bool_]:
    """bool [height, width], True where the mask is white once it has that size, as diffusers
    resizes it: with a Lanczos filter, before its colours become greys.

    InvalidInputError for one with transparent parts, or with no other greys than 0 and 1.
    """
    from PIL import Image

    if mask.has_transparency_data and mask.convert("RGBA").getchannel("A").getextrema() != (
        255,
        255,
    ):
        raise InvalidInputError(
            "mask_image has transparent parts, which mean different things in different programs. "
            "Make it opaque: white where the image is painted again, black elsewhere."
        )
    if mask.convert("L").getextrema()[1] == 1:
        raise InvalidInputError("mask_image is black: its greys are 0 and 1 of 255. Give bools.")
    if mask.size != (width, height):
        mask = mask.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(mask.convert("L")) >= MASK_THRESHOLD


def common_size(images: Sequence["Image"], factor: int) -> tuple[int, int]:
    """Height and width that all pictures have, rounded down to multiples of a factor.

    InvalidInputError if they differ: then height and width must be given.
    """
    for image in images:
        if min(image.size) < factor:
            raise InvalidInputError(
                f"image is {image.width}x{image.height} pixels, expected {factor}x{factor} at "
                "least; or give height and width to resize it to."
            )
    sizes = {(image.height, image.width) for image in images}
    if len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise InvalidInputError(f"image: its pictures are {listed}; give height and width.")
    height, width = sizes.pop()
    return height // factor * factor, width // factor * factor
