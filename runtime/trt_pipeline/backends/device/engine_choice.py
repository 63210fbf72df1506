"""Which plan of a bundle may run here: the one whose key fits this machine, and no other."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trt_pipeline.backends.device.layout import Tensor
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import EngineKey, EngineSpec, Flavour
from trt_pipeline.errors import EngineMismatchError, InvalidInputError


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan's key must agree with."""

    flavour: Flavour
    version: str
    """Full version of TensorRT."""
    compute_capability: str
    platform: str

    def __str__(self) -> str:
        return (
            f"{self.flavour} {self.version}, compute capability {self.compute_capability}, "
            f"{self.platform}"
        )


def fitting_engine(bundle: Bundle, graph: str, machine: Machine) -> EngineSpec:
    """The engine of a graph; EngineMismatchError says what there is, and how to build."""
    engines = [
        engine
        for engine in bundle.engines
        if engine.graph == graph and engine.key.flavour == machine.flavour
    ]
    # A plan for this GPU alone is faster than one for many.
    for engine in sorted(engines, key=lambda engine: engine.key.target == "ampere_plus"):
        if _fits(engine.key, machine) and not _outdated(bundle, engine):
            return engine
    build = (
        f"Build it with: export-all MODEL --out {bundle.path} --engines {machine.flavour} "
        f"--compute-capability {machine.compute_capability}"
    )
    if not engines:
        raise EngineMismatchError(
            f"{graph}: {bundle.path} has no {machine.flavour} engine. {build}"
        )
    found = "; ".join(
        f"{_range_of(engine.key)}{' of another ONNX graph' * _outdated(bundle, engine)}"
        for engine in engines
    )
    raise EngineMismatchError(
        f"{graph}: the engine was built for {found}, but this machine is {machine}. {build}"
    )


def machine_of(key: EngineKey) -> Machine:
    """The machine that a plan was built for."""
    return Machine(key.flavour, key.version, key.compute_capability, key.platform)


def _fits(key: EngineKey, machine: Machine) -> bool:
    """Whether a machine is within the ranges that TensorRT documents for a plan.

    docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/engine-compatibility.html
    """
    return (
        (key.flavour, key.platform) == (machine.flavour, machine.platform)
        and _fits_gpu(key, machine.compute_capability)
        and _fits_version(key, machine.version)
    )


def _fits_gpu(key: EngineKey, compute_capability: str) -> bool:
    if key.target == "ampere_plus":
        return _numbers(key.compute_capability) <= _numbers(compute_capability)
    return key.compute_capability == compute_capability


def _fits_version(key: EngineKey, version: str) -> bool:
    built, here = _numbers(key.version), _numbers(version)
    later = built[:1] == here[:1] and built <= here
    return key.version == version or (key.version_compatible and later)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall("[0-9]{1,9}", version)]


def _range_of(key: EngineKey) -> str:
    newer_gpus = " and newer GPUs" * (key.target == "ampere_plus")
    newer_versions = " and newer versions" * key.version_compatible
    return f"{machine_of(key)}{newer_gpus}{newer_versions}"


def _outdated(bundle: Bundle, engine: EngineSpec) -> bool:
    spec = bundle.graph(engine.graph, engine.key.source)
    now = (bundle.files[spec.path].sha256, bundle.files[spec.weights].sha256)
    return now != (engine.key.onnx_sha256, engine.key.weights_sha256)


def check_profile(graph: str, key: EngineKey, tensors: Mapping[str, Tensor]) -> None:
    """InvalidInputError for an input whose shape the engine was not built for."""
    for name, allowed in key.profile.items():
        shape = tensors[name].shape
        ends = zip(allowed.min, shape, allowed.max, strict=True)
        if not all(low <= size <= high for low, size, high in ends):
            raise InvalidInputError(
                f"{graph}: {name} has shape {shape}, but this engine takes {allowed.min} to "
                f"{allowed.max}. Build engines with other --max-batch, --heights or --widths, or "
                "choose another backend."
            )
