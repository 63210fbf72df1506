"""Images in: the pictures and masks that a request begins with, or enlarges."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.capabilities import enlarges
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.image_inputs import mask_pixels, open_pictures, rgb_pixels
from trt_pipeline.pipelines.request import Request

if TYPE_CHECKING:
    from PIL.Image import Image


def image_count(image: object) -> int:
    """How many pictures an `image` argument has; InvalidInputError for none."""
    if image is None:
        raise InvalidInputError("image is missing; this model enlarges pictures.")
    is_several = isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4
    count = len(image) if is_several else 1  # type: ignore[arg-type]
    if not count:
        raise InvalidInputError("image is an empty list, expected at least one picture.")
    return count


def opened_images(request: Request, count: int, copies: int) -> "list[tuple[Image, Image | None]]":
    """Each picture's image and its mask; none if there is no image."""
    if request.image is None:
        for name in ("mask_image", "strength"):
            if getattr(request, name) is not None:
                raise InvalidInputError(f"{name} is given without image.")
        return []
    images = open_pictures("image", request.image, count, copies)
    if request.mask_image is None:
        return [(picture, None) for picture in images]
    masks = open_pictures("mask_image", request.mask_image, count, copies)
    for picture, mask in zip(images, masks, strict=True):
        if picture.size != mask.size:
            raise InvalidInputError(
                f"mask_image is {mask.width}x{mask.height} pixels, but image is "
                f"{picture.width}x{picture.height}; they must agree."
            )
    return list(zip(images, masks, strict=True))


def image_pixels(
    bundle: Bundle, opened: "Sequence[tuple[Image, Image | None]]", shape: tuple[int, int, int]
) -> "Sequence[tuple[NDArray[np.uint8] | None, NDArray[np.bool_] | None]]":
    """Pixels of each image [H, W, 3] and its mask [H, W], of the size that the model takes."""
    factor = 1 if enlarges(bundle) else bundle.model.vae_scale_factor
    height, width = shape[1] * factor, shape[2] * factor
    return [
        (
            rgb_pixels(image, height, width),
            None if mask is None else mask_pixels(mask, height, width),
        )
        for image, mask in opened
    ]
