"""TensorRT engines of either flavour, deserialized and bound."""

import logging
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from trt_pipeline.backends.device.engine_choice import Machine, check_profile, fitting_engine
from trt_pipeline.backends.device.layout import Tensor
from trt_pipeline.backends.device.memory import Block, Device
from trt_pipeline.backends.device.runtime_cache import RuntimeCache
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import EngineSpec
from trt_pipeline.errors import EngineMismatchError, IntegrityError

logger = logging.getLogger(__name__)


class Activations:
    """Scratch memory that all engines share, since only one runs at a time."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._needed = 0
        self._size = 0
        self._block: Block | None = None

    def reserve(self, size: int) -> None:
        """Reserve at least this many bytes from now on."""
        self._needed = max(self._needed, size)

    def block(self) -> tuple[Block, int]:
        """The memory and its size. Whoever runs in an earlier, smaller one keeps it alive."""
        if self._block is None or self._size < self._needed:
            self._block, self._size = self._device.block(self._needed), self._needed
        return self._block, self._size


class EngineProgram:
    """One deserialized plan; an execution context for each set of shapes."""

    def __init__(
        self,
        trt: Any,
        spec: EngineSpec,
        engine: Any,
        device: Device,
        activations: Activations,
        cache: RuntimeCache | None,
    ) -> None:
        self._trt = trt
        self._spec = spec
        self._engine = engine
        self._device = device
        self._activations = activations
        self._cache = cache
        activations.reserve(engine.device_memory_size_v2)

    def executor(self, tensors: Mapping[str, Tensor]) -> "EngineExecutor":
        """Prepare for these shapes; InvalidInputError for those outside the engine's profile."""
        check_profile(self._spec.graph, self._spec.key, tensors)
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if self._cache is not None:
            # What is captured stays as it is, so specialized kernels must be there from the start.
            strategy = self._trt.DynamicShapesKernelSpecializationStrategy
            config.dynamic_shapes_kernel_specialization_strategy = strategy.EAGER
            self._cache.attach(config)
        context = self._engine.create_execution_context(config)
        if context is None:
            raise RuntimeError("TensorRT made no execution context; the GPU may be out of memory")
        return EngineExecutor(self._spec, context, tensors, self._device, self._activations)

    def save_cache(self) -> None:
        """Write the kernels that were compiled since."""
        if self._cache is not None:
            self._cache.save()


class EngineExecutor:
    """An execution context with fixed shapes, whose addresses may change from run to run."""

    moves = True

    def __init__(
        self,
        spec: EngineSpec,
        context: Any,
        tensors: Mapping[str, Tensor],
        device: Device,
        activations: Activations,
    ) -> None:
        self._graph = spec.graph
        self._context = context
        self._stream = device.stream
        for name in spec.key.profile:
            if not context.set_input_shape(name, tensors[name].shape):
                raise RuntimeError(f"TensorRT refuses shape {tensors[name].shape} of {name}")
        self._activations, size = activations.block()
        context.set_device_memory(self._activations.address, size)

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Say where every input and output lies from now on."""
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise RuntimeError(f"TensorRT has no tensor {name}; build the engines again")

    def enqueue(self) -> None:
        """Run without waiting; RuntimeError if TensorRT refuses."""
        if not self._context.execute_async_v3(self._stream):
            raise RuntimeError(f"TensorRT did not run {self._graph}; its log says why")

    def obstacle_to_recording(self) -> str | None:
        """TensorRT for RTX knows beforehand; the other flavour fails while recording."""
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is None or capturable(self._stream):
            return None
        return "TensorRT says that this engine cannot be captured"


def load_engine(trt: Any, runtime: Any, bundle: Bundle, graph: str, machine: Machine) -> Any:
    """The spec and the engine of a graph, whose key and hash were checked before.

    EngineMismatchError for a plan that is not for this machine, IntegrityError for one that is not
    what the manifest describes.
    """
    spec = fitting_engine(bundle, graph, machine)
    plan = bundle.file(spec.path).read_bytes()
    if sha256(plan).hexdigest() != bundle.files[spec.path].sha256:
        raise IntegrityError(
            f"{bundle.path / spec.path} has another sha256 than its manifest says. Do not use this "
            "bundle; build its engines again."
        )
    _check_validity(trt, runtime, plan, spec)
    if spec.key.version_compatible:
        # Such a plan brings the code that reads it, and its hash was checked.
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineMismatchError(
            f"{graph}: TensorRT {machine.version} does not load {spec.path}; its log says why."
        )
    return spec, engine


def _check_validity(trt: Any, runtime: Any, plan: bytes, spec: EngineSpec) -> None:
    """What TensorRT for RTX says of a plan on this GPU before it deserializes it."""
    if not hasattr(runtime, "get_engine_validity"):
        return
    validity, diagnostics = runtime.get_engine_validity(plan)
    if validity == trt.EngineValidity.INVALID:
        raise EngineMismatchError(
            f"{spec.graph}: TensorRT for RTX {spec.key.version} says that {spec.path} is not valid "
            f"on this GPU (diagnostics {diagnostics}). Choose another backend, such as "
            "onnxruntime_cuda."
        )
    if validity == trt.EngineValidity.SUBOPTIMAL:
        logger.warning("%s: a plan built on this GPU would be faster (%s)", spec.path, diagnostics)
