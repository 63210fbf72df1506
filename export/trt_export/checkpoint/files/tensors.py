"""Files of tensors: their content, and the shapes in it, without ever running code from a file."""

import pickle
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from safetensors import SafetensorError, safe_open

from trt_pipeline.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Tensor → its shape."""


def read_weights(path: Path) -> "dict[str, Tensor]":
    """Read a weight file; CheckpointError if that is not possible.

    Of a Lightning checkpoint, the weights are its "state_dict".
    """
    from torch import Tensor

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
    # Imported here: an export that has nothing to do must not wait for torch.
    import torch
    from safetensors.torch import load_file

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


def read_some(path: Path, names: Collection[str]) -> "dict[str, Tensor]":
    """The tensors of these names; CheckpointError if the file cannot be read."""
    if path.suffix != ".safetensors":
        state = read_weights(path)
        return {name: state[name] for name in names}
    with opened(path, "pt") as file:
        return {name: file.get_tensor(name) for name in names}


def first_line(error: Exception) -> str:
    """What an error says first."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _refused_part(error: Exception) -> str:
    """What torch did not take, without its advice to load the file all the same."""
    found = re.search(r"GLOBAL [\w.]+|Unsupported [^.\n]{1,80}", str(error))
    return found[0] if found else type(error).__name__


def read_shapes(path: Path) -> Shapes:
    """The shapes of a file's tensors; CheckpointError if it cannot be read.

    A safetensors file says them in its header. Of a pickle, numbers are mapped and not read.
    """
    if path.suffix != ".safetensors":
        return {name: tuple(tensor.shape) for name, tensor in read_weights(path).items()}
    with opened(path) as file:
        names = file.keys()
        return {name: tuple(file.get_slice(name).get_shape()) for name in names}


def read_headers(path: Path) -> "dict[str, Tensor]":
    """The same on the meta device: shapes without numbers."""
    import torch

    shapes = read_shapes(path).items()
    return {name: torch.empty(shape, device="meta") for name, shape in shapes}


def read_metadata(path: Path) -> Mapping[str, str]:
    """What the header of a safetensors file says besides; nothing of a pickle."""
    if path.suffix != ".safetensors":
        return {}
    with opened(path) as file:
        return file.metadata() or {}


def opened(path: Path, framework: str = "numpy") -> safe_open:
    """A safetensors file whose header fits its size; CheckpointError for another."""
    try:
        return safe_open(path, framework)  # compares its header with its size
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is damaged or incomplete ({error}). Download it again."
        ) from None
