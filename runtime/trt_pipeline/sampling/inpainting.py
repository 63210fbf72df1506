"""Inpainting: what stays of a picture while the rest is repainted, and the seam between them."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Mask: TypeAlias = NDArray[np.bool_]
Float32s: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class KnownLatents:
    """The part of a sample's latents that a step must not change."""

    latents: Float32s
    """[C, h, w], of the given picture, without noise."""
    noise: Float32s
    """[C, h, w], the noise that denoising began with."""
    kept: Mask
    """[1, h, w], where the given picture stays."""

    def restore(self, latents: Float32s, alpha: np.float32) -> Float32s:
        """The latents [C, h, w] with the known part at noise level ᾱ; 1 is without noise.

        RePaint, arXiv:2201.09865, eq. 8, with one noise for all steps, as diffusers has it.
        """
        return np.where(self.kept, noised(self.latents, self.noise, alpha), latents)


def noised(latents: Float32s, noise: Float32s, alpha: np.float32) -> Float32s:
    """√ᾱ·latents + √(1-ᾱ)·noise."""
    mixed: Float32s = np.sqrt(alpha) * latents + np.sqrt(1 - alpha) * noise
    return mixed


def kept_latents(repainted: Mask, factor: int) -> Mask:
    """[1, h, w]: latents stay where the first of their pixels [H, W] does, as in diffusers, whose
    masks are resized to the nearest pixel."""
    return ~repainted[None, ::factor, ::factor]


def untouched_latents(repainted: Mask, factor: int) -> Mask:
    """[1, h, w]: latents stay only where none of their pixels [H, W] is repainted."""
    height, width = repainted.shape
    cells = repainted.reshape(height // factor, factor, width // factor, factor)
    kept: Mask = ~np.any(cells, axis=(1, 3))
    return kept[None]


def paste(
    painted: NDArray[np.uint8], given: NDArray[np.uint8], repainted: Mask
) -> NDArray[np.uint8]:
    """Both pictures [H, W, 3] as one: given pixels stay exactly, painted ones meet them.

    The difference of the two along the border is spread smoothly over the painted part and taken
    off it, as in seamless cloning (Pérez et al. 2003).
    """
    if repainted.all():
        return painted
    merged = given.copy()
    if repainted.any():
        smooth = _spread(given.astype(np.float32) - painted, ~repainted)
        merged[repainted] = (painted + smooth).round().clip(0, 255).astype(np.uint8)[repainted]
    return merged


def _spread(values: Float32s, known: Mask) -> Float32s:
    """values [H, W, 3] where known, elsewhere a smooth continuation: pull-push over a pyramid."""
    if known.all() or min(known.shape) == 1:
        mean = values[known].mean(axis=0) if known.any() else np.zeros(3, np.float32)
        return np.where(known[..., None], values, mean)
    coarse, coarsely_known = _halved(values, known)
    filled = _doubled(_spread(coarse, coarsely_known), known.shape)
    return np.where(known[..., None], values, filled)


def _halved(values: Float32s, known: Mask) -> tuple[Float32s, Mask]:
    """Means of the known values in blocks of 2 × 2."""
    height, width = (size + size % 2 for size in known.shape)
    padding = ((0, height - known.shape[0]), (0, width - known.shape[1]))
    weights = np.pad(known.astype(np.float32), padding)[..., None]
    weighted = np.pad(values * known[..., None], (*padding, (0, 0)))

    def blocks(array: Float32s) -> Float32s:
        sums: Float32s = array.reshape(height // 2, 2, width // 2, 2, -1).sum(axis=(1, 3))
        return sums

    total = blocks(weights)
    means = blocks(weighted) / np.maximum(total, 1)
    return means.astype(np.float32), total[..., 0] > 0


def _doubled(values: Float32s, shape: tuple[int, ...]) -> Float32s:
    """Twice the height and width, interpolated linearly, cut to a shape [H, W]."""
    for axis in (0, 1):
        before = np.take(values, [0, *range(values.shape[axis] - 1)], axis)
        after = np.take(values, [*range(1, values.shape[axis]), values.shape[axis] - 1], axis)
        pairs = np.stack([0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after], axis + 1)
        doubled = list(values.shape)
        doubled[axis] *= 2
        values = pairs.reshape(doubled)
    return values[: shape[0], : shape[1]]
