"""The GPUs that engines are built for."""

from typing import Any

from trt_export.engines.options import EngineOptions
from trt_pipeline.bundle.manifest import Flavour
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.flavours import named_targets
from trt_pipeline.machine import compute_capability

AMPERE = "8.0"
"""The lowest compute capability of ampere_plus."""
ADA = "8.9"
"""The lowest compute capability with float8 arithmetic."""


def engine_targets(trt: Any, options: EngineOptions) -> tuple[str, ...]:
    """Compute capabilities to build for; InvalidInputError for one that cannot be built for."""
    chosen = tuple(dict.fromkeys(options.compute_capabilities))
    known = named_targets(trt)
    here = compute_capability()
    _check_compatibility(options)
    if options.portable:
        targets = _ampere_plus(chosen, known, here)
    else:
        targets = _named_or_here(options.flavour, chosen, known, here)
    _check_arithmetic(targets, options)
    return targets


def _named_or_here(
    flavour: Flavour, chosen: tuple[str, ...], known: tuple[str, ...], here: str | None
) -> tuple[str, ...]:
    if not chosen:
        if here is None:
            raise InvalidInputError(
                f"there is no GPU here to build {flavour} engines for"
                + (f"; name one with --compute-capability: {', '.join(known)}." if known else ".")
            )
        return _supported((here,), known)
    if not known and chosen != (here,):
        raise InvalidInputError(
            f"--compute-capability: {flavour} builds for the GPU of this machine only "
            f"({here or 'there is none'}). tensorrt_rtx builds for others."
        )
    return _supported(chosen, known)


def _check_compatibility(options: EngineOptions) -> None:
    """InvalidInputError for what TensorRT for RTX lacks."""
    if options.flavour != "tensorrt_rtx":
        return
    if options.version_compatible:
        raise InvalidInputError(
            "--version-compatible: tensorrt_rtx engines run only with the release that built them. "
            "Leave it out, or build --engines tensorrt."
        )
    if options.hardware_compatibility_level == "same_compute_capability":
        raise InvalidInputError(
            "--hardware-compatibility-level same_compute_capability: a tensorrt_rtx engine is for "
            "every GPU of its compute capability. Leave it out."
        )


def _check_arithmetic(targets: tuple[str, ...], options: EngineOptions) -> None:
    """InvalidInputError for float8 on GPUs that have none."""
    lacking = [target for target in targets if float(target) < float(ADA)]
    if options.engine_precision == "fp8" and lacking:
        raise InvalidInputError(
            f"--engine-precision fp8: compute capability {lacking[0]} has no float8 arithmetic, "
            f"{ADA} and newer have. Choose int8 or fp16."
        )


def _ampere_plus(
    chosen: tuple[str, ...], known: tuple[str, ...], here: str | None
) -> tuple[str, ...]:
    if chosen:
        raise InvalidInputError(
            f"--hardware-compatibility-level ampere_plus builds one engine for {AMPERE} and newer: "
            "leave --compute-capability out."
        )
    if not known and (here is None or float(here) < float(AMPERE)):
        raise InvalidInputError(
            f"--hardware-compatibility-level ampere_plus: tensorrt builds it on a GPU of compute "
            f"capability {AMPERE} or newer only ({here or 'there is none'})."
        )
    return (AMPERE,)


def _supported(targets: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    for target in targets:
        if known and target not in known:
            raise InvalidInputError(
                f"this TensorRT does not build for compute capability {target}, only for "
                f"{', '.join(known)}."
            )
    return targets
