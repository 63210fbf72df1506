"""Preview: the linear map from latents to colours that shows a picture before it is decoded."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

PICTURES = 64
SIDE = 8
"""Latents along a picture's side."""


@torch.no_grad()
def fit_preview(encode: Callable[[Tensor], Tensor], factor: int) -> list[list[float]]:
    """For each colour, a weight for every latent channel and an offset, which give -1..1.

    Least squares over smooth random pictures: each latent against the mean colour of its pixels.
    encode: pictures [B, 3, H, W] in -1..1 to latents. factor: pixels per latent.
    """
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(PICTURES, 3, SIDE // 2, SIDE // 2, generator=generator) * 2 - 1
    pictures = nn.functional.interpolate(colours, size=SIDE * factor, mode="bilinear")
    latents = encode(pictures)
    known = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    wanted = nn.functional.avg_pool2d(pictures, factor).permute(0, 2, 3, 1).reshape(-1, 3)
    columns = torch.cat([known, torch.ones(len(known), 1)], dim=1)
    solution = torch.linalg.lstsq(columns.double(), wanted.double(), driver="gelsd").solution
    rows: list[list[float]] = solution.T.tolist()
    return rows
