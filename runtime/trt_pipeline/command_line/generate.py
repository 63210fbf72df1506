"""The generate command: pictures of prompts, of a prompt file or of a picture's settings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import click
from PIL.Image import Image

from trt_pipeline.arguments import counted
from trt_pipeline.backends import BACKENDS
from trt_pipeline.bundle import Bundle, load_bundle
from trt_pipeline.bundle.capabilities import needs_images, takes_prompts
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
    checked_jobs,
    count_steps,
    prompt_jobs,
    run_batches,
)
from trt_pipeline.command_line.prompt_files import MAX_COUNT, file_jobs
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.grid import PictureGrid
from trt_pipeline.pictures.images import QUALITY, Encoding, check_sides, picture_format
from trt_pipeline.pictures.metadata import PictureFormat, read_settings
from trt_pipeline.pictures.sources import Sources
from trt_pipeline.pipelines.pipeline import Pipeline, trt_pipeline
from trt_pipeline.settings import SETTINGS, Kind, Setting, Settings


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

KINDS: Mapping[Kind, Any] = {
    "integer": int,
    "real": float,
    "interval": (float, float),
    "pair": (int, int),
    "text": str,
}
METAVARS: Mapping[Kind, str] = {"interval": "START STOP", "pair": "INTEGER INTEGER"}
OPTIONS = [row for row in SETTINGS.values() if row.name != "prompt"]
"""Settings that are options; the prompt is an argument."""
OVERRIDING = [row.name for row in OPTIONS if row.kind != "file" and row.name != "seed"]
"""Options that replace a setting by the same name."""


def settings_options(command: Any) -> Any:
    """An option for each row of the table of settings."""
    for row in reversed(OPTIONS):
        kind = KINDS.get(row.kind, EXISTING_FILE)
        command = click.option(
            row.option,
            type=click.Choice(row.choices) if row.choices else kind,
            metavar=METAVARS.get(row.kind),
            help=f"{row.help}{_default(row)}",
        )(command)
    return command


def _default(row: Setting) -> str:
    """What a row's help says of its default."""
    if row.default in (None, ""):
        return ""
    values = row.default if isinstance(row.default, tuple) else [row.default]
    return f"  [default: {' '.join(f'{one}' for one in values)}]"


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
@settings_options
@click.option(
    "--count", type=click.IntRange(1, MAX_COUNT), default=1, help="Pictures for each prompt."
)
@click.option("--backend", help=f"One of: {', '.join(BACKENDS)}. The best available by default.")
@click.option("--threads", type=int, help="For arithmetic on the CPU; all by default.")
@click.option(
    "--safety-checker",
    type=click.Choice(["bundle"]),
    help="Turn pictures black that the bundle's safety checker refuses.",
)
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
@click.option(
    "--quality", type=click.IntRange(1, 100), help=f"Of WebP and JPEG; {QUALITY} by default."
)
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
def generate(
    bundle: Path,
    backend: str | None,
    threads: int | None,
    safety_checker: Literal["bundle"] | None,
    no_progress: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a picture of each PROMPT and print the files' paths.

    With --prompts, of each line of a file; with --from, the same picture again. A model without
    prompts takes no PROMPT.
    """
    manifest = load_bundle(bundle, verify="manifest")
    _check_options(manifest, options)
    jobs = _jobs(manifest, options)
    destination, grid = _outputs(jobs, options)
    kept: Mapping[Job, Path] = {}
    if destination and options["prompt_file"]:
        kept = kept_pictures(destination, jobs, options["resume"])
    todo = [job for job in jobs if job not in kept]
    delivery = Delivery(jobs, destination, grid, as_json)
    for job, path in kept.items():
        delivery.keep(job, path)
    with ExitStack() as stack:
        first = f"loading {bundle}" if todo else _all_there(len(kept))
        bar = None if no_progress else stack.enter_context(console.progress(first))
        if todo:
            opened = trt_pipeline(
                bundle, backend=backend, threads=threads, safety_checker=safety_checker
            )
            pipe = stack.enter_context(opened)
            for job, image in _pictures(pipe, todo, len(kept), bar):
                delivery.add(job, image)
    delivery.finish()


def _all_there(kept: int) -> str:
    return "the picture is there" if kept == 1 else f"all {kept} pictures are there"


def _pictures(
    pipe: Pipeline, jobs: Sequence[Job], kept: int, bar: console.Progress | None
) -> Iterator[tuple[Job, Image]]:
    batches = batched(jobs, pipe.bundle.limits.batch[1])
    if bar:
        text = f"generating {counted(len(jobs), 'picture')}" + (f", {kept} kept" if kept else "")
        bar.describe(text, total=count_steps(pipe.bundle, batches))
    return run_batches(pipe, batches, bar.advance if bar else None)


def _check_options(bundle: Bundle, options: Mapping[str, Any]) -> None:
    """InvalidInputError for options that do not go together."""
    prompts, picture, prompt_file = (options[n] for n in ("prompts", "picture", "prompt_file"))
    if prompt_file and (prompts or picture):
        other = "PROMPT" if prompts else "--from"
        raise InvalidInputError(f"--prompts and {other} both say what to make; give one.")
    if takes_prompts(bundle) and not (prompts or picture or prompt_file):
        raise InvalidInputError("Missing argument PROMPT, or --prompts FILE or --from PICTURE.")
    for option in ("grid_columns", "grid_captions"):
        if options[option] and not options["grid"]:
            raise InvalidInputError(f"--{option.replace('_', '-')} is given without --grid.")
    if options["resume"] and not prompt_file:
        raise InvalidInputError("--resume is for the pictures of --prompts.")
    if options["resume"] and options["grid"] and not options["output"]:
        raise InvalidInputError("--resume needs -o, the folder that holds the pictures.")


def _jobs(bundle: Bundle, options: Mapping[str, Any]) -> list[Job]:
    base, sources = _base(bundle, options), _sources(options)
    count, seed, prompt_file = (options[n] for n in ("count", "seed", "prompt_file"))
    if prompt_file:
        if not needs_images(bundle):  # what is wrong with the options is not a line's fault
            checked_jobs(bundle, [Job(replace(base, seed=0), sources=sources)])
        jobs = file_jobs(prompt_file, base, count, seed, sources, takes_prompts(bundle))
    else:
        prompts = options["prompts"] or (base.prompt,)
        repeated = options["picture"] and seed is None
        jobs = prompt_jobs(prompts, base, count, base.seed if repeated else seed, sources)
    return checked_jobs(bundle, jobs)


def _base(bundle: Bundle, options: Mapping[str, Any]) -> Settings:
    """The settings that the command line asks for, and with --from the picture's own."""
    given = {name: options[name] for name in OVERRIDING if options[name] is not None}
    picture: Path | None = options["picture"]
    if picture is None:
        return Settings(**given)
    old = read_settings(picture)
    new = _sources(options).traced(replace(old, model=bundle.model.name, **given))
    _compare(picture, old, new)
    return new


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


def _check_quality(options: Mapping[str, Any], destination: Destination | None) -> None:
    """InvalidInputError for a quality that no picture has."""
    kinds = {destination.kind} if destination else set()
    if options["grid"]:
        kinds.add(picture_format(options["grid"]))
    if options["quality"] and kinds == {"png"}:
        raise InvalidInputError("--quality is for WebP and JPEG; a PNG keeps every pixel.")


def _outputs(
    jobs: Sequence[Job], options: Mapping[str, Any]
) -> tuple[Destination | None, GridFile | None]:
    """Where pictures go; the grid alone if it is given without another output."""
    force, output, grid = options["force"], options["output"], options["grid"]
    quality = options["quality"] or QUALITY
    encoding = Encoding(quality, options["lossless"], not options["no_ai_mark"])
    destination = None
    if output or not grid:
        output = output or Path()
        destination = open_destination(output, len(jobs), options["kind"], encoding, force)
        if destination.is_file and options["prompt_file"]:
            raise InvalidInputError(f"output {output} is one file; --prompts needs a folder.")
        destination.check(jobs)
    if options["kind"] and not destination:
        raise InvalidInputError("--format is for pictures in a folder; a grid's name says its own.")
    _check_quality(options, destination)
    if not grid:
        return destination, None
    if destination and destination.may_write(grid):
        raise InvalidInputError(f"output {grid} cannot be a picture's file and the grid's.")
    kind = check_file(grid, force)
    cell = (max(job.size[0] for job in jobs), max(job.size[1] for job in jobs))
    planned = PictureGrid(len(jobs), cell, options["grid_columns"], options["grid_captions"])
    check_sides(planned.size, kind)
    return destination, GridFile(grid, planned, encoding, force)
