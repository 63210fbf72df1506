"""OpenVINO with 8-bit layers: the fastest on CPUs, and the farthest from float32's pictures.

Most of the denoiser's convolutions and linear layers multiply int8 numbers; the rest of it and the
other graphs are bfloat16 where the CPU has that, and float32 elsewhere.
"""

from trt_pipeline.backends import openvino, openvino_bf16
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import QUANTIZED_GRAPH, GraphPrecision
from trt_pipeline.errors import BackendError


def obstacle(bundle: Bundle | None = None) -> str | None:
    """Why this backend cannot run here, or not this bundle; None if it can."""
    return openvino.obstacle(bundle) or (_missing_graph(bundle) if bundle else None)


def open_backend(bundle: Bundle, threads: int | None) -> "OpenVinoInt8Backend":
    """Open the backend; MissingDependencyError without openvino, BackendError for a bundle that is
    not quantized."""
    if missing := _missing_graph(bundle):
        raise BackendError(f"backend openvino_int8: {missing}.")
    return OpenVinoInt8Backend(bundle, threads)


class OpenVinoInt8Backend(openvino.OpenVinoBackend):
    """As its base, with 8-bit arithmetic."""

    name = "openvino_int8"
    arithmetic = "int8"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """threads: for each graph; None is every CPU this process may use."""
        super().__init__(bundle, threads)
        self._rest = "f32" if openvino_bf16.missing_arithmetic(self._core) else "bf16"

    def hint(self, graph: str) -> str:
        """Of a graph's arithmetic apart from 8-bit layers."""
        return "f32" if graph == "time_embedding" else self._rest

    def source(self, graph: str) -> GraphPrecision:
        """Of the ONNX graph to read."""
        return "int8" if graph == QUANTIZED_GRAPH else self.precision


def _missing_graph(bundle: Bundle) -> str | None:
    if "int8" in bundle.graphs[QUANTIZED_GRAPH]:
        return None
    return (
        f"{bundle.path} is not quantized: export-all MODEL --out {bundle.path} --quantize does it"
    )
