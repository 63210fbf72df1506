"""OpenVINO on CPUs with bfloat16 arithmetic: faster than float32, and close to its pictures.

Only convolutions, matrix products and what lies between them are bfloat16. Inputs, outputs and the
sampler's update stay float32.
"""

from typing import Any

from trt_pipeline.backends import openvino
from trt_pipeline.bundle import Bundle
from trt_pipeline.errors import BackendError


def obstacle(bundle: Bundle | None = None) -> str | None:
    """Why this backend cannot run here, or None if it can."""
    return openvino.obstacle(bundle) or _missing_arithmetic(openvino.import_openvino().Core())


def open_backend(bundle: Bundle, threads: int | None) -> "OpenVinoBf16Backend":
    """Open the backend; MissingDependencyError without openvino, BackendError on other CPUs."""
    return OpenVinoBf16Backend(bundle, threads)


class OpenVinoBf16Backend(openvino.OpenVinoBackend):
    """As its base, with bfloat16 arithmetic."""

    name = "openvino_bf16"
    arithmetic = "bf16"
    hint = "bf16"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """threads: for each graph; None is every CPU this process may use."""
        super().__init__(bundle, threads)
        if missing := _missing_arithmetic(self._core):
            raise BackendError(f"backend {self.name}: {missing}; take backend openvino.")


def _missing_arithmetic(core: Any) -> str | None:
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return None if "BF16" in able else "this CPU has no bfloat16 arithmetic (AVX512_BF16 or AMX)"
