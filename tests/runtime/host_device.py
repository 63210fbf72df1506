"""The CPU as a device: the GPU backends' own code runs on it, with real addresses.

ONNX Runtime binds host memory just as it binds a GPU's, so everything but CUDA itself is tested.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from trt_pipeline.backends.device.failures import device_error
from trt_pipeline.backends.device.onnxruntime import Providers
from trt_pipeline.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend
from trt_pipeline.bundle import Bundle


class HostBlock:
    def __init__(self, size: int) -> None:
        self._bytes = np.full(size, 0xAB, np.uint8)  # so that memory nobody wrote to shows
        self.address = int(self._bytes.ctypes.data)

    def write(self, offset: int, array: NDArray[Any]) -> None:
        source = np.ascontiguousarray(array)
        self._bytes[offset : offset + source.nbytes] = source.reshape(-1).view(np.uint8)

    def read(self, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._bytes[offset : offset + size].view(dtype).reshape(shape).copy()

    def move(self, to: int, start: int, size: int) -> None:
        self._bytes[to : to + size] = self._bytes[start : start + size]


class HostDevice:
    kind = "cpu"
    description = "CPU as a device"
    stream = 0

    def __init__(self) -> None:
        self._busy = RLock()

    @contextmanager
    def use(self, what: str) -> Iterator[None]:
        with self._busy:
            try:
                yield
            except (RuntimeError, MemoryError) as error:
                raise device_error(what, error) from error

    def block(self, size: int) -> HostBlock:
        return HostBlock(size)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        return work


class HostBackend(OnnxRuntimeCudaBackend):
    """The backend of the CUDA provider, with the CPU's provider instead."""

    name = "host"

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, HostDevice())

    def providers(self, graph: str) -> Providers:
        return [("CPUExecutionProvider", {})]
