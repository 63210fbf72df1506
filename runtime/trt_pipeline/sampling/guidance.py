"""Guidance as a matrix: which rows the denoiser sees, and how their predictions mix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pipelines.prompts import Mixture

LIMIT = 1e6
"""Largest guidance_scale either way; far beyond any use, well within float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """How M denoiser rows become the noise predictions of B samples."""

    rows: NDArray[np.int32]
    """[M], the sample that each row denoises."""
    matrix: NDArray[np.float32]
    """[B, M], the weight of each row in each sample."""
    texts: tuple[str, ...]
    """[M], the text that each row sees."""


def guide(
    mixtures: Sequence[Mixture], negatives: Sequence[str], scales: Sequence[float]
) -> Guidance:
    """Classifier-free guidance, arXiv:2207.12598: u + g·(c - u), the unconditional rows first.

    u sees a sample's negative prompt; c is the weighted sum of what its prompts give. A scale of
    exactly 1 needs no unconditional row.
    """
    unconditional = [
        (sample, negatives[sample], 1 - scale) for sample, scale in enumerate(scales) if scale != 1
    ]
    conditional = [
        (sample, text, scale * weight)
        for sample, scale in enumerate(scales)
        for text, weight in mixtures[sample]
    ]
    samples, texts, weights = zip(*unconditional, *conditional, strict=True)
    rows = np.array(samples, np.int32)
    matrix = np.zeros((len(mixtures), len(rows)), np.float32)
    matrix[rows, np.arange(len(rows))] = weights
    return Guidance(rows, matrix, texts)


def guidance_scales(guidance_scale: object, count: int, copies: int = 1) -> list[float]:
    """One scale for each of `count` pictures, of a number or a list of them.

    copies: pictures of each prompt, for a list with one a prompt.
    """
    if not arguments.is_list(guidance_scale):
        return [arguments.real("guidance_scale", guidance_scale, -LIMIT, LIMIT)] * count
    scales = [arguments.real("guidance_scale", scale, -LIMIT, LIMIT) for scale in guidance_scale]
    return arguments.per_picture("guidance_scale", scales, count, copies)


def guided_steps(guidance_interval: object, steps: int) -> list[bool]:
    """Whether each step is guided: step i of N is, if start <= i / N < stop (arXiv:2404.07724)."""
    if not arguments.is_list(guidance_interval) or len(guidance_interval) != 2:
        raise InvalidInputError(
            "guidance_interval must be (start, stop) within 0..1, "
            f"got {arguments.quoted(guidance_interval)}."
        )
    start, stop = (arguments.real("guidance_interval", end, 0, 1) for end in guidance_interval)
    if start > stop:
        raise InvalidInputError(
            f"guidance_interval must stop after it starts, got {start:g} to {stop:g}."
        )
    return [start <= step / steps < stop for step in range(steps)]
