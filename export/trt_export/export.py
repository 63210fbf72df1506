"""Export of a checkpoint to a bundle, stage by stage.

reference → trace each graph → check each graph → manifest. Every stage ends with its files and a
record on disk, so that a run that was killed goes on with the stage it was in.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trt_export.checkpoint.folder import TEXT_TO_IMAGE, Checkpoint
from trt_export.publishing.hashes import Hashes
from trt_export.publishing.signing import sign_bundle
from trt_export.publishing.target import refuse_foreign
from trt_export.publishing.work_folder import WorkFolder, clear_leavings, leavings
from trt_pipeline.bundle import (
    FORMAT_VERSION,
    Bundle,
    file_sha256,
    is_bundle,
    load_bundle,
    manifest_json,
)
from trt_pipeline.bundle.manifest import (
    GRAPHS,
    FileSpec,
    GraphPrecision,
    GraphSpec,
    Limits,
    ModelSpec,
    Precision,
    ScheduleSpec,
    TokenizerSpec,
)
from trt_pipeline.bundle.names import MANIFEST
from trt_pipeline.durable import write_synced
from trt_pipeline.errors import BundleError, InvalidInputError, TrtPipelineError
from trt_pipeline.locking import one_at_a_time

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from trt_export.onnx_graphs.tracing import Networks

PACKAGES = ("diffusers", "onnx", "onnx-ir", "onnxscript", "torch", "transformers", "trt-pipeline")
ROOT = Path(__file__).parent
FOLDERS = ("onnx", "tokenizer")
TEXTLESS_GRAPHS = ("time_embedding", "denoiser", "cached_denoiser", "decoder")
MIN_LATENTS = 4
"""Smallest height and width of latents."""
STAGES = {
    "reference": 10,
    "preview": 1,
    "trace text_encoder": 12,
    "trace time_embedding": 2,
    "trace denoiser": 43,
    "trace cached_denoiser": 2,
    "trace decoder": 9,
    "trace encoder": 8,
    "check text_encoder": 5,
    "check time_embedding": 1,
    "check denoiser": 6,
    "check cached_denoiser": 1,
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
    signing_key: "Ed25519PrivateKey | None" = None,
) -> ExportReport:
    """Write a checkpoint's bundle to a folder, or find that it is there and up to date.

    signing_key: of a signature that a new bundle comes with; None leaves it unsigned.
    Exports of one folder happen one at a time: another one waits, then finds the work done.
    Raises CheckpointError, ParityError or InvalidInputError; the folder is then as it was before.
    """
    options = options or ExportOptions()
    out = out.resolve()
    current = up_to_date(checkpoint, out, options)
    if current and not leavings(out):
        return ExportReport(current, exported=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(out, watch):
        current = up_to_date(checkpoint, out, options)
        if current:  # another export was at it
            clear_leavings(out)
            return ExportReport(current, exported=False)
        hashes = Hashes.remembered(out)
        provenance = _provenance(checkpoint, hashes, options)
        work = WorkFolder.open(out, provenance["key"])
        try:
            report = _export(checkpoint, out, options, provenance, work, watch, signing_key)
        except TrtPipelineError:
            work.discard()
            raise
        hashes.trust(report.bundle)
        hashes.save(out)
        return report


def graph_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The graphs of a checkpoint's pipeline."""
    return GRAPHS if checkpoint.pipeline == TEXT_TO_IMAGE else TEXTLESS_GRAPHS


def stages_of(checkpoint: Checkpoint) -> dict[str, int]:
    """The stages of an export in their order, and roughly the hundredths of its time."""
    names = {*graph_names(checkpoint), "reference", "preview"}
    return {stage: share for stage, share in STAGES.items() if stage.split()[-1] in names}


def up_to_date(checkpoint: Checkpoint, out: Path, options: ExportOptions) -> Bundle | None:
    """The bundle in a folder if this export would make it again, and every file of it is whole.

    InvalidInputError if the folder holds what an export may not replace.
    """
    refuse_foreign(out)
    if not is_bundle(out):
        return None
    hashes = Hashes.remembered(out)
    key = _provenance(checkpoint, hashes, options)["key"]
    try:
        bundle = load_bundle(out, verify="manifest")
        if bundle.provenance.get("key") != key:
            return None
        hashes.verify(bundle)
    except BundleError:
        return None
    hashes.save(out)
    return bundle


def _provenance(checkpoint: Checkpoint, hashes: Hashes, options: ExportOptions) -> dict[str, Any]:
    files = {name: hashes.of(f"source/{name}", path) for name, path in checkpoint.files.items()}
    parts = {
        "checkpoint": checkpoint.name,
        "files": files,
        "packages": {package: version(package) for package in PACKAGES},
        "exporter": exporter_sha256(),
        "options": asdict(options),
    }
    text = json.dumps([FORMAT_VERSION, parts], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    return {**parts, "license": checkpoint.license, "key": key}


def exporter_sha256(root: Path = ROOT) -> str:
    """Hash the code that makes graphs: a checkout changes without a new version.

    Every room counts but shapes/, which trains the embedded checkpoint.
    """
    digest = hashlib.sha256()
    for source in sorted(root.rglob("*.py")):
        if source.relative_to(root).parts[0] != "shapes":
            digest.update(source.relative_to(root).as_posix().encode() + b"\0")
            digest.update(source.read_bytes() + b"\0")
    return digest.hexdigest()


def _export(
    checkpoint: Checkpoint,
    out: Path,
    options: ExportOptions,
    provenance: Mapping[str, Any],
    work: WorkFolder,
    watch: Watch,
    signing_key: "Ed25519PrivateKey | None",
) -> ExportReport:
    # Imported here because they import torch, and an export with nothing to do must not.
    from trt_export.onnx_graphs.textless_networks import TextlessNetworks
    from trt_export.onnx_graphs.to_onnx import read_specs
    from trt_export.onnx_graphs.tracing import Networks

    seconds: dict[str, float] = {}

    def stage(name: str, task: Callable[[], Any]) -> Any:
        watch(name)
        started = time.perf_counter()
        result = work.stage(name, task)
        seconds[name] = time.perf_counter() - started
        return result

    model, schedule, tokenizer, limits = describe(checkpoint, options)
    kind = Networks if checkpoint.pipeline == TEXT_TO_IMAGE else TextlessNetworks
    networks = kind(checkpoint, options.precision)
    names = graph_names(checkpoint)
    stage("reference", partial(_save_reference, networks, work))
    preview = stage("preview", networks.preview)
    for name in names:
        stage(f"trace {name}", partial(networks.trace, name, work.path))
    networks.release()  # a full-size model would not fit beside its own float32 sessions
    graphs = {name: read_specs(name, work.path) for name in names}
    parity = [
        row
        for name, graph in graphs.items()
        for row in stage(f"check {name}", partial(_check, work, name, graph))
    ]
    watch("write")
    if checkpoint.vocab and tokenizer:
        _copy(checkpoint.vocab, work.path / tokenizer.vocab)
    bundle = Bundle(
        path=out,
        model=model,
        precision=options.precision,
        graphs=graphs,
        limits=limits,
        schedule=schedule,
        tokenizer=tokenizer,
        provenance=provenance,
        preview=tuple(map(tuple, preview)),
        files=_describe_files(work.path),
    )
    write_synced(work.path / MANIFEST, manifest_json(bundle).encode())
    if signing_key:
        sign_bundle(work.path, signing_key)
    work.publish(out)
    return ExportReport(bundle, True, seconds, tuple(parity))


def describe(
    checkpoint: Checkpoint, options: ExportOptions
) -> tuple[ModelSpec, ScheduleSpec, TokenizerSpec | None, Limits]:
    """What a manifest says of a checkpoint, read without weights.

    CheckpointError if it is none that can be exported, InvalidInputError for the options.
    """
    from trt_export.networks.description import describe_model, describe_tokenizer, load_schedule

    model, schedule = describe_model(checkpoint), load_schedule(checkpoint)
    return model, schedule, describe_tokenizer(checkpoint), limits_of(model, options)


def _save_reference(networks: "Networks", work: WorkFolder) -> None:
    from safetensors.torch import save_file

    for name, (inputs, outputs) in networks.reference().items():
        for kind, tensors in (("inputs", inputs), ("outputs", outputs)):
            packed = {tensor: value.contiguous() for tensor, value in tensors.items()}
            save_file(packed, work.scratch / f"{name}.{kind}.safetensors")


def _check(
    work: WorkFolder, name: str, graphs: Mapping[GraphPrecision, GraphSpec]
) -> list[dict[str, Any]]:
    from safetensors.numpy import load_file

    from trt_export.onnx_graphs.parity import check_parity

    inputs = load_file(work.scratch / f"{name}.inputs.safetensors")
    outputs = load_file(work.scratch / f"{name}.outputs.safetensors")
    return [
        asdict(row)
        for precision, graph in graphs.items()
        for row in check_parity(name, precision, graph, work.path, inputs, outputs)
    ]


def limits_of(model: ModelSpec, options: ExportOptions) -> Limits:
    """What the graphs will accept; InvalidInputError if that leaves out the native size."""
    low = MIN_LATENTS * model.vae_scale_factor
    largest = options.max_size or 4 * max(model.height, model.width)
    if largest < max(model.height, model.width) or largest % model.vae_scale_factor:
        raise InvalidInputError(
            f"--max-size {largest}: must be a multiple of {model.vae_scale_factor} that allows the "
            f"native size of {model.width}x{model.height} pixels."
        )
    return Limits(batch=(1, options.max_batch), height=(low, largest), width=(low, largest))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, target)


def _describe_files(folder: Path) -> dict[str, FileSpec]:
    files = sorted(path for top in FOLDERS for path in (folder / top).glob("*"))
    return {
        path.relative_to(folder).as_posix(): FileSpec(path.stat().st_size, file_sha256(path))
        for path in files
    }
