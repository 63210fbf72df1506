"""Tensors from files of strangers, without running code from them."""

import pickle
import re
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from trt_pipeline.errors import CheckpointError

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Of weights that are exported."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a weight file; CheckpointError if that is not possible.

    Of a Lightning checkpoint, the weights are its "state_dict".
    """
    state = read_content(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(f"{path} does not hold a table of tensors. Download it again.")
    return state


def read_content(path: Path) -> Any:
    """What a file of tensors holds, without running code from it; CheckpointError if that is not
    possible."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        mmap = zipfile.is_zipfile(path)  # files from before torch 1.6 cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a file of tensors, or loading it could run code; refused "
            f"({_refused_part(error)}). Convert it to safetensors where you trust it."
        ) from None
    except Exception as error:  # damaged pickles end in errors of every kind
        raise CheckpointError(
            f"{path} is damaged or incomplete ({first_line(error)}). Download it again."
        ) from None


def tensor_shapes(path: Path) -> dict[str, torch.Size]:
    """Name → shape of every tensor in a file, without reading more of it than must be."""
    if path.suffix != ".safetensors":
        return {name: tensor.shape for name, tensor in read_weights(path).items()}
    with _opened(path) as file:
        return {name: torch.Size(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def read_some(path: Path, names: Collection[str]) -> dict[str, Tensor]:
    """The tensors of these names in a file."""
    if path.suffix != ".safetensors":
        state = read_weights(path)
        return {name: state[name] for name in names}
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in names}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is damaged or incomplete ({first_line(error)}). Download it again."
        ) from None


def first_line(error: Exception) -> str:
    """Of an error's text, or its class's name."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _refused_part(error: Exception) -> str:
    """What torch did not take, without its advice to load the file all the same."""
    found = re.search(r"GLOBAL [\w.]+|Unsupported [^.\n]{1,80}", str(error))
    return found[0] if found else type(error).__name__


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
