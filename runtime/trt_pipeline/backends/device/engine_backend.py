"""The backend over TensorRT engines, for both flavours."""

from typing import Any, ClassVar

from trt_pipeline.backends.device.backend import DeviceBackend
from trt_pipeline.backends.device.engine_choice import Machine, fitting_engine
from trt_pipeline.backends.device.memory import Device
from trt_pipeline.backends.device.runtime_cache import RuntimeCache
from trt_pipeline.backends.device.tensorrt import Activations, EngineProgram, load_engine
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import Flavour
from trt_pipeline.errors import BackendError, DeviceUnavailableError
from trt_pipeline.flavours import load_flavour, messages
from trt_pipeline.machine import cache_folder, compute_capability, gpu_obstacle, this_platform


def engine_obstacle(flavour: Flavour, bundle: Bundle | None) -> str | None:
    """Why a flavour, or a bundle's engines of it, cannot run here; None if they can."""
    if bundle and not any(engine.key.flavour == flavour for engine in bundle.engines):
        return f"the bundle has no {flavour} engines"
    problem = gpu_obstacle()
    if problem:
        return problem
    try:
        trt = load_flavour(flavour)
        if bundle:
            machine_for(bundle, flavour, trt)
    except (BackendError, ImportError, OSError) as error:
        return str(error)
    return None


def machine_for(bundle: Bundle, flavour: Flavour, trt: Any) -> Machine:
    """What plans must have been built for.

    DeviceUnavailableError without a GPU, EngineMismatchError without a denoiser for it.
    """
    capability = compute_capability()
    if capability is None:
        raise DeviceUnavailableError(f"{flavour} needs an NVIDIA GPU and its driver; none is here.")
    machine = Machine(flavour, trt.__version__, capability, this_platform())
    fitting_engine(bundle, "denoiser", machine)
    return machine


class EngineBackend(DeviceBackend):
    """Engines of one flavour, whose activations share memory."""

    flavour: ClassVar[Flavour]

    def __init__(self, bundle: Bundle, device: Device, trt: Any, machine: Machine) -> None:
        super().__init__(bundle, device)
        self.precision = "fp16"
        self.arithmetic = fitting_engine(bundle, "denoiser", machine).key.precision
        self._trt = trt
        self._machine = machine
        self._runtime = trt.Runtime(messages(trt))
        self._activations = Activations(device)
        self._programs: list[EngineProgram] = []

    def open_program(self, name: str) -> EngineProgram:
        """Deserialize one plan; EngineMismatchError if it is not for this machine."""
        spec, engine = load_engine(self._trt, self._runtime, self.bundle, name, self._machine)
        cache = None
        if self.flavour == "tensorrt_rtx":
            cache = RuntimeCache(cache_folder() / self.flavour / f"{spec.key.digest()}.kernels")
        program = EngineProgram(self._trt, spec, engine, self._device, self._activations, cache)
        self._programs.append(program)
        return program

    def close(self) -> None:
        """Keep the compiled kernels, then free everything."""
        with self._device.use("close"):
            for program in self._programs:
                program.save_cache()
            self._programs.clear()
            super().close()
