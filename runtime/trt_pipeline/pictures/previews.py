"""Previews: latents as small pictures, without the decoder."""

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.errors import BundleError


def preview_pixels(
    latents: NDArray[np.float32], preview_map: tuple[tuple[float, ...], ...]
) -> NDArray[np.uint8]:
    """uint8 [B, h, w, 3] of latents [B, C, h, w], one pixel a latent.

    preview_map: for each colour, C weights and an offset, which give -1..1. BundleError if empty.
    """
    if not preview_map:
        raise BundleError("this bundle has no preview map. Export the checkpoint again.")
    weights = np.array(preview_map, np.float32)
    colours = np.einsum("bchw,kc->bhwk", latents, weights[:, :-1]) + weights[:, -1]
    pixels: NDArray[np.uint8] = ((colours + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    return pixels
