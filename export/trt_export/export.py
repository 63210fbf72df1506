"""Export of a checkpoint to a bundle, stage by stage.

reference → trace each graph → check each graph → manifest. Every stage ends with its files and a
record on disk, so that a run that was killed goes on with the stage it was in.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from trt_export.checkpoint import Checkpoint
from trt_export.signatures import TEXT_TOKENS
from trt_export.source import SourceHashes, run_key
from trt_export.work_folder import WorkFolder, write_synced
from trt_pipeline.bundle import (
    GRAPHS,
    MANIFEST,
    Bundle,
    FileSpec,
    GraphSpec,
    Limits,
    ModelSpec,
    Precision,
    TokenizerSpec,
    file_sha256,
    is_bundle,
    load_bundle,
    manifest_json,
)
from trt_pipeline.errors import BundleError, InvalidInputError, TrtPipelineError

if TYPE_CHECKING:
    from trt_export.networks import Networks

PACKAGES = ("diffusers", "onnx", "onnx-ir", "onnxscript", "torch", "transformers", "trt-pipeline")
VOCAB = "tokenizer/vocab.txt"
FOLDERS = ("onnx", "tokenizer")
MIN_LATENTS = 4
"""Smallest height and width of latents."""
STAGES = {
    "reference": 10,
    "trace text_encoder": 12,
    "trace time_embedding": 2,
    "trace denoiser": 45,
    "trace decoder": 9,
    "trace encoder": 8,
    "check text_encoder": 5,
    "check time_embedding": 1,
    "check denoiser": 6,
    "check decoder": 1,
    "check encoder": 1,
}
"""The stages in their order, and roughly how many hundredths of the time each takes."""

Watch = Callable[[str], None]
"""Called with a stage's name before the stage begins."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a user can choose about a bundle."""

    precision: Precision = "fp16"
    """How the weights are stored: fp16 halves them and adds half-precision graphs for GPUs."""
    max_batch: int = 16
    """Most pictures in one call of a graph."""
    max_size: int | None = None
    """Largest height and width in pixels; None allows four times the native size."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did."""

    bundle: Bundle
    exported: bool
    """False where the bundle was up to date already."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time of each stage; next to nothing for one that an earlier run finished."""
    parity: tuple[Mapping[str, Any], ...] = ()
    """One parity.Parity as a mapping for each output of each graph."""


def export_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    options: ExportOptions | None = None,
    watch: Watch = lambda _: None,
) -> ExportReport:
    """Write a checkpoint's bundle to a folder, or find that it is there and up to date.

    Exports of one folder happen one at a time: another one waits, then finds the work done.
    Raises CheckpointError, ParityError or InvalidInputError; the folder is then as it was before.
    """
    options = options or ExportOptions()
    out = out.resolve()
    _refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(out.with_name(f".{out.name}.lock")):
        source = SourceHashes.read(checkpoint, out)
        provenance = _provenance(checkpoint, source.hashes, options)
        current = up_to_date(out, provenance["key"])
        if current:
            source.remember(out)
            return ExportReport(current, exported=False)
        work = WorkFolder.open(out, provenance["key"])
        try:
            report = _export(checkpoint, out, options, provenance, work, watch)
        except TrtPipelineError:
            work.discard()
            raise
        source.remember(out)
        return report


def up_to_date(out: Path, key: str) -> Bundle | None:
    """The bundle in a folder, if it was exported under this key and its files are all there."""
    try:
        bundle = load_bundle(out, verify="manifest")
    except BundleError:
        return None
    return bundle if bundle.provenance.get("key") == key else None


def _refuse_foreign(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not is_bundle(out)):
        raise InvalidInputError(f"--out {out} exists and is no bundle. Name another folder.")


def _provenance(
    checkpoint: Checkpoint, hashes: Mapping[str, str], options: ExportOptions
) -> dict[str, Any]:
    packages = {package: version(package) for package in PACKAGES}
    return {
        "checkpoint": checkpoint.name,
        "license": checkpoint.license,
        "files": dict(hashes),
        "packages": packages,
        "options": asdict(options),
        "key": run_key(hashes, {"name": checkpoint.name, **asdict(options)}, packages),
    }


def _export(
    checkpoint: Checkpoint,
    out: Path,
    options: ExportOptions,
    provenance: Mapping[str, Any],
    work: WorkFolder,
    watch: Watch,
) -> ExportReport:
    # Imported here because they import torch, and an export with nothing to do must not.
    from trt_export.modules import describe_model, load_schedule
    from trt_export.networks import Networks
    from trt_export.to_onnx import read_specs

    seconds: dict[str, float] = {}

    def stage(name: str, task: Callable[[], Any]) -> Any:
        watch(name)
        started = time.perf_counter()
        result = work.stage(name, task)
        seconds[name] = time.perf_counter() - started
        return result

    model, schedule = describe_model(checkpoint), load_schedule(checkpoint)
    limits = _limits(model, options)
    networks = Networks(checkpoint, options.precision)
    stage("reference", partial(_save_reference, networks, work))
    for name in GRAPHS:
        stage(f"trace {name}", partial(networks.trace, name, work.path))
    networks.release()  # a full-size model would not fit beside its own float32 sessions
    graphs = {name: read_specs(name, work.path) for name in GRAPHS}
    parity = [
        row
        for name, graph in graphs.items()
        for row in stage(f"check {name}", partial(_check, work, name, graph))
    ]
    watch("write")
    bundle = Bundle(
        path=out,
        model=model,
        precision=options.precision,
        graphs=graphs,
        limits=limits,
        schedule=schedule,
        tokenizer=_copy_tokenizer(checkpoint, work),
        provenance=provenance,
        files=_describe_files(work.path),
    )
    write_synced(work.path / MANIFEST, manifest_json(bundle).encode())
    work.publish(out)
    return ExportReport(bundle, True, seconds, tuple(parity))


def _save_reference(networks: "Networks", work: WorkFolder) -> None:
    from safetensors.torch import save_file

    for name, (inputs, outputs) in networks.reference().items():
        for kind, tensors in (("inputs", inputs), ("outputs", outputs)):
            packed = {tensor: value.contiguous() for tensor, value in tensors.items()}
            save_file(packed, work.scratch / f"{name}.{kind}.safetensors")


def _check(
    work: WorkFolder, name: str, graphs: Mapping[Precision, GraphSpec]
) -> list[dict[str, Any]]:
    from safetensors.numpy import load_file

    from trt_export.parity import check_parity

    inputs = load_file(work.scratch / f"{name}.inputs.safetensors")
    outputs = load_file(work.scratch / f"{name}.outputs.safetensors")
    return [
        asdict(row)
        for precision, graph in graphs.items()
        for row in check_parity(name, precision, graph, work.path, inputs, outputs)
    ]


def _limits(model: ModelSpec, options: ExportOptions) -> Limits:
    low = MIN_LATENTS * model.vae_scale_factor
    largest = options.max_size or 4 * max(model.height, model.width)
    if largest < max(model.height, model.width) or largest % model.vae_scale_factor:
        raise InvalidInputError(
            f"--max-size {largest}: must be a multiple of {model.vae_scale_factor} that allows the "
            f"native size of {model.width}x{model.height} pixels."
        )
    return Limits(batch=(1, options.max_batch), height=(low, largest), width=(low, largest))


def _copy_tokenizer(checkpoint: Checkpoint, work: WorkFolder) -> TokenizerSpec:
    (work.path / VOCAB).parent.mkdir(exist_ok=True)
    shutil.copyfile(checkpoint.vocab, work.path / VOCAB)
    config = checkpoint.config("tokenizer")
    return TokenizerSpec(
        vocab=VOCAB,
        max_length=TEXT_TOKENS,
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
        tokenize_chinese_chars=config.get("tokenize_chinese_chars", True),
    )


def _describe_files(folder: Path) -> dict[str, FileSpec]:
    files = sorted(path for top in FOLDERS for path in (folder / top).iterdir())
    return {
        path.relative_to(folder).as_posix(): FileSpec(path.stat().st_size, file_sha256(path))
        for path in files
    }
