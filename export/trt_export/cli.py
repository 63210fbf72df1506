"""The command export-all."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_args

import click

from trt_export.checkpoint.adapters.files import embedding_file, lora_file
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.dry_run import Plan
from trt_export.engines.build import build_engines
from trt_export.engines.options import EngineOptions
from trt_export.engines.profiles import pixel_ranges
from trt_export.engines.targets import engine_targets
from trt_export.export import (
    ExportOptions,
    ExportReport,
    export_checkpoint,
    limits_of,
    stages_of,
)
from trt_export.publishing.signing import UNSIGNED, Signer
from trt_export.summary import table
from trt_pipeline.bundle.manifest import (
    FLAVOURS,
    MAX_SIZE,
    CompatibilityLevel,
    EnginePrecision,
    Flavour,
    Precision,
)
from trt_pipeline.command_line.console import debug_option, printable, progress
from trt_pipeline.flavours import load_flavour


def pixel_range(value: str) -> tuple[int, int]:
    """LOW:HIGH, or one number for both; BadParameter for anything else."""
    low, _, high = value.partition(":")
    if not (low.isdecimal() and (high or low).isdecimal()):
        raise click.BadParameter(f"{value!r} is not LOW:HIGH in pixels.")
    return int(low), int(high or low)


@click.command(name="export-all", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the bundle.  [default: engines/<name of the model>]",
)
@click.option(
    "--replace", is_flag=True, help="Replace the bundle of another checkpoint with all it holds."
)
@click.option(
    "--config",
    type=click.Path(exists=True, path_type=Path),
    help="YAML of a checkpoint file, or a folder in diffusers' layout with its configurations.  "
    "[default: the YAML beside it, or those of the published model]",
)
@click.option(
    "--vocab",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="vocab.txt or tokenizer.json for a file.  [default: vocab.txt beside it, or BERT's]",
)
@click.option(
    "--variant",
    help="Weight files to take, such as fp16 for model.fp16.safetensors.  [default: the plain "
    "ones, or the only variant]",
)
@click.option(
    "--lora",
    "loras",
    multiple=True,
    metavar="FILE[:SCALE]",
    help="LoRA to fuse into the weights, with a scale that is 1 if not given; repeat for more.",
)
@click.option(
    "--embedding",
    "embeddings",
    multiple=True,
    metavar="FILE[:TOKEN]",
    help="Textual inversion to add, under the token that its file names if none is given; repeat "
    "for more.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp16", "fp32"]),
    default="fp16",
    show_default=True,
    help="How weights are stored. fp16 also holds half-precision graphs for GPUs, but for a VAE "
    "beyond float16's range; CPUs compute in float32 either way.",
)
@click.option(
    "--max-batch",
    type=click.IntRange(1, 1024),
    default=16,
    show_default=True,
    help="Largest number of pictures in one call.",
)
@click.option(
    "--max-size",
    type=click.IntRange(8, MAX_SIZE),
    help="Largest height and width in pixels.  [default: 4 × the native size]",
)
@click.option(
    "--tiny-decoder",
    metavar="FOLDER",
    help="Add the decoder of a TAESD, a folder or hub id: faster, less exact, chosen in a call.",
)
@click.option(
    "--safety-checker",
    is_flag=True,
    help="Add the checkpoint's own safety checker, which runs if a pipeline is asked for it.",
)
@click.option(
    "--num-inference-steps",
    type=click.IntRange(1, 1000),
    help="Steps of a call that names none.  [default: what such models are drawn with]",
)
@click.option(
    "--guidance-scale",
    type=click.FloatRange(-1e6, 1e6),
    help="Guidance scale of a call that names none.  [default: what such models are drawn with]",
)
@click.option(
    "--quantize",
    is_flag=True,
    help="Add a denoiser with 8-bit layers, for CPUs; int8 and fp8 engines imply it.",
)
@click.option(
    "--calibration-prompts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Prompts to calibrate --quantize with: a .txt with one on each line, or a .jsonl.  "
    "[default: those of the last calibration, or eight that come with export-all]",
)
@click.option(
    "--engines",
    "flavour",
    type=click.Choice(FLAVOURS),
    help="Build TensorRT engines of this flavour as well.",
)
@click.option(
    "--compute-capability",
    "compute_capabilities",
    multiple=True,
    metavar="X.Y",
    help="GPU to build engines for, such as 8.9; repeat for more.  [default: this machine's]",
)
@click.option(
    "--heights",
    type=pixel_range,
    metavar="LOW:HIGH",
    help="Of engines.  [default: the native height]",
)
@click.option(
    "--widths",
    type=pixel_range,
    metavar="LOW:HIGH",
    help="Of engines.  [default: the native width]",
)
@click.option(
    "--static", is_flag=True, help="Engines for one picture of native size, with guidance, only."
)
@click.option(
    "--engine-precision",
    type=click.Choice([one for one in get_args(EnginePrecision) if one != "fp32"]),
    default="fp16",
    show_default=True,
    help="Arithmetic of engines. bf16 has the range of float32, and an eighth of fp16's accuracy; "
    "int8 and fp8 are for the denoiser alone, and change pictures more.",
)
@click.option(
    "--optimization-level",
    type=click.IntRange(0, 5),
    default=3,
    show_default=True,
    help="Of engines: 0 builds fastest, 5 searches longest.",
)
@click.option(
    "--hardware-compatibility-level",
    type=click.Choice(get_args(CompatibilityLevel)),
    default="none",
    show_default=True,
    help="Other GPUs to build engines for. ampere_plus: compute capability 8.0 and newer.",
)
@click.option(
    "--version-compatible",
    is_flag=True,
    help="Build engines that later releases of the same major version of TensorRT can load.",
)
@click.option(
    "--sign",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Sign the bundle with this private Ed25519 key, a PEM file.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@debug_option
def command(
    model: str | None,
    out: Path | None,
    replace: bool,
    config: Path | None,
    vocab: Path | None,
    variant: str | None,
    loras: tuple[str, ...],
    embeddings: tuple[str, ...],
    precision: str,
    max_batch: int,
    max_size: int | None,
    tiny_decoder: str | None,
    safety_checker: bool,
    num_inference_steps: int | None,
    guidance_scale: float | None,
    quantize: bool,
    calibration_prompts: Path | None,
    flavour: Flavour | None,
    sign: Path | None,
    dry_run: bool,
    as_json: bool,
    **engine_options: Any,
) -> None:
    """Turn MODEL into a bundle that trt-pipeline runs.

    MODEL is a folder in diffusers' layout, a single file such as model.safetensors or model.ckpt,
    or a hub id such as CompVis/ldm-text2im-large-256; without it, the small checkpoint that ships
    with this package is exported. Only new or changed checkpoints are exported, and an interrupted
    export goes on where it was.
    """
    engines = _engine_options(flavour, precision, engine_options)
    quantize |= bool(engines and engines.eight_bits)
    signer = Signer.from_file(sign) if sign else UNSIGNED
    checkpoint = open_checkpoint(
        model,
        config=config,
        vocab=vocab,
        variant=variant,
        download=not dry_run,
        loras=[lora_file(one) for one in loras],
        embeddings=[embedding_file(one) for one in embeddings],
        tiny_decoder=tiny_decoder,
        safety_checker=safety_checker,
    )
    prompts = _calibration_prompts(checkpoint, calibration_prompts) if quantize else None
    if calibration_prompts and not quantize:
        raise click.UsageError("--calibration-prompts needs --quantize, or int8 or fp8 engines.")
    out = out or Path("engines") / checkpoint.name
    options = ExportOptions(
        cast(Precision, precision), max_batch, max_size, num_inference_steps, guidance_scale
    )
    if engines and (engines.heights or engines.widths):
        _check_sizes(checkpoint, options, engines)
    if dry_run:
        plan = Plan(checkpoint, out, replace, options, engines, quantize, prompts)
        summary = plan.summary()
        _say(plan.notes())
    else:
        report = _export(checkpoint, out, replace, options, signer)
        _say(report.notes)
        summary = _summary(report)
        if quantize:
            summary["quantized"] = _quantize(out, prompts, signer)
        if engines:
            summary["engines"] = _build(out, engines, signer)
        if sign:
            summary["signed_with"] = str(sign)
    click.echo(json.dumps(summary, indent=1) if as_json else printable(table(summary)))


def _engine_options(
    flavour: Flavour | None, precision: str, chosen: Mapping[str, Any]
) -> EngineOptions | None:
    """The options of engines; what cannot be built is refused before the export begins."""
    if flavour is None:
        plain = asdict(EngineOptions("tensorrt_rtx"))
        if any(value != plain[name] for name, value in chosen.items()):
            raise click.UsageError("options of engines need --engines.")
        return None
    if precision != "fp16":
        raise click.UsageError("--engines are built from half precision: leave --precision fp16.")
    options = EngineOptions(flavour, **chosen)
    engine_targets(load_flavour(flavour), options)
    return options


def _calibration_prompts(checkpoint: Checkpoint, path: Path | None) -> list[str] | None:
    """The user's prompts; a model that cannot be calibrated is refused before the export begins."""
    from trt_export.quantization.bundles import read_prompts
    from trt_export.quantization.calibration import check_condition

    check_condition(checkpoint.name, checkpoint.family.condition)
    return read_prompts(path) if path else None


def _check_sizes(checkpoint: Checkpoint, options: ExportOptions, engines: EngineOptions) -> None:
    """InvalidInputError for engines of sizes outside the bundle's limits."""
    from trt_export.networks.description import describe

    description = describe(checkpoint)
    limits, factor = limits_of(description, options), description.model.vae_scale_factor
    pixel_ranges(description.defaults, limits, factor, engines)


def _export(
    checkpoint: Checkpoint, out: Path, replace: bool, options: ExportOptions, signer: Signer
) -> ExportReport:
    stages = stages_of(checkpoint)
    with progress(f"export {checkpoint.name}", total=sum(stages.values())) as bar:
        before = 0

        def watch(stage: str) -> None:
            nonlocal before
            if before:
                bar.advance(before)
            bar.describe(stage)
            before = stages.get(stage, 0)

        return export_checkpoint(checkpoint, out, options, watch, signer, replace_other=replace)


def _quantize(out: Path, prompts: list[str] | None, signer: Signer) -> list[dict[str, Any]]:
    from trt_export.quantization.bundles import PROMPTS, quantize_bundle, read_prompts

    pictures = len(prompts or read_prompts(PROMPTS))
    with progress("calibrate denoiser", total=pictures) as bar:
        report = quantize_bundle(out, prompts, bar.advance, signer)
    return [asdict(row) for row in report.parity]


def _build(out: Path, options: EngineOptions, signer: Signer) -> dict[str, Any]:
    with progress(f"build {options.flavour} engines") as bar:
        current = ""

        def watch(engine: str, step: int, steps: int) -> None:
            nonlocal current
            if engine != current:
                current = engine
                bar.describe(engine, total=steps)
            elif step:
                bar.advance()

        report = build_engines(out, options, watch, signer)
    return {
        "built": [engine.path for engine in report.built],
        "kept": [engine.path for engine in report.kept],
    }


def _summary(report: ExportReport) -> dict[str, Any]:
    return {
        "bundle": str(report.bundle.path),
        "exported": report.exported,
        "replaced": report.replaced.document if report.replaced else None,
        "seconds": {name: round(spent, 2) for name, spent in report.seconds.items()},
        "bytes": {name: file.size for name, file in report.bundle.files.items()},
        "parity": list(report.parity),
        "notes": list(report.notes),
    }


def _say(notes: Iterable[str]) -> None:
    for note in notes:
        click.echo(f"note: {printable(note)}", err=True)
