"""The trt-pipeline command."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import get_completion_class
from PIL.Image import Image

from trt_pipeline import console
from trt_pipeline.backends import BACKENDS
from trt_pipeline.bundle import Bundle, load_bundle, manifest_json
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.images import Settings, save_numbered, save_png
from trt_pipeline.manifest import FileSpec, TensorSpec
from trt_pipeline.noise import image_seeds
from trt_pipeline.pipeline import Pipeline, trt_pipeline
from trt_pipeline.prompts import as_mixtures
from trt_pipeline.samplers import SAMPLERS
from trt_pipeline.schedule import SCHEDULES
from trt_pipeline.version import package_version

BUNDLE = click.Path(path_type=Path, file_okay=False)


def main() -> NoReturn:
    """Entry point of the console script."""
    sys.exit(console.run(cli))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_version(), prog_name="trt-pipeline")
def cli() -> None:
    """Make pictures from prompts with an exported bundle.

    Exit status: 0 done, 1 failure, 2 usage or bad input, 130 interrupted.
    """


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to make."""

    prompt: str
    seed: int


@cli.command()
@click.argument("prompts", metavar="PROMPT...", nargs=-1, required=True)
@click.option("--bundle", type=BUNDLE, required=True, help="Folder that export-all wrote.")
@click.option("--seed", type=int, help="Of the first picture; the next take the numbers after it.")
@click.option("--steps", "--num-inference-steps", "num_inference_steps", default=50)
@click.option("--guidance-scale", default=1.0)
@click.option("--sampler", type=click.Choice(tuple(SAMPLERS)), default="ddim")
@click.option("--schedule", type=click.Choice(SCHEDULES), default="published")
@click.option("--negative-prompt", default="", help="What guidance leads away from.")
@click.option("--eta", default=0.0, help="0 is deterministic DDIM, 1 is DDPM.")
@click.option("--count", type=click.IntRange(1, 10000), default=1, help="Pictures for each prompt.")
@click.option("--height", type=int, help="Pixels; the model's own by default.")
@click.option("--width", type=int, help="Pixels; the model's own by default.")
@click.option("--backend", help=f"One of: {', '.join(BACKENDS)}. The best available by default.")
@click.option("--threads", type=int, help="For arithmetic on the CPU; all by default.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="A folder, for numbered pictures, or one picture's file name.",
)
@click.option("--force", is_flag=True, help="Replace the output file.")
@click.option("--no-progress", is_flag=True, help="Show no progress.")
@json_option
@console.debug_option
def generate(
    prompts: tuple[str, ...],
    bundle: Path,
    seed: int | None,
    count: int,
    backend: str | None,
    threads: int | None,
    output: Path,
    force: bool,
    no_progress: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Make a picture of each PROMPT and print the files' paths."""
    jobs = _jobs(prompts, count, seed)
    save = _saver(output, len(jobs), force)
    made: list[dict[str, Any]] = []
    with ExitStack() as stack:
        bar = None if no_progress else stack.enter_context(console.progress(f"loading {bundle}"))
        pipe = stack.enter_context(trt_pipeline(bundle, backend=backend, threads=threads))
        for picture, image in _pictures(pipe, jobs, settings, bar):
            path = save(image, picture)
            made.append({"path": str(path), **asdict(picture)})
            if not as_json:
                click.echo(path)
    if as_json:
        click.echo(json.dumps(made, indent=1))


def _jobs(prompts: Sequence[str], count: int, seed: int | None) -> list[Job]:
    as_mixtures(list(prompts))
    repeated = [prompt for prompt in prompts for _ in range(count)]
    return [Job(*job) for job in zip(repeated, image_seeds(seed, len(repeated)), strict=True)]


def _saver(output: Path, count: int, force: bool) -> Callable[[Image, Settings], Path]:
    """How to save a picture; what can be known of a bad output is refused before any work."""
    if output.is_dir() or not (output.suffix or output.exists()):
        above = (output, *output.absolute().parents)
        _check_writable(next(folder for folder in above if folder.exists()))
        return lambda image, picture: save_numbered(image, output, picture)
    if output.suffix.lower() != ".png":
        raise InvalidInputError(
            f"output {output}: a name with a suffix is a picture's, and pictures are .png files."
        )
    if count > 1:
        raise InvalidInputError(f"output {output} is one file for {count} pictures; name a folder.")
    if not output.parent.is_dir():
        raise InvalidInputError(f"output {output}: there is no folder {output.parent}.")
    _check_writable(output.parent)
    if output.exists() and not force:
        raise InvalidInputError(f"output {output} exists; --force replaces it.")
    return lambda image, picture: save_png(image, output, picture, overwrite=force)


def _check_writable(folder: Path) -> None:
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise InvalidInputError(f"output: {folder} is no folder that can be written to.")


def _pictures(
    pipe: Pipeline, jobs: Sequence[Job], settings: dict[str, Any], bar: console.Progress | None
) -> Iterator[tuple[Settings, Image]]:
    """Every job's picture, batch after batch, so that finished ones are on disk early."""
    most = pipe.bundle.limits.batch[1]
    batches = [jobs[start : start + most] for start in range(0, len(jobs), most)]
    if bar is not None:
        steps = settings["num_inference_steps"] * len(batches)
        bar.describe(f"generating {len(jobs)} pictures", total=steps)
    for batch in batches:
        images = pipe(
            [job.prompt for job in batch],
            seed=[job.seed for job in batch],
            progress_bar=False if bar is None else partial(_counted, bar),
            **settings,
        ).images
        for job, image in zip(batch, images, strict=True):
            yield _settings(pipe, job, image, settings), image


def _counted(bar: console.Progress, steps: range) -> Iterator[int]:
    for step in steps:
        yield step
        bar.advance()


def _settings(pipe: Pipeline, job: Job, image: Image, settings: dict[str, Any]) -> Settings:
    size = {"width": image.width, "height": image.height}
    return Settings(job.prompt, job.seed, model=pipe.bundle.model.name, **{**settings, **size})


@cli.command()
@click.argument("bundle", type=BUNDLE)
@json_option
@console.debug_option
def inspect(bundle: Path, as_json: bool) -> None:
    """Print what BUNDLE holds: graphs, shapes, sizes, precision, provenance."""
    loaded = load_bundle(bundle, verify="manifest")
    click.echo(manifest_json(loaded) if as_json else "\n".join(_summary(loaded)), nl=not as_json)


def _summary(bundle: Bundle) -> Iterator[str]:
    model, limits, schedule = bundle.model, bundle.limits, bundle.schedule
    yield f"{model.name} ({model.pipeline}), {_megabytes(bundle.files)} in {bundle.path}"
    yield f"weights    {bundle.precision}"
    yield f"picture    {model.width} × {model.height} pixels"
    for name, (low, high) in asdict(limits).items():
        yield f"{name:10} {low}..{high}"
    yield (
        f"schedule   {len(schedule.alphas_cumprod)} timesteps, {schedule.prediction_type}, "
        f"{schedule.timestep_spacing}, steps_offset {schedule.steps_offset}"
    )
    yield f"tokenizer  {bundle.tokenizer.vocab}, {bundle.tokenizer.max_length} tokens"
    for name, precisions in bundle.graphs.items():
        for precision, graph in precisions.items():
            size = _megabytes({path: bundle.files[path] for path in (graph.path, graph.weights)})
            yield f"\n{name} {precision}, {size}"
            yield from (f"  in   {_tensor(tensor)}" for tensor in graph.inputs)
            yield from (f"  out  {_tensor(tensor)}" for tensor in graph.outputs)
    for engine in bundle.engines:
        key, size = engine.key, _megabytes({engine.path: bundle.files[engine.path]})
        yield f"\n{engine.graph} {key.flavour} {key.version} for {key.compute_capability}, {size}"
        yield from (
            f"  in   {name} {s.least} {s.typical} {s.most}" for name, s in key.profile.items()
        )
    yield f"\nprovenance {json.dumps(bundle.provenance, indent=1)}"


def _megabytes(files: Mapping[str, FileSpec]) -> str:
    return f"{sum(file.size for file in files.values()) / 1e6:.1f} MB"


def _tensor(tensor: TensorSpec) -> str:
    return f"{tensor.name} {tensor.dtype} [{', '.join(map(str, tensor.shape))}]"


@cli.command()
@click.argument("bundle", type=BUNDLE)
@json_option
@console.debug_option
def verify(bundle: Path, as_json: bool) -> None:
    """Compare size and sha256 of every file of BUNDLE with its manifest."""
    files = load_bundle(bundle, verify="full").files
    size = sum(file.size for file in files.values())
    if as_json:
        click.echo(json.dumps({"bundle": str(bundle), "files": len(files), "bytes": size}))
    else:
        click.echo(f"{bundle}: {len(files)} files, {_megabytes(files)}, all as listed")


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL, to be evaluated by it.

    For bash: eval "$(trt-pipeline completion bash)"
    """
    complete = get_completion_class(shell)
    if complete is None:
        raise InvalidInputError(f"click cannot complete in {shell}.")
    click.echo(complete(cli, {}, "trt-pipeline", "_TRT_PIPELINE_COMPLETE").source())
