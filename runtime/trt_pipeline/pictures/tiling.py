"""Tiling: a function of latents applied piece by piece, so that memory does not grow with size."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

OVERLAP = 0.25
"""Part of a tile's side that it shares with the next one; there, one fades into the other."""

Decode = Callable[[NDArray[np.float32]], NDArray[np.uint8]]
"""Latents [B, C, h, w] to pixels [B, H, W, 3]."""


def decode_in_tiles(
    decode: Decode, latents: NDArray[np.float32], tile: int, factor: int
) -> NDArray[np.uint8]:
    """Decode latents [B, C, h, w] in tiles of at most tile × tile latents.

    factor: pixels per latent. A tile's pixels depend on its own latents only, so the picture
    differs slightly from one decoded at once.
    """
    batch, _, height, width = latents.shape
    if height <= tile and width <= tile:
        return decode(latents)
    pixels = np.zeros((batch, height * factor, width * factor, 3), np.float32)
    weights = np.zeros((height * factor, width * factor, 1), np.float32)
    for top in _starts(height, tile):
        for left in _starts(width, tile):
            piece = decode(np.ascontiguousarray(latents[..., top:, left:][..., :tile, :tile]))
            rows, columns = piece.shape[1:3]
            weight = (
                _ramp(rows, factor, tile)[:, None, None] * _ramp(columns, factor, tile)[:, None]
            )
            place = np.s_[
                top * factor : top * factor + rows, left * factor : left * factor + columns
            ]
            pixels[:, *place] += weight * piece
            weights[place] += weight
    return (pixels / weights).round().astype(np.uint8)


def _starts(size: int, tile: int) -> list[int]:
    """Where tiles begin so that neighbours overlap and the last one ends at the border."""
    last = max(0, size - tile)
    stride = tile - round(tile * OVERLAP)
    return [round(start) for start in np.linspace(0, last, 1 + math.ceil(last / stride)).tolist()]


def _ramp(pixels: int, factor: int, tile: int) -> NDArray[np.float32]:
    """Weights [pixels] that rise from a border over the overlap, and fall to the other one."""
    overlap = max(1, round(tile * OVERLAP)) * factor
    distance = np.minimum(np.arange(pixels), np.arange(pixels)[::-1]) + 0.5
    return np.minimum(distance / overlap, 1).astype(np.float32)
