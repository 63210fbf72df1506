"""Images in: the pictures and masks that a request begins with, changes or enlarges."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.capabilities import changes_images, enlarges, sees_masks
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.image_inputs import mask_pixels, open_pictures, rgb_pixels
from trt_pipeline.pipelines.request import Request
from trt_pipeline.settings import SETTINGS

if TYPE_CHECKING:
    from PIL.Image import Image


def check_images(bundle: Bundle, request: Request) -> None:
    """InvalidInputError for images that a model needs, or settings that need them."""
    if changes_images(bundle) and request.image is None:
        raise InvalidInputError("image is missing; this model changes one as the prompt says.")
    for name in ("image", "mask_image") if sees_masks(bundle) else ():
        if getattr(request, name) is None:
            raise InvalidInputError(f"{name} is missing; this model paints a part of image again.")
    for name in ("mask_image", "strength"):
        if request.image is None and getattr(request, name) is not None:
            raise InvalidInputError(f"{name} is given without image.")
    if request.mask_image is None and request.overlay not in (None, SETTINGS["overlay"].default):
        raise InvalidInputError("overlay is given without mask_image.")


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
    """Each picture's image and its mask; none if there is no image. Pictures share an object that
    was given for all of them."""
    if request.image is None:
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
    """Pixels of each image [H, W, 3] and its mask [H, W], of the size that the model takes.

    Pictures with one image share its array, and likewise with a mask.
    """
    factor = 1 if enlarges(bundle) else bundle.model.vae_scale_factor
    height, width = shape[1] * factor, shape[2] * factor
    images = {id(image): image for image, _ in opened}
    masks = {id(mask): mask for _, mask in opened if mask is not None}
    pixels = {key: rgb_pixels(image, height, width) for key, image in images.items()}
    repainted = {key: mask_pixels(mask, height, width) for key, mask in masks.items()}
    return [(pixels[id(image)], repainted.get(id(mask))) for image, mask in opened]
