"""A denoiser's step as two of half the rows, which can run beside each other and add up.

A step is linear in the rows' predictions, as engines/README.md has it: what does not depend on them
is the first half's, the second adds its part of m0. Rows that guidance adds come first, so that a
guided step parts into all rows without and all with a prompt.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends.base import Tensors

BY_ROW = ("rows", "text_kv", "features")
"""Inputs and outputs with an entry for each row."""
PREDICTED = np.array([0, 1, 0, 1, 0, 0, 0, 0], np.float32)
"""Of the coefficients p, q, a, b0, b1, b2, b3, s those that the predictions are multiplied with."""


def halve(tensors: Tensors) -> tuple[Tensors, Tensors] | None:
    """The inputs of both halves; None for an odd number of rows, or a model without them."""
    rows = len(tensors.get("rows", ()))
    if rows == 0 or rows % 2:
        return None
    coefficients = tensors["coefficients"]
    return (
        _part(tensors, slice(None, rows // 2), coefficients),
        _part(tensors, slice(rows // 2, None), coefficients * PREDICTED),
    )


def join(
    first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The outputs of the whole step; changes those of the first half."""
    outputs = dict(first)
    outputs["next_latents"] += second["next_latents"]
    outputs["next_history"][0] += second["next_history"][0]
    if "features" in outputs:
        outputs["features"] = np.concatenate([first["features"], second["features"]])
    return outputs


def _part(tensors: Tensors, rows: slice, coefficients: NDArray[Any]) -> Tensors:
    cut = {name: tensors[name][rows] for name in BY_ROW if name in tensors}
    guidance = np.ascontiguousarray(tensors["guidance"][:, rows])
    return {**tensors, **cut, "guidance": guidance, "coefficients": coefficients}
