"""OpenVINO on CPUs with bfloat16 arithmetic: faster than float32, and close to its pictures.

Convolutions, matrix products and what comes before them are bfloat16. Inputs, outputs, the
sampler's update and the time embedding are float32: bfloat16 cannot tell timestep 981 from 980.
"""

from typing import Any

from trt_pipeline.backends import openvino
from trt_pipeline.bundle import Bundle
from trt_pipeline.errors import BackendError


def obstacle(bundle: Bundle | None = None) -> str | None:
    """Why this backend cannot run here, or None if it can."""
    return openvino.obstacle(bundle) or missing_arithmetic(openvino.import_openvino().Core())


def open_backend(bundle: Bundle, threads: int | None) -> "OpenVinoBf16Backend":
    """Open the backend; MissingDependencyError without openvino, BackendError on other CPUs."""
    if missing := missing_arithmetic(openvino.import_openvino().Core()):
        raise BackendError(f"backend openvino_bf16: {missing}; take backend openvino.")
    return OpenVinoBf16Backend(bundle, threads)


class OpenVinoBf16Backend(openvino.OpenVinoBackend):
    """As its base, with bfloat16 arithmetic."""

    name = "openvino_bf16"
    arithmetic = "bf16"

    def hint(self, graph: str) -> str:
        """Of a graph's arithmetic."""
        return "f32" if graph == "time_embedding" else "bf16"


def missing_arithmetic(core: Any) -> str | None:
    """Why an OpenVINO core has no bfloat16 here; None if it has."""
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return None if "BF16" in able else "this CPU has no bfloat16 arithmetic (AVX512_BF16 or AMX)"
