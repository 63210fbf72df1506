"""What CLIPImageProcessor makes of a picture, as a module: resized, cropped and normalised.

Pillow resizes with the cubic convolution of a = -0.5 (Keys 1981), stretched over the pixels that
become one, along rows and then along columns, and rounds to whole levels after each. Since release
13 it begins with columns where they lose more than twice as many pixels as rows do.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

REACH = 2.0
"""How far the kernel reaches, in pixels of the smaller picture."""


class CLIPPictures(nn.Module):
    """image uint8 [B, H, W, 3] → [B, 3, side, side]: the shorter edge resized to `edge`, the middle
    of `side` by `side` pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, edge: int, side: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.edge = edge
        self.side = side
        for name, values in (("mean", mean), ("std", std)):
            tensor = torch.tensor(values, dtype=torch.float32)[:, None, None]
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.float().permute(0, 3, 1, 2)  # TensorRT transposes no uint8
        height, width = _size(image, 1), _size(image, 2)
        shorter = torch.minimum(height, width)
        rows = self._weights(height, shorter, torch.arange(image.shape[1]))
        columns = self._weights(width, shorter, torch.arange(image.shape[2]))
        lost_height, lost_width = (one - self._resized(one, shorter) for one in (height, width))
        small = torch.where(
            (lost_height > 0) & (lost_height > 2 * lost_width),
            _levels(_levels(rows @ pixels) @ columns.T),
            _levels(rows @ _levels(pixels @ columns.T)),
        )
        return (small / 255 - self.mean) / self.std

    def _resized(self, size: Tensor, shorter: Tensor) -> Tensor:
        return torch.floor(self.edge * size / shorter)

    def _weights(self, size: Tensor, shorter: Tensor, places: Tensor) -> Tensor:
        """[side, size]: what each pixel counts for each one of the middle of the resized edge."""
        resized = self._resized(size, shorter)
        first = torch.floor((resized - self.side) / 2)
        centres = 2 * (torch.arange(self.side) + first) + 1
        # Whole numbers below 2^24, so that no digit is lost: the distance times twice `resized`.
        distances = (2 * places[None] + 1) * resized - centres[:, None] * size
        weights = _cubic(distances / (2 * torch.maximum(size, resized)))
        return weights / weights.sum(dim=1, keepdim=True)


def _size(image: Tensor, axis: int) -> Tensor:
    return torch.full((1,), image.shape[axis], dtype=torch.float32)


def _levels(pixels: Tensor) -> Tensor:
    return torch.clamp(torch.floor(pixels + 0.5), 0, 255)


def _cubic(distance: Tensor) -> Tensor:
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < REACH, far, torch.zeros_like(x)))
