"""TensorRT for RTX engines, built anywhere for named GPUs."""

from trt_pipeline.backends.device.cuda import CudaDevice
from trt_pipeline.backends.device.engine_backend import (
    EngineBackend,
    engine_obstacle,
    machine_for,
)
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import Flavour
from trt_pipeline.flavours import load_flavour

FLAVOUR: Flavour = "tensorrt_rtx"


def obstacle(bundle: Bundle | None = None) -> str | None:
    """Why this backend cannot run here, or None if it can."""
    return engine_obstacle(FLAVOUR, bundle)


def open_backend(bundle: Bundle, threads: int | None) -> "TensorrtRtxBackend":
    """Open the backend on the current GPU; threads are for CPUs, and mean nothing here."""
    trt = load_flavour(FLAVOUR)
    machine = machine_for(bundle, FLAVOUR, trt)
    return TensorrtRtxBackend(bundle, CudaDevice(), trt, machine)


class TensorrtRtxBackend(EngineBackend):
    """The engines of this flavour."""

    name = FLAVOUR
    flavour = FLAVOUR
