"""TensorRT engines from a bundle's float16 graphs, in float16 or another arithmetic; a graph that
float16 cannot hold becomes a float32 engine.

Every plan is keyed by all that would make it stale. A plan with the right key is kept; the manifest
is rewritten after each new one, so that an interrupted build goes on with the next.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trt_export.engines.options import EngineOptions
from trt_export.engines.plan import Watch, build_plan
from trt_export.engines.profiles import engine_profile
from trt_export.engines.targets import engine_targets
from trt_export.publishing.signing import UNSIGNED, Signer
from trt_pipeline.bundle import Bundle, file_sha256, load_bundle, verify_files
from trt_pipeline.bundle.manifest import (
    FLAVOURS,
    QUANTIZED_GRAPH,
    EngineKey,
    EngineSpec,
    FileSpec,
)
from trt_pipeline.durable import write_synced
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.flavours import load_flavour
from trt_pipeline.locking import one_at_a_time
from trt_pipeline.machine import this_platform


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What became of each engine that was asked for."""

    built: tuple[EngineSpec, ...]
    kept: tuple[EngineSpec, ...]


def build_engines(
    folder: Path,
    options: EngineOptions,
    watch: Watch = lambda *_: None,
    signer: Signer = UNSIGNED,
) -> EngineReport:
    """Build the engines that a bundle lacks, and add them to it.

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
            bundle = _add(bundle, engine, plan, signer)
    kept = tuple(engine for engine in wanted if engine not in missing)
    return EngineReport(built=tuple(missing), kept=kept)


def planned_engines(
    bundle: Bundle | None, options: EngineOptions, graphs: Sequence[str]
) -> list[str]:
    """What a build would make, in words; None is a bundle that is yet to be exported.

    A bundle that is yet to be quantized for them lacks all of them.
    """
    trt = load_flavour(options.flavour)
    targets = engine_targets(trt, options)
    if bundle is None or _lacks_eight_bits(bundle, options):
        names = ("ampere_plus",) if options.portable else targets
        places = [(str(options.flavour), target, graph) for target in names for graph in graphs]
    else:
        wanted = _all_wanted(bundle, trt.__version__, targets, options)
        places = [engine.place for engine in wanted if engine not in bundle.engines]
    return [
        f"{graph} as {flavour} engine for {target}, {options.precision_of(graph, bundle)}"
        for flavour, target, graph in places
    ]


def _check_quantized(bundle: Bundle, options: EngineOptions) -> None:
    """InvalidInputError for 8-bit engines of a bundle that was not calibrated."""
    if _lacks_eight_bits(bundle, options):
        raise InvalidInputError(
            f"--engine-precision {options.engine_precision}: {bundle.path} is not quantized. "
            "Add --quantize."
        )


def _lacks_eight_bits(bundle: Bundle, options: EngineOptions) -> bool:
    return options.eight_bits and "int8" not in bundle.graphs[QUANTIZED_GRAPH]


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
    precision = options.precision_of(graph, bundle)
    eight_bits = options.eight_bits and graph == QUANTIZED_GRAPH
    source = bundle.graph(graph, "int8" if eight_bits else "fp16")
    key = EngineKey(
        flavour=options.flavour,
        version=version,
        compute_capability=target,
        platform=this_platform(),
        precision=precision,
        onnx_sha256=bundle.files[source.path].sha256,
        weights_sha256=bundle.files[source.weights].sha256,
        profile=engine_profile(bundle, graph, options),
        optimization_level=options.optimization_level,
        hardware_compatibility_level=options.hardware_compatibility_level,
        version_compatible=options.version_compatible,
    )
    folder = "ampere_plus" if options.portable else f"sm{target.replace('.', '')}"
    path = f"{options.flavour}/{folder}/{graph}-{key.digest()[:12]}.plan"
    return EngineSpec(graph, path, key)


def _add(bundle: Bundle, engine: EngineSpec, plan: Any, signer: Signer) -> Bundle:
    """Write a plan and list it; the plan that it replaces is removed."""
    path = bundle.path / engine.path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_synced(path, memoryview(plan))
    stale = [old for old in bundle.engines if old.place == engine.place]
    files = {name: file for name, file in bundle.files.items() if name not in _paths(stale)}
    files[engine.path] = FileSpec(path.stat().st_size, file_sha256(path))
    engines = (*(old for old in bundle.engines if old not in stale), engine)
    bundle = replace(bundle, files=files, engines=engines)
    signer.write_manifest(bundle)
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
