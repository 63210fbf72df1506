"""What a user can choose about engines."""

from dataclasses import dataclass

from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import (
    EIGHT_BITS,
    QUANTIZED_GRAPH,
    CompatibilityLevel,
    EnginePrecision,
    Flavour,
)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The options of --engines."""

    flavour: Flavour
    compute_capabilities: tuple[str, ...] = ()
    """Targets such as "8.9"; none means the GPU of this machine."""
    heights: tuple[int, int] | None = None
    """Min and max height in pixels; None allows the native height only."""
    widths: tuple[int, int] | None = None
    """Min and max width in pixels; None allows the native width only."""
    static: bool = False
    """Allow one picture a call, with guidance, and nothing else."""
    engine_precision: EnginePrecision = "fp16"
    """Of the arithmetic; int8 and fp8 are for the quantized denoiser, other graphs stay fp16."""
    optimization_level: int = 3
    """0 builds fastest, 5 searches longest."""
    hardware_compatibility_level: CompatibilityLevel = "none"
    """ampere_plus builds for every GPU of compute capability 8.0 and newer at once."""
    version_compatible: bool = False
    """Build for later releases of the same major version of TensorRT as well."""

    @property
    def portable(self) -> bool:
        """Whether one engine serves every GPU of compute capability 8.0 and newer."""
        return self.hardware_compatibility_level == "ampere_plus"

    @property
    def eight_bits(self) -> bool:
        """Whether the bundle has to be quantized first."""
        return self.engine_precision in EIGHT_BITS

    def precision_of(self, graph: str, bundle: Bundle | None = None) -> EnginePrecision:
        """The arithmetic of a graph's engine: fp32 where float16 cannot hold the bundle's graph.

        None is a bundle that is yet to be exported.
        """
        if bundle and bundle.stays_wide(graph):
            return "fp32"
        kept = self.eight_bits and graph != QUANTIZED_GRAPH
        return "fp16" if kept else self.engine_precision
