"""ONNX Runtime's TensorRT execution provider: builds its engines on the first run of each graph."""

from trt_pipeline.backends.device.cuda import CudaDevice
from trt_pipeline.backends.device.onnxruntime import Providers
from trt_pipeline.backends.onnxruntime_cuda import (
    OnnxRuntimeCudaBackend,
    provider_obstacle,
    refuse,
)
from trt_pipeline.bundle import Bundle
from trt_pipeline.machine import cache_folder, gpu_obstacle

PROVIDER = "TensorrtExecutionProvider"


def obstacle(bundle: Bundle | None = None) -> str | None:
    """Why this backend cannot run here, or None if it can."""
    return gpu_obstacle() or provider_obstacle(PROVIDER)


def open_backend(bundle: Bundle, threads: int | None) -> "OnnxRuntimeTensorrtBackend":
    """Open the backend on the current GPU; threads are for CPUs, and mean nothing here."""
    refuse("onnxruntime_tensorrt", obstacle(bundle))
    return OnnxRuntimeTensorrtBackend(bundle, CudaDevice())


class OnnxRuntimeTensorrtBackend(OnnxRuntimeCudaBackend):
    """TensorRT where it takes a node, CUDA for the rest."""

    name = "onnxruntime_tensorrt"

    def providers(self, graph: str) -> Providers:
        """TensorRT first. Its engines are kept, since building them takes minutes."""
        cache = cache_folder() / PROVIDER
        cache.mkdir(parents=True, exist_ok=True)
        folder = str(cache)
        options = {
            "trt_cuda_graph_enable": "1",
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": folder,
            "trt_fp16_enable": "1" if "fp16" in self.bundle.graphs.get(graph, ()) else "0",
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": folder,
            "user_compute_stream": str(self._device.stream),
        }
        # Only TensorRT captures: with both, each would take the other's nodes into its graph.
        others = [
            (name, {**given, "enable_cuda_graph": "0"}) for name, given in super().providers(graph)
        ]
        return [(PROVIDER, options), *others]
