"""Numbers of tensors from files of strangers."""

from pathlib import Path

import torch
from torch import Tensor

from trt_pipeline.errors import CheckpointError

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Of weights that are exported."""


def as_float32(weight: Tensor, name: str, path: Path) -> Tensor:
    """A weight's numbers; CheckpointError if they are not floating-point, or not finite."""
    _check_stored(weight, name, path)
    numbers = weight.float()
    if not bool(numbers.isfinite().all()):
        raise CheckpointError(f"{path}: {name} holds NaN or infinite numbers.")
    return numbers


def _check_stored(weight: Tensor, name: str, path: Path) -> None:
    """A pickle may claim that a tensor of millions has one number in the file, or none."""
    if weight.dtype not in DTYPES or weight.device.type != "cpu" or weight.layout != torch.strided:
        raise CheckpointError(
            f"{path}: {name} is a {weight.layout} tensor of {weight.dtype} on {weight.device}, "
            "expected plain floating-point numbers."
        )
    if weight.nbytes > weight.untyped_storage().nbytes():
        raise CheckpointError(f"{path}: {name} has fewer numbers in the file than its shape.")
