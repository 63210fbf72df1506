"""A CUDA device through CuPy. CUDA is first touched when a CudaDevice is made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from trt_pipeline.backends.device.failures import device_error
from trt_pipeline.errors import BackendError, MissingDependencyError

INSTALL = 'pip install "trt-pipeline[cuda]"'

BUSY = RLock()
"""Held by whoever uses a GPU: capture fails if another thread allocates meanwhile, and what runs
beside each other on one GPU is no faster."""


class CudaDevice:
    """The current GPU, with a stream and a memory pool of its own."""

    kind = "cuda"

    def __init__(self) -> None:
        """MissingDependencyError without CuPy, DeviceUnavailableError without a usable GPU."""
        self._cupy = _import_cupy()
        try:
            self._stream = self._cupy.cuda.Stream(non_blocking=True)
            self._pool = self._cupy.cuda.MemoryPool()
            properties = self._cupy.cuda.runtime.getDeviceProperties(self._stream.device_id)
        except RuntimeError as error:
            raise device_error("CUDA", error) from error
        self.stream = int(self._stream.ptr)
        self.description = f"{properties['name'].decode()}, CUDA"

    @contextmanager
    def use(self, what: str) -> Iterator[None]:
        """Have the GPU to oneself; failures inside become BackendError and name `what`."""
        with BUSY, self._stream, self._cupy.cuda.using_allocator(self._pool.malloc):
            try:
                yield
            except (RuntimeError, MemoryError) as error:
                raise device_error(what, error) from error

    def block(self, size: int) -> "CudaBlock":
        """Allocate bytes; cudaMalloc aligns them to 256."""
        return CudaBlock(self._cupy, self._stream, self._cupy.cuda.alloc(max(size, 1)))

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """One CUDA graph of what `work` enqueues; RuntimeError if something may not be captured."""
        runtime = self._cupy.cuda.runtime
        self._stream.begin_capture(mode=runtime.streamCaptureModeThreadLocal)
        try:
            work()
        except BaseException:
            self._abandon_capture()
            raise
        graph = self._stream.end_capture()
        graph.upload(self._stream)
        return lambda: graph.launch(self._stream)

    def _abandon_capture(self) -> None:
        try:
            self._stream.end_capture()
        except RuntimeError:  # the capture was invalidated, which ends it as well
            return


class CudaBlock:
    """Memory of the pool, used in the order of one stream."""

    def __init__(self, cupy: Any, stream: Any, memory: Any) -> None:
        self._cupy = cupy
        self._stream = stream
        self._memory = memory
        self.address = int(memory.ptr)

    def write(self, offset: int, array: NDArray[Any]) -> None:
        """Copy an array to the GPU. CUDA stages pageable memory before it returns."""
        source = np.ascontiguousarray(array)
        self._view(offset, source.shape, source.dtype).set(source, stream=self._stream)

    def read(self, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Wait for the stream, and copy into pinned memory, which the caller owns."""
        pinned: NDArray[Any] = import_module("cupyx").empty_pinned(shape, dtype)
        self._view(offset, shape, dtype).get(stream=self._stream, out=pinned, blocking=True)
        return pinned

    def move(self, to: int, start: int, size: int) -> None:
        """Copy bytes within the block."""
        source = self._memory + start
        (self._memory + to).copy_from_device_async(source, size, self._stream)

    def _view(self, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        return self._cupy.ndarray(shape, dtype, self._memory + offset)


def _import_cupy() -> Any:
    try:
        return import_module("cupy")
    except ImportError:
        raise MissingDependencyError(
            f"GPU backends need the cupy package. Install it with: {INSTALL}"
        ) from None
    except RuntimeError as error:  # CuPy finds no CUDA libraries
        raise BackendError(f"cupy could not be loaded: {error}") from error
