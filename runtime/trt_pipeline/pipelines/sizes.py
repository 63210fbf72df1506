"""Sizes: how large the pictures of a call are."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.capabilities import enlarges
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.image_inputs import common_size
from trt_pipeline.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

LOW_RESOLUTION_MULTIPLE = 32
"""Images to enlarge are resized to multiples of this, rounded down, as diffusers does it."""


def sized(
    bundle: Bundle, settings: Settings, images: "Sequence[Image]"
) -> tuple[tuple[int, int, int], Settings]:
    """The shape of a picture's latents, and the settings with its height and width."""
    factor = bundle.model.vae_scale_factor
    if enlarges(bundle):
        height, width = _enlarged_size(bundle, images)
        if settings.height not in (None, height) or settings.width not in (None, width):
            raise InvalidInputError(
                f"height and width are {settings.height} and {settings.width}, but this model "
                f"enlarges image to {width}x{height} pixels. Leave them out."
            )
    else:
        height, width = _size(bundle, settings, images)
    shape = (bundle.model.latent_channels, height // factor, width // factor)
    return shape, replace(settings, height=height, width=width)


def _size(bundle: Bundle, settings: Settings, images: "Sequence[Image]") -> tuple[int, int]:
    """Height and width in pixels: those asked for, the image's, or the bundle's."""
    factor, limits = bundle.model.vae_scale_factor, bundle.limits
    native, whose = (bundle.defaults.height, bundle.defaults.width), ""
    if images and (settings.height is None or settings.width is None):
        native, whose = common_size(images, factor), " of image, unless given to resize it,"
    sides = [
        _pixels(f"{name}{whose if given is None else ''}", given or own, allowed, factor)
        for name, given, own, allowed in (
            ("height", settings.height, native[0], limits.height),
            ("width", settings.width, native[1], limits.width),
        )
    ]
    return sides[0], sides[1]


def _pixels(name: str, value: int, limits: tuple[int, int], factor: int) -> int:
    low, high = limits
    if value % factor or not low <= value <= high:
        raise InvalidInputError(
            f"{name} must be a multiple of {factor} from {low} to {high}, got {value}."
        )
    return value


def _enlarged_size(bundle: Bundle, images: "Sequence[Image]") -> tuple[int, int]:
    """Height and width of the enlarged pictures; InvalidInputError outside the bundle's limits."""
    multiple, factor = LOW_RESOLUTION_MULTIPLE, bundle.model.vae_scale_factor
    sizes = {(one.height // multiple, one.width // multiple) for one in images}
    rows, columns = min(sizes)
    if len(sizes) > 1 or not (rows and columns):
        found = ", ".join(f"{one.width}x{one.height}" for one in images)
        raise InvalidInputError(
            f"image is {found} pixels, but all must have one size, and at least {multiple} pixels "
            "along each side."
        )
    height, width = rows * multiple * factor, columns * multiple * factor
    (bottom, top), (left, right) = bundle.limits.height, bundle.limits.width
    if not (bottom <= height <= top and left <= width <= right):
        raise InvalidInputError(
            f"image would be enlarged to {width}x{height} pixels, but this bundle makes "
            f"{left}..{right} by {bottom}..{top}."
        )
    return height, width
