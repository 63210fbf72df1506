"""Export of a checkpoint to a bundle, stage by stage.

reference → trace each graph → check each graph → manifest. Every stage ends with its files and a
record on disk, so that a run that was killed goes on with the stage it was in.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trt_export import families
from trt_export.checkpoint.folder import Checkpoint
from trt_export.memory import give_back
from trt_export.publishing.hashes import Hashes
from trt_export.publishing.signing import UNSIGNED, Signer
from trt_export.publishing.target import Replaced, refuse_foreign, replaced
from trt_export.publishing.work_folder import WorkFolder, clear_remains, remains, restore
from trt_pipeline.bundle import (
    FORMAT_VERSION,
    Bundle,
    file_sha256,
    is_bundle,
    load_bundle,
)
from trt_pipeline.bundle.manifest import (
    Defaults,
    FileSpec,
    GraphPrecision,
    GraphSpec,
    Limits,
    Precision,
)
from trt_pipeline.errors import BundleError, InvalidInputError, TrtPipelineError
from trt_pipeline.locking import one_at_a_time

if TYPE_CHECKING:
    from trt_export.networks.description import Description
    from trt_export.onnx_graphs.tracing import Tracing

logger = logging.getLogger(__name__)

PACKAGES = ("diffusers", "onnx", "onnx-ir", "onnxscript", "torch", "transformers", "trt-pipeline")
ROOT = Path(__file__).parent
FOLDERS = ("onnx", *families.TOKENIZERS)
STAGES = {
    "reference": 10,
    "preview": 1,
    "trace text_encoder": 12,
    "trace time_embedding": 2,
    "trace denoiser": 43,
    "trace cached_denoiser": 2,
    "trace decoder": 9,
    "trace tiny_decoder": 2,
    "trace encoder": 8,
    "trace safety_checker": 8,
    "check text_encoder": 5,
    "check time_embedding": 1,
    "check denoiser": 6,
    "check cached_denoiser": 1,
    "check decoder": 1,
    "check tiny_decoder": 1,
    "check encoder": 1,
    "check safety_checker": 1,
    "check picture": 2,
}
"""Stage → roughly how many hundredths of the time it takes, in their order."""

Watch = Callable[[str], None]
"""Called with a stage's name before the stage begins."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a user can choose about a bundle."""

    precision: Precision = "fp16"
    """How the weights are stored: fp16 halves them and adds half-precision graphs for GPUs."""
    max_batch: int = 16
    """Largest number of pictures in one call of a graph."""
    max_size: int | None = None
    """Largest height and width in pixels; None allows four times the native size."""
    num_inference_steps: int | None = None
    """Of the bundle's defaults; None takes what checkpoints of the family draw with."""
    guidance_scale: float | None = None
    """Likewise."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did."""

    bundle: Bundle
    exported: bool
    """False where the bundle was up to date already."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time of each stage; next to nothing for a stage that an earlier run finished."""
    parity: tuple[Mapping[str, Any], ...] = ()
    """One parity.Parity as a mapping for each output of each graph, and the finished picture's."""
    notes: tuple[str, ...] = ()
    """What a user should know of how the checkpoint was read."""
    replaced: Replaced | None = None
    """The bundle that was there before."""


def export_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    options: ExportOptions | None = None,
    watch: Watch = lambda _: None,
    signer: Signer = UNSIGNED,
    *,
    replace_other: bool = False,
) -> ExportReport:
    """Write a checkpoint's bundle to a folder, or find that it is there and up to date.

    replace_other: whether the bundle of another checkpoint may be there, and be lost.
    Exports of one folder happen one at a time: a second one waits, then finds the work done.
    Raises CheckpointError, ParityError or InvalidInputError; the folder is then as it was before.
    """
    options = options or ExportOptions()
    refuse_foreign(out)
    out = out.resolve()
    hashes = Hashes.remembered(out)
    current = up_to_date(checkpoint, out, options, hashes)
    if current and not remains(out) and signer.has_signed(out):
        return ExportReport(current, exported=False)
    to_be_replaced(checkpoint, out, hashes, replace_other)
    out.parent.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(out, watch):
        restore(out)
        current = up_to_date(checkpoint, out, options, hashes)
        if current:
            clear_remains(out)
            signer.sign(out)
            return ExportReport(current, exported=False)
        before = to_be_replaced(checkpoint, out, hashes, replace_other)
        if before:
            logger.warning("replaces %s", before)
        hashes = Hashes(hashes.known)  # so that it remembers nothing of the files replaced
        provenance = _provenance(checkpoint, hashes, options)
        work = WorkFolder.open(out, provenance["key"])
        try:
            report = _export(checkpoint, out, options, provenance, work, watch, signer)
        except TrtPipelineError:
            work.discard()
            raise
        hashes.trust(report.bundle)
        hashes.save(out)
        return replace(report, replaced=before)


def stages_of(checkpoint: Checkpoint) -> dict[str, int]:
    """The stages of an export in their order, and roughly the hundredths of its time."""
    names = {*checkpoint.family.graphs, "reference", "preview"}
    names |= {"picture"} if checkpoint.family.reference else set()
    return {stage: share for stage, share in STAGES.items() if stage.split()[-1] in names}


def up_to_date(
    checkpoint: Checkpoint, out: Path, options: ExportOptions, hashes: Hashes | None = None
) -> Bundle | None:
    """The bundle in a folder if this export would make it again, and every file of it is whole.

    InvalidInputError if the folder holds what an export may not replace.
    """
    refuse_foreign(out)
    if not is_bundle(out):
        return None
    hashes = hashes or Hashes.remembered(out)
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


def to_be_replaced(
    checkpoint: Checkpoint, out: Path, hashes: Hashes, replace_other: bool
) -> Replaced | None:
    """The bundle that an export takes the place of; InvalidInputError if it may not."""
    return replaced(out, _hashed(checkpoint, hashes), replace_other)


def _hashed(checkpoint: Checkpoint, hashes: Hashes) -> dict[str, str]:
    return {name: hashes.of(f"source/{name}", path) for name, path in checkpoint.read_files.items()}


def _provenance(checkpoint: Checkpoint, hashes: Hashes, options: ExportOptions) -> dict[str, Any]:
    parts = {
        "checkpoint": checkpoint.name,
        "files": _hashed(checkpoint, hashes),
        "loras": [{"file": one.path.name, "scale": one.scale} for one in checkpoint.loras],
        "embeddings": [
            {"file": one.path.name, "token": one.token} for one in checkpoint.embeddings
        ],
        "packages": {package: version(package) for package in PACKAGES},
        "exporter": exporter_sha256(),
        "options": asdict(options),
    }
    text = json.dumps([FORMAT_VERSION, parts], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    return {**parts, "license": checkpoint.license, "key": key}


def exporter_sha256(root: Path = ROOT) -> str:
    """Hash the code that makes graphs: a checkout changes without a new version.

    Every room counts but shapes/, which trains the embedded checkpoint, and so does every folder of
    families.
    """
    sources = [path for path in root.rglob("*.py") if path.relative_to(root).parts[0] != "shapes"]
    added = [path for folder in families.__path__ for path in Path(folder).glob("*.py")]
    names = {path: path.relative_to(root).as_posix() for path in sources}
    names |= {path: f"families/{path.name}" for path in added if ROOT not in path.parents}
    digest = hashlib.sha256()
    for path in sorted(names, key=names.__getitem__):
        digest.update(names[path].encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _export(
    checkpoint: Checkpoint,
    out: Path,
    options: ExportOptions,
    provenance: Mapping[str, Any],
    work: WorkFolder,
    watch: Watch,
    signer: Signer,
) -> ExportReport:
    # Imported here because they import torch, and an export with nothing to do must not.
    from trt_export.networks.description import describe
    from trt_export.onnx_graphs.to_onnx import read_specs
    from trt_export.onnx_graphs.tracing import Tracing

    seconds: dict[str, float] = {}

    def stage(name: str, task: Callable[[], Any]) -> Any:
        watch(name)
        started = time.perf_counter()
        result = work.stage(name, task)
        give_back()
        seconds[name] = time.perf_counter() - started
        return result

    description = describe(checkpoint)
    limits = limits_of(description, options)
    defaults = defaults_of(checkpoint, description, options)
    tracing = Tracing(checkpoint, options.precision)
    names = checkpoint.family.graphs
    wide = tracing.wide = stage("reference", partial(_save_reference, tracing, work))
    preview = stage("preview", tracing.preview)
    for name in names:
        stage(f"trace {name}", partial(tracing.trace, name, work.path))
    graphs = {name: read_specs(name, work.path) for name in names}
    parity = [
        row
        for name, graph in graphs.items()
        for row in stage(f"check {name}", partial(_check, work, name, graph))
    ]
    watch("write")
    for tokenizer in filter(None, (description.tokenizer, description.tokenizer_2)):
        tokenizer.write(work.path)
    bundle = Bundle(
        path=work.path,
        model=description.model,
        defaults=defaults,
        precision=options.precision,
        graphs=graphs,
        limits=limits,
        schedule=description.schedule,
        tokenizer=description.tokenizer.spec if description.tokenizer else None,
        tokenizer_2=description.tokenizer_2.spec if description.tokenizer_2 else None,
        provenance=provenance,
        preview=tuple(map(tuple, preview)),
        files=_describe_files(work.path),
    )
    signer.write_manifest(bundle)
    if checkpoint.family.reference:
        check = partial(_check_picture, work, checkpoint.family.reference)
        parity.append(stage("check picture", check))
    watch("publish")
    work.publish(out)
    stay = [f"{graph} stays float32: {why}." for graph, why in wide.items()]
    return ExportReport(
        bundle=replace(bundle, path=out),
        exported=True,
        seconds=seconds,
        parity=tuple(parity),
        notes=(*description.notes, *stay),
    )


def _save_reference(tracing: "Tracing", work: WorkFolder) -> dict[str, str]:
    """Keep what the networks answer; the graphs that stay float32 → why."""
    from safetensors.torch import save

    reference = tracing.reference()
    for name, (inputs, outputs) in reference.graphs.items():
        for kind, tensors in (("inputs", inputs), ("outputs", outputs)):
            packed = {tensor: value.contiguous() for tensor, value in tensors.items()}
            path = work.scratch / f"{name}.{kind}.safetensors"
            path.write_bytes(save(packed))  # save_file's error of a full disk names no file
    if reference.drawing:
        reference.drawing.save(work.scratch)
    return dict(tracing.wide)


def _check_picture(work: WorkFolder, reference: str) -> dict[str, Any]:
    from trt_export.networks.reference.pipeline import Drawing
    from trt_export.onnx_graphs.picture import check_picture

    return asdict(check_picture(work.path, reference, Drawing.load(work.scratch)))


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


def limits_of(description: "Description", options: ExportOptions) -> Limits:
    """What the graphs will accept; InvalidInputError if that leaves out the native size."""
    factor, defaults = description.model.vae_scale_factor, description.defaults
    native = max(defaults.height, defaults.width)
    low, high = description.min_latents * factor, options.max_size or 4 * native
    if high < native or high % factor:
        raise InvalidInputError(
            f"--max-size {high}: must be a multiple of {factor} that allows the native size of "
            f"{defaults.width}x{defaults.height} pixels."
        )
    return Limits(batch=(1, options.max_batch), height=(low, high), width=(low, high))


def defaults_of(
    checkpoint: Checkpoint, description: "Description", options: ExportOptions
) -> Defaults:
    """The bundle's defaults; InvalidInputError for an option that no call could have."""
    from trt_export.networks.defaults import choose_defaults

    steps, scale = options.num_inference_steps, options.guidance_scale
    return choose_defaults(checkpoint, description.defaults, description.schedule, steps, scale)


def _describe_files(folder: Path) -> dict[str, FileSpec]:
    files = sorted(path for top in FOLDERS for path in (folder / top).glob("*"))
    return {
        path.relative_to(folder).as_posix(): FileSpec(path.stat().st_size, file_sha256(path))
        for path in files
    }
