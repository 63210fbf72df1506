"""Finishing: what follows the decoder, timed alike for every candidate."""

import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from trt_pipeline.bench.candidate import Parts

if TYPE_CHECKING:
    from PIL.Image import Image


def finishing_parts(copy: "Callable[[], list[Image]]") -> Parts:
    """Seconds that it takes to copy pixels into Pillow images, and to write these as PNGs."""
    started = time.perf_counter()
    images = copy()
    copied = time.perf_counter()
    for image in images:
        image.save(io.BytesIO(), "PNG")
    return {"copy": [copied - started], "png": [time.perf_counter() - copied]}
