"""A denoiser's step in parts, which predict the noise of some rows each and can run side by side.

Guidance and the sampler's update, as docs/reference/bundle-format.md has them, follow here for all
rows at once, so that the bits of a picture depend neither on the parts nor on what shares its
batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends.base import Tensors

MAX_PARTS = 2
"""In which the rows of a step run side by side, where there are as many threads: only half the
threads wait for each other after every layer, which takes a fifth off a small model's step."""
BY_ROW = ("context_kv", "time_embeds", "condition", "features")
"""Inputs of the denoiser that each row has its own of."""
PREDICTION = np.array([0, 1, 0, 0, 0, 0, 0, 0], np.float32)
"""Coefficients p, q, a, b0, … with which a step's m0 is the predicted noise itself."""


def part_count(rows: int, threads: int) -> int:
    """In how many parts this many threads take a step."""
    return min(MAX_PARTS, threads, rows)


def part_size(rows: int, count: int) -> int:
    """Rows of a part."""
    return -(-rows // count)


def row_parts(tensors: Tensors, count: int, size: int | None = None) -> list[Tensors]:
    """The inputs of calls for equally many rows each; the last row is repeated to fill them up.

    A row is a sample of its own there. What prediction_inputs gives belongs to them.
    size: rows of a part, at least as many as part_size gives, which None takes.
    """
    rows = len(tensors["rows"])
    size = size or part_size(rows, count)
    return [_part(tensors, _numbers(at, size, rows)) for at in range(0, size * count, size)]


def prediction_inputs(latents: tuple[int, ...]) -> Tensors:
    """The other inputs of a part with latents of this shape, which let the denoiser give its
    prediction as m0."""
    count = latents[0]
    return {
        "history": np.zeros((3, *latents), np.float32),
        "noise": np.zeros(latents, np.float32),
        "coefficients": np.tile(PREDICTION, (count, 1)),
        "rows": np.arange(count, dtype=np.int32),
        "guidance": np.eye(count, dtype=np.float32),
    }


@np.errstate(over="ignore", invalid="ignore")  # the pipeline refuses latents that overflowed
def step_of(
    tensors: Tensors, outputs: Sequence[Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """The outputs of the whole step from those of its parts."""
    count = len(tensors["rows"])
    predictions = np.concatenate([part["next_history"][0] for part in outputs])[:count]
    columns = tensors["guidance"].T[:, :, None, None, None]
    mixed = np.zeros_like(tensors["latents"])
    for column, prediction in zip(columns, predictions, strict=True):
        mixed += column * prediction
    p, q, a, b0, b1, b2, b3, s = tensors["coefficients"].T[:, :, None, None, None]
    latents, (m1, m2, m3) = tensors["latents"], tensors["history"]
    m0 = p * latents + q * mixed
    update = a * latents + b0 * m0 + b1 * m1 + b2 * m2 + b3 * m3 + s * tensors["noise"]
    made = {"next_latents": update, "next_history": np.stack([m0, m1, m2])}
    if "features" in outputs[0]:
        made["features"] = np.concatenate([part["features"] for part in outputs])[:count]
    return made


def _numbers(start: int, size: int, rows: int) -> slice | NDArray[np.intp]:
    """Of the rows of a part; a slice, which copies nothing, where there are enough."""
    if start + size <= rows:
        return slice(start, start + size)
    return np.minimum(np.arange(start, start + size), rows - 1)


def _part(tensors: Tensors, numbers: slice | NDArray[np.intp]) -> Tensors:
    samples = tensors["rows"][numbers]
    by_row = {name: tensors[name][numbers] for name in BY_ROW if name in tensors}
    return {**by_row, "latents": tensors["latents"][samples]}
