"""Comparison of a bundle's finished picture with the reference pipeline's.

Graphs are compared with diffusers' modules one by one, so that both can share a wrong assumption,
such as a scaling factor. The picture has them all in it, with tokenizer, sampler and schedule.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_export.networks.reference.pipeline import Drawing
from trt_export.onnx_graphs.parity import Parity
from trt_pipeline import Pipeline, TorchGenerator, trt_pipeline
from trt_pipeline.errors import ParityError

WITHIN = 0.999
"""Part of the colour values that must be as close as TOLERANCE; the others may be where rounding
tipped a code."""
TOLERANCE = 1
"""Of 255 levels."""


def check_picture(bundle: Path, reference: str, expected: Drawing) -> Parity:
    """Draw a bundle's pictures as the reference drew its own, until one agrees.

    ParityError if none does.
    """
    closest = float("inf")
    with trt_pipeline(bundle, backend="onnxruntime", verify="none") as pipeline:
        for seed, picture in enumerate(expected.pictures):
            found = _draw(pipeline, expected, seed, picture.shape)
            closest = min(closest, _difference(found, picture))
            if closest <= TOLERANCE:
                return Parity("picture", "fp32", "image", closest, TOLERANCE)
    raise ParityError(
        f"picture: the finished picture is not that of diffusers' {reference}: {WITHIN:.1%} of it "
        f"are within {closest:.0f}/255, but {TOLERANCE}/255 is allowed. "
        "Please report it with the checkpoint's name."
    )


def _draw(
    pipeline: Pipeline, expected: Drawing, seed: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    arguments: dict[str, Any] = {**expected.settings, **expected.images}
    if [*expected.images] != ["image"]:  # which has its own size
        arguments |= {"height": shape[0], "width": shape[1]}
    drawn = pipeline(
        **arguments,
        generator=TorchGenerator(seed),
        output_type="np",
        progress_bar=False,
    )
    found: NDArray[np.float32] = np.asarray(drawn.images)[0]
    return found


def _difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """What WITHIN of the colour values differ by at most, in levels of 255; infinite for pictures
    of another size, and NaN is infinite too."""
    if found.shape != expected.shape or not np.isfinite(expected).all():
        return float("inf")
    levels = np.abs(np.rint(found * 255) - np.rint(expected * 255))
    return float(np.quantile(levels, WITHIN, method="higher"))
