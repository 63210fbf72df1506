"""Programs: opened graphs, before and after their tensors have addresses."""

from collections.abc import Mapping
from typing import Protocol

from trt_pipeline.backends.device.layout import Tensor


class Executor(Protocol):
    """A graph for one set of shapes."""

    moves: bool
    """Whether addresses may change between two runs at no cost."""

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Say where every input and output lies from now on."""

    def enqueue(self) -> None:
        """Run on the device's stream, without waiting for it. RuntimeError if that fails."""

    def obstacle_to_recording(self) -> str | None:
        """Why enqueue may not be recorded, or None if it may."""


class Program(Protocol):
    """An opened graph."""

    def executor(self, tensors: Mapping[str, Tensor]) -> Executor:
        """Prepare for these inputs and outputs. InvalidInputError for shapes it does not take."""
