"""What a device offers: memory, one stream of work, and recordings of that work."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import DTypeLike, NDArray


class Block(Protocol):
    """Device memory at a fixed address; freed with the object."""

    address: int

    def write(self, offset: int, array: NDArray[Any]) -> None:
        """Copy an array to the device, in the order of the stream; it may change at once after."""

    def read(self, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Wait for the stream, and copy an array from the device; the caller owns it."""

    def move(self, to: int, start: int, size: int) -> None:
        """Copy bytes within the block, in the order of the stream."""


class Device(Protocol):
    """One device and the stream that everything here runs on."""

    kind: str
    """As ONNX Runtime names it, such as cuda."""
    description: str
    stream: int
    """Its handle; 0 where there are no streams."""

    def use(self, what: str) -> AbstractContextManager[None]:
        """Have the device to oneself; failures inside become BackendError and name `what`."""

    def block(self, size: int) -> Block:
        """Allocate bytes, aligned for every dtype."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` enqueues, without running it; the answer runs it all at once.

        RuntimeError if the device or the work refuses.
        """
