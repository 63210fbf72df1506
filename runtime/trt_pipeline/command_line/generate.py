"""The generate command: pictures of prompts, of a prompt file or of a picture's own settings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click
from click.core import ParameterSource
from PIL.Image import Image

from trt_pipeline.backends import BACKENDS
from trt_pipeline.bundle import Bundle, load_bundle
from trt_pipeline.command_line import console
from trt_pipeline.command_line.delivery import Delivery, GridFile
from trt_pipeline.command_line.destinations import (
    Destination,
    check_file,
    kept_pictures,
    open_destination,
)
from trt_pipeline.command_line.jobs import (
    Job,
    batched,
    check_jobs,
    count_steps,
    prompt_jobs,
    run_batches,
)
from trt_pipeline.command_line.prompt_files import MAX_COUNT, file_jobs
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.grid import PictureGrid
from trt_pipeline.pictures.images import Encoding, check_sides
from trt_pipeline.pictures.metadata import PictureFormat, Settings, read_settings
from trt_pipeline.pictures.sources import Sources
from trt_pipeline.pipelines.text_to_image import Pipeline, trt_pipeline
from trt_pipeline.sampling.samplers import SAMPLERS
from trt_pipeline.sampling.schedule import SCHEDULES, TIMESTEP_SPACINGS


class OutputPath(click.Path):
    """A path that is not empty, as one from an unset variable would be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; fails for an empty one."""
        if value == "":
            self.fail("it is empty; name a folder or a picture.", param, ctx)
        return super().convert(value, param, ctx)


BUNDLE = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

SETTINGS_OPTIONS = (
    "num_inference_steps",
    "guidance_scale",
    "guidance_interval",
    "negative_prompt",
    "eta",
    "sampler",
    "schedule",
    "timestep_spacing",
    "height",
    "width",
    "strength",
    "vae_tile_size",
    "cache_interval",
)
"""Options that are entries of Settings by the same name."""


@click.command()
@click.argument("prompts", metavar="[PROMPT]...", nargs=-1)
@click.option("--bundle", type=BUNDLE, required=True, help="Folder that export-all wrote.")
@click.option(
    "--from",
    "picture",
    type=EXISTING_FILE,
    help="Repeat this picture with its own settings; other options and a PROMPT override them.",
)
@click.option(
    "--prompts",
    "prompt_file",
    type=EXISTING_FILE,
    help="A .txt file with a prompt a line, where # begins a remark, or a .jsonl file with an "
    "object of settings a line.",
)
@click.option("--seed", type=int, help="Of the first picture; the next take the numbers after it.")
@click.option("--steps", "--num-inference-steps", "num_inference_steps", default=50)
@click.option("--guidance-scale", default=1.0)
@click.option(
    "--guidance-interval",
    type=(float, float),
    default=(0.0, 1.0),
    metavar="START STOP",
    help="The part of the steps that is guided.",
)
@click.option(
    "--sampler", type=click.Choice(tuple(SAMPLERS)), help="The checkpoint's own by default."
)
@click.option("--schedule", type=click.Choice(SCHEDULES), default="published")
@click.option(
    "--timestep-spacing",
    type=click.Choice(TIMESTEP_SPACINGS),
    help="The checkpoint's own by default.",
)
@click.option("--negative-prompt", default="", help="What guidance leads away from.")
@click.option("--eta", default=0.0, help="0 is deterministic DDIM, 1 is DDPM.")
@click.option(
    "--count", type=click.IntRange(1, MAX_COUNT), default=1, help="Pictures for each prompt."
)
@click.option("--height", type=int, help="Pixels; the model's own, or the image's, by default.")
@click.option("--width", type=int, help="Pixels; the model's own, or the image's, by default.")
@click.option("--image", type=EXISTING_FILE, help="A picture to begin with instead of noise.")
@click.option(
    "--strength",
    type=float,
    help="0 to 1, the part of the steps that the image goes through: 0.8, or 1 with a mask.",
)
@click.option("--mask-image", type=EXISTING_FILE, help="White where the image is painted anew.")
@click.option(
    "--cache-interval",
    default=1,
    help="Run the whole denoiser in every so-manyth step only: faster, less exact.",
)
@click.option("--vae-tile-size", type=int, help="Decode in tiles of so many pixels.")
@click.option("--backend", help=f"One of: {', '.join(BACKENDS)}. The best available by default.")
@click.option("--threads", type=int, help="For arithmetic on the CPU; all by default.")
@click.option(
    "-o",
    "--output",
    type=OutputPath(path_type=Path),
    help="A folder, for numbered pictures, or one picture's file name; by default this folder, "
    "or nothing but the grid.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(get_args(PictureFormat)),
    help="Of pictures in a folder, png by default; a file's name says its own.",
)
@click.option("--quality", type=click.IntRange(1, 100), default=95, help="Of WebP and JPEG.")
@click.option("--lossless", is_flag=True, help="Keep every pixel of a WebP.")
@click.option(
    "--no-ai-mark",
    is_flag=True,
    help="Leave out the XMP entry that says a trained model made the picture.",
)
@click.option("--grid", type=FILE, help="Write one picture that shows all of this call.")
@click.option("--grid-captions", is_flag=True, help="Write each prompt above its picture.")
@click.option("--grid-columns", type=click.IntRange(1), help="As many as rows by default.")
@click.option("--resume", is_flag=True, help="Keep what an earlier run of --prompts made.")
@click.option("--force", is_flag=True, help="Replace files that are in the way.")
@click.option("--no-progress", is_flag=True, help="Show no progress.")
@json_option
@console.debug_option
@click.pass_context
def generate(
    context: click.Context,
    /,
    bundle: Path,
    backend: str | None,
    threads: int | None,
    no_progress: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a picture of each PROMPT and print the files' paths.

    With --prompts, of each line of a file; with --from, the same picture again.
    """
    _check_options(options)
    manifest = load_bundle(bundle, verify="manifest")
    jobs = _jobs(context, manifest, options)
    destination, grid = _outputs(jobs, options)
    kept: Mapping[Job, Path] = {}
    if destination and options["prompt_file"]:
        kept = kept_pictures(destination, jobs, options["resume"])
    todo = [job for job in jobs if job not in kept]
    delivery = Delivery(jobs, destination, grid, as_json)
    for job, path in kept.items():
        delivery.keep(job, path)
    with ExitStack() as stack:
        first = f"loading {bundle}" if todo else f"all {len(kept)} pictures are there"
        bar = None if no_progress else stack.enter_context(console.progress(first))
        if todo:
            pipe = stack.enter_context(trt_pipeline(bundle, backend=backend, threads=threads))
            for job, image in _pictures(pipe, todo, len(kept), bar):
                delivery.add(job, image)
    delivery.finish()


def _pictures(
    pipe: Pipeline, jobs: Sequence[Job], kept: int, bar: console.Progress | None
) -> Iterator[tuple[Job, Image]]:
    batches = batched(jobs, pipe.bundle.limits.batch[1])
    if bar:
        text = f"generating {len(jobs)} picture{'s' * (len(jobs) != 1)}" + (
            f", {kept} kept" if kept else ""
        )
        bar.describe(text, total=count_steps(pipe.bundle, batches))
    return run_batches(pipe, batches, bar.advance if bar else None)


def _check_options(options: Mapping[str, Any]) -> None:
    """InvalidInputError for options that do not go together."""
    prompts, picture, prompt_file = (options[n] for n in ("prompts", "picture", "prompt_file"))
    if prompt_file and (prompts or picture):
        other = "PROMPT" if prompts else "--from"
        raise InvalidInputError(f"--prompts and {other} both say what to make; give one.")
    if not (prompts or picture or prompt_file):
        raise InvalidInputError("Missing argument PROMPT, or --prompts FILE or --from PICTURE.")
    for option in ("grid_columns", "grid_captions"):
        if options[option] and not options["grid"]:
            raise InvalidInputError(f"--{option.replace('_', '-')} is given without --grid.")
    if options["resume"] and not prompt_file:
        raise InvalidInputError("--resume is for the pictures of --prompts.")
    if options["resume"] and options["grid"] and not options["output"]:
        raise InvalidInputError("--resume needs -o, the folder that holds the pictures.")


def _jobs(context: click.Context, bundle: Bundle, options: Mapping[str, Any]) -> list[Job]:
    base = _base(context, bundle, options)
    count, seed, prompt_file = (options[n] for n in ("count", "seed", "prompt_file"))
    sources = _sources(options)
    check_jobs(bundle, [Job(base, sources=sources)])
    if prompt_file:
        factor = bundle.model.vae_scale_factor
        jobs = file_jobs(prompt_file, base, count, seed, sources, factor)
    else:
        prompts = options["prompts"] or (base.prompt,)
        repeated = options["picture"] and seed is None
        jobs = prompt_jobs(prompts, base, count, base.seed if repeated else seed, sources)
    check_jobs(bundle, jobs)
    return jobs


def _base(context: click.Context, bundle: Bundle, options: Mapping[str, Any]) -> Settings:
    """The settings that the command line asks for, and with --from the picture's own."""
    model, sources = bundle.model, _sources(options)
    settings = {name: options[name] for name in SETTINGS_OPTIONS}
    given = {
        name: value
        for name, value in settings.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    if not options["picture"]:
        native = {"height": model.height, "width": model.width, "sampler": bundle.schedule.sampler}
        own = {"prompt": "", "seed": 0, "model": model.name}
        base = Settings(**{**settings, **native, **given, **own})
        return sources.traced(sources.sized(base, model.vae_scale_factor, given))
    old = read_settings(options["picture"])
    base = sources.traced(replace(old, model=model.name, **given))
    _compare(options["picture"], old, base)
    return base


def _compare(picture: Path, old: Settings, new: Settings) -> None:
    """Warns of what makes another picture; InvalidInputError if a file it began with is missing."""
    if old.model != new.model:
        _warn(f"{picture} was made with {old.model!r:.80}; {new.model} makes another picture.")
    for name in ("image", "mask_image"):
        began, now = getattr(old, name), getattr(new, name)
        option = f"--{name.replace('_', '-')}"
        if began and not now:
            raise InvalidInputError(
                f"{picture} was made from a picture with the sha256 {began:.12}…; "
                f"give its file with {option}."
            )
        if now and now != began:
            _warn(f"{picture} was not made with this {option}, which makes another picture.")


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)


def _sources(options: Mapping[str, Any]) -> Sources:
    return Sources(options["image"], options["mask_image"])


def _outputs(
    jobs: Sequence[Job], options: Mapping[str, Any]
) -> tuple[Destination | None, GridFile | None]:
    """Where pictures go; the grid alone if it is given without another output."""
    force, output, grid = options["force"], options["output"], options["grid"]
    encoding = Encoding(options["quality"], options["lossless"], not options["no_ai_mark"])
    destination = None
    if output or not grid:
        output = output or Path()
        destination = open_destination(output, len(jobs), options["kind"], encoding, force)
        if destination.is_file and options["prompt_file"]:
            raise InvalidInputError(f"output {output} is one file; --prompts needs a folder.")
        destination.check(jobs)
    if not grid:
        return destination, None
    if destination and destination.may_write(grid):
        raise InvalidInputError(f"output {grid} cannot be a picture's file and the grid's.")
    kind = check_file(grid, force)
    cell = (max(job.settings.width for job in jobs), max(job.settings.height for job in jobs))
    planned = PictureGrid(len(jobs), cell, options["grid_columns"], options["grid_captions"])
    check_sides(planned.size, kind)
    return destination, GridFile(grid, planned, encoding, force)
