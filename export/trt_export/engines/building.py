"""TensorRT engines from a bundle's float16 graphs, whose arithmetic may become another.

Every plan is keyed by all that would make it stale. A plan with the right key is kept; the manifest
is rewritten after each new one, so that an interrupted build goes on with the next.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trt_export.engines.plan import Watch, build_plan
from trt_export.publishing.signing import write_manifest
from trt_pipeline.bundle import (
    Bundle,
    file_sha256,
    load_bundle,
    verify_files,
)
from trt_pipeline.bundle.manifest import (
    EIGHT_BITS,
    FLAVOURS,
    QUANTIZED_GRAPH,
    CompatibilityLevel,
    EngineKey,
    EnginePrecision,
    EngineSpec,
    FileSpec,
    Flavour,
    Limits,
    ModelSpec,
    ShapeRange,
    TensorSpec,
)
from trt_pipeline.durable import write_synced
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.flavours import load_flavour, named_targets
from trt_pipeline.locking import one_at_a_time
from trt_pipeline.machine import compute_capability, this_platform

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TYPICAL_STEPS = 50
TYPICAL_BATCH = 1
AMPERE = "8.0"
"""The least compute capability of ampere_plus."""
ADA = "8.9"
"""The least compute capability with float8 arithmetic."""
ROWS_PER_SAMPLE = 2
"""Rows of the denoiser for a sample with guidance."""

Range = tuple[int, int, int]
"""Smallest, typical and largest size of a dimension."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a user can choose about engines."""

    flavour: Flavour
    compute_capabilities: tuple[str, ...] = ()
    """Targets such as "8.9"; none means the GPU of this machine."""
    heights: tuple[int, int] | None = None
    """Smallest and largest height in pixels; None allows the native one only."""
    widths: tuple[int, int] | None = None
    """Smallest and largest width in pixels; None allows the native one only."""
    static: bool = False
    """Allow one picture a call, with guidance, and nothing else."""
    engine_precision: EnginePrecision = "fp16"
    """Of the arithmetic; int8 and fp8 are the quantized denoiser's, the others stay fp16."""
    optimization_level: int = 3
    """0 builds fastest, 5 searches longest."""
    hardware_compatibility_level: CompatibilityLevel = "none"
    """ampere_plus builds for every GPU of compute capability 8.0 and newer at once."""
    version_compatible: bool = False
    """Build for later releases of the same major version of TensorRT as well."""


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What became of each engine that was asked for."""

    built: tuple[EngineSpec, ...]
    kept: tuple[EngineSpec, ...]


def build_engines(
    folder: Path,
    options: EngineOptions,
    watch: Watch = lambda *_: None,
    signing_key: "Ed25519PrivateKey | None" = None,
) -> EngineReport:
    """Build the engines that a bundle lacks, and add them to it.

    signing_key: signs the manifest with every engine; without it an old signature fits no more.
    Raises BundleError, InvalidInputError, MissingDependencyError or EngineBuildError.
    """
    folder = folder.resolve()
    trt = load_flavour(options.flavour)
    targets = engine_targets(trt, options)
    with one_at_a_time(folder, lambda wait: watch(wait, 0, 0)):
        bundle = load_bundle(folder, verify="manifest")
        _check_quantized(bundle, options)
        _remove_unlisted(bundle)
        wanted = _all_wanted(bundle, trt.__version__, targets, options)
        missing = [engine for engine in wanted if engine not in bundle.engines]
        verify_files(folder, bundle.files, hashes=bool(missing))
        for engine in missing:
            plan = build_plan(trt, bundle, engine, watch)
            bundle = _add(bundle, engine, plan, signing_key)
    kept = tuple(engine for engine in wanted if engine not in missing)
    return EngineReport(built=tuple(missing), kept=kept)


def planned_engines(
    bundle: Bundle | None, options: EngineOptions, graphs: Sequence[str]
) -> list[str]:
    """What a build would make, in words; None is a bundle of graphs yet to be exported.

    A bundle that is yet to be quantized for them lacks all of them.
    """
    trt = load_flavour(options.flavour)
    targets = engine_targets(trt, options)
    if bundle is None or _lacks_eight_bits(bundle, options):
        portable = options.hardware_compatibility_level == "ampere_plus"
        names = ("ampere_plus",) if portable else targets
        places = [(str(options.flavour), target, graph) for target in names for graph in graphs]
    else:
        wanted = _all_wanted(bundle, trt.__version__, targets, options)
        places = [engine.place for engine in wanted if engine not in bundle.engines]
    return [
        f"{graph} as {flavour} engine for {target}, {_precision(graph, options)}"
        for flavour, target, graph in places
    ]


def engine_targets(trt: Any, options: EngineOptions) -> tuple[str, ...]:
    """Compute capabilities to build for; InvalidInputError for one that cannot be had."""
    chosen = tuple(dict.fromkeys(options.compute_capabilities))
    known = named_targets(trt)
    here = compute_capability()
    _check_compatibility(options)
    if options.hardware_compatibility_level == "ampere_plus":
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
            "--version-compatible: tensorrt_rtx engines run with the release that built them only. "
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


def _check_quantized(bundle: Bundle, options: EngineOptions) -> None:
    """InvalidInputError for 8-bit engines of a bundle that no calibration prepared."""
    if _lacks_eight_bits(bundle, options):
        raise InvalidInputError(
            f"--engine-precision {options.engine_precision}: {bundle.path} is not quantized. "
            "Add --quantize."
        )


def _lacks_eight_bits(bundle: Bundle, options: EngineOptions) -> bool:
    wanted = options.engine_precision in EIGHT_BITS
    return wanted and "int8" not in bundle.graphs[QUANTIZED_GRAPH]


def _precision(graph: str, options: EngineOptions) -> EnginePrecision:
    eight_bits = options.engine_precision in EIGHT_BITS
    return "fp16" if eight_bits and graph != QUANTIZED_GRAPH else options.engine_precision


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
                f"compute capability {target} is none that this TensorRT builds for: "
                f"{', '.join(known)}."
            )
    return targets


def _all_wanted(
    bundle: Bundle, version: str, targets: Sequence[str], options: EngineOptions
) -> list[EngineSpec]:
    return [
        _wanted(bundle, version, graph, target, options)
        for target in targets
        for graph in bundle.graphs
    ]


def _wanted(
    bundle: Bundle, version: str, graph: str, target: str, options: EngineOptions
) -> EngineSpec:
    spec = bundle.graph(graph, "fp16")
    precision = _precision(graph, options)
    source = bundle.graph(graph, "int8") if precision in EIGHT_BITS else spec
    steps = len(bundle.schedule.alphas_cumprod)
    ranges = engine_ranges(bundle.model, bundle.limits, steps, options)
    key = EngineKey(
        flavour=options.flavour,
        version=version,
        compute_capability=target,
        platform=this_platform(),
        precision=precision,
        onnx_sha256=bundle.files[source.path].sha256,
        weights_sha256=bundle.files[source.weights].sha256,
        profile=_profile(spec.inputs, ranges),
        optimization_level=options.optimization_level,
        hardware_compatibility_level=options.hardware_compatibility_level,
        version_compatible=options.version_compatible,
    )
    portable = key.target == "ampere_plus"
    target_folder = "ampere_plus" if portable else f"sm{target.replace('.', '')}"
    return EngineSpec(
        graph, f"{options.flavour}/{target_folder}/{graph}-{key.digest()[:12]}.plan", key
    )


def _profile(inputs: tuple[TensorSpec, ...], ranges: Mapping[str, Range]) -> dict[str, ShapeRange]:
    return {
        tensor.name: ShapeRange(
            *(
                tuple(dim if isinstance(dim, int) else ranges[dim][end] for dim in tensor.shape)
                for end in range(3)
            )
        )
        for tensor in inputs
    }


def engine_ranges(
    model: ModelSpec, limits: Limits, steps: int, options: EngineOptions
) -> dict[str, Range]:
    """Sizes of every dimension that varies; InvalidInputError for those outside the limits.

    steps: training timesteps of the schedule.
    """
    most = TYPICAL_BATCH if options.static else limits.batch[1]
    least_rows = ROWS_PER_SAMPLE if options.static else 1
    factor = model.vae_scale_factor
    heights, widths = (None, None) if options.static else (options.heights, options.widths)
    height = _pixels("heights", heights, model.height, limits.height, factor)
    width = _pixels("widths", widths, model.width, limits.width, factor)
    return {
        "batch": (1, TYPICAL_BATCH, most),
        "rows": (least_rows, ROWS_PER_SAMPLE * TYPICAL_BATCH, ROWS_PER_SAMPLE * most),
        "steps": (1, min(TYPICAL_STEPS, steps), steps),
        "height": height,
        "width": width,
        "latent_height": _divided(height, factor),
        "latent_width": _divided(width, factor),
    }


def _pixels(
    name: str, chosen: tuple[int, int] | None, native: int, limits: tuple[int, int], factor: int
) -> Range:
    if chosen is None:
        return (native, native, native)
    low, high = chosen
    if not limits[0] <= low <= high <= limits[1] or low % factor or high % factor:
        raise InvalidInputError(
            f"--{name} {low}:{high}: must be multiples of {factor} within this bundle's "
            f"{limits[0]}..{limits[1]} pixels."
        )
    return (low, min(max(native, low), high), high)


def _divided(pixels: Range, factor: int) -> Range:
    least, typical, most = pixels
    return (least // factor, typical // factor, most // factor)


def _add(
    bundle: Bundle, engine: EngineSpec, plan: Any, signing_key: "Ed25519PrivateKey | None"
) -> Bundle:
    """Write a plan and list it; the one it replaces goes."""
    path = bundle.path / engine.path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_synced(path, memoryview(plan))
    stale = [old for old in bundle.engines if old.place == engine.place]
    files = {name: file for name, file in bundle.files.items() if name not in _paths(stale)}
    files[engine.path] = FileSpec(path.stat().st_size, file_sha256(path))
    engines = (*(old for old in bundle.engines if old not in stale), engine)
    bundle = replace(bundle, files=files, engines=engines)
    write_manifest(bundle, signing_key)
    for old in stale:
        (bundle.path / old.path).unlink()
    return bundle


def _paths(engines: list[EngineSpec]) -> set[str]:
    return {engine.path for engine in engines}


def _remove_unlisted(bundle: Bundle) -> None:
    """Remove what a killed build left behind."""
    for path in _plans(bundle.path):
        if path.relative_to(bundle.path).as_posix() not in bundle.files:
            path.unlink()


def _plans(folder: Path) -> Iterator[Path]:
    for flavour in FLAVOURS:
        yield from (path for path in (folder / flavour).rglob("*") if path.is_file())
