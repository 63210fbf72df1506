"""ONNX Runtime on an NVIDIA GPU, with the CUDA execution provider."""

import logging
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from trt_pipeline.backends.device.backend import DeviceBackend
from trt_pipeline.backends.device.cuda import INSTALL, CudaDevice
from trt_pipeline.backends.device.memory import Device
from trt_pipeline.backends.device.onnxruntime import (
    OnnxRuntimeProgram,
    Providers,
    open_session,
)
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.onnx_files import onnx_file
from trt_pipeline.errors import BackendError, DeviceUnavailableError, MissingDependencyError
from trt_pipeline.machine import gpu_obstacle, missing_gpu

logger = logging.getLogger(__name__)

PROVIDER = "CUDAExecutionProvider"

OPTIONS: Mapping[str, str] = {
    "arena_extend_strategy": "kSameAsRequested",  # doubling would take twice the weights
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "enable_cuda_graph": "1",
    "use_tf32": "0",  # what is float32 in a graph is so on purpose
}
"""https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html"""


def obstacle(bundle: Bundle | None = None) -> str | None:
    """Why this backend cannot run here, or None if it can."""
    return gpu_obstacle() or provider_obstacle(PROVIDER)


def provider_obstacle(provider: str) -> str | None:
    """Why ONNX Runtime lacks the provider here; None if it has it."""
    try:
        import onnxruntime
    except ImportError:
        return f"install onnxruntime-gpu with: {INSTALL}"
    if provider not in onnxruntime.get_available_providers():
        return f"the onnxruntime installed here is without {provider}; install onnxruntime-gpu"
    return None


def refuse(backend: str, problem: str | None) -> None:
    """DeviceUnavailableError without a GPU, MissingDependencyError for any other obstacle."""
    if problem:
        kind = DeviceUnavailableError if missing_gpu() else MissingDependencyError
        raise kind(f"backend {backend} cannot run here: {problem}.")


def open_backend(bundle: Bundle, threads: int | None) -> "OnnxRuntimeCudaBackend":
    """Open the backend on the current GPU; threads are for CPUs, and mean nothing here."""
    refuse("onnxruntime_cuda", obstacle(bundle))
    return OnnxRuntimeCudaBackend(bundle, CudaDevice())


class OnnxRuntimeCudaBackend(DeviceBackend):
    """One session a graph; all of them on one stream."""

    name = "onnxruntime_cuda"

    def __init__(
        self, bundle: Bundle, device: Device, options: Mapping[str, str] | None = None
    ) -> None:
        """options: of the CUDA provider, over this module's."""
        super().__init__(bundle, device)
        import onnxruntime

        self._runtime: Any = onnxruntime
        with redirect_stdout(sys.stderr):  # where it prints what it does not find
            onnxruntime.preload_dlls()  # CUDA and cuDNN lie in packages that no linker searches
        self._options = {**OPTIONS, **(options or {})}

    def providers(self, graph: str) -> Providers:
        """What runs the nodes of a graph, first choice first."""
        del graph
        stream = {"user_compute_stream": str(self._device.stream)}
        return [(PROVIDER, {**self._options, **stream})]

    def open_program(self, name: str) -> OnnxRuntimeProgram:
        """A session over the graph's file, with CUDA graphs unless ONNX Runtime refuses them."""
        path = onnx_file(self.bundle, name, self.precision)
        providers = self.providers(name)
        try:
            session = open_session(self._runtime, path, providers, name)
        except MissingDependencyError:
            raise
        except BackendError as error:
            session = self._without_capture(path, providers, error)
        return OnnxRuntimeProgram(name, session, self._device, self._runtime)

    def _without_capture(self, path: Path, providers: Providers, error: BackendError) -> Any:
        if "graph capture" not in str(error):
            raise error
        logger.info("%s runs without a CUDA graph: %s", path.name, error)
        plain = [(name, {**options, "enable_cuda_graph": "0"}) for name, options in providers]
        return open_session(self._runtime, path, plain, path.name)
