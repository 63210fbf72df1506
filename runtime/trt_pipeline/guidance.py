"""Guidance as a matrix: which rows the denoiser sees, and how their predictions mix."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments

LIMIT = 1e6
"""Largest guidance_scale either way; far beyond any use, well within float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """How M denoiser rows become the noise predictions of B samples."""

    rows: NDArray[np.int32]
    """[M], the sample that each row denoises."""
    matrix: NDArray[np.float32]
    """[B, M], the weight of each row in each sample."""
    conditional: NDArray[np.bool_]
    """[M], whether a row sees its sample's prompt; the others see the empty text."""


def guide(batch: int, guidance_scale: float) -> Guidance:
    """Classifier-free guidance, arXiv:2207.12598: u + g·(c - u), the unconditional rows first.

    A scale of exactly 1 needs no unconditional rows. InvalidInputError beyond LIMIT.
    """
    scale = arguments.real("guidance_scale", guidance_scale, -LIMIT, LIMIT)
    samples = np.arange(batch, dtype=np.int32)
    identity = np.eye(batch, dtype=np.float32)
    if scale == 1:
        return Guidance(samples, identity, np.full(batch, True))
    return Guidance(
        rows=np.tile(samples, 2),
        matrix=np.hstack([(1 - scale) * identity, scale * identity]).astype(np.float32),
        conditional=np.repeat([False, True], batch),
    )
