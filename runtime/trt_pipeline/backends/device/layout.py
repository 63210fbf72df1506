"""Layouts: where tensors lie in one block of memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

ALIGNMENT = 256
"""Bytes; what TensorRT asks of every address, and what cudaMalloc gives."""

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Shape and dtype of a tensor whose every size is known."""

    shape: Shape
    dtype: "np.dtype[Any]"

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Layout:
    """Tensors one after the other, each aligned."""

    tensors: Mapping[str, Tensor]
    offsets: Mapping[str, int]
    """Name → bytes from the start."""
    size: int
    """Bytes, a multiple of the alignment."""


def lay_out(tensors: Mapping[str, Tensor]) -> Layout:
    """Give each tensor its place, in the order given."""
    offsets: dict[str, int] = {}
    end = 0
    for name, tensor in tensors.items():
        offsets[name] = end
        end += aligned(tensor.size)
    return Layout(tensors, offsets, end)


def aligned(size: int) -> int:
    """The next multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT
