"""Jobs: the pictures that a command shall make, and the batches in which they are made."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.capabilities import takes_prompts
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.sources import NO_SOURCES, Sources
from trt_pipeline.pipelines.checks import check
from trt_pipeline.pipelines.pipeline import Pipeline
from trt_pipeline.pipelines.request import Request
from trt_pipeline.sampling.noise import image_seeds
from trt_pipeline.settings import SETTINGS, Settings
from trt_pipeline.text.prompts import as_mixtures

if TYPE_CHECKING:
    from PIL.Image import Image

FILES = ("image", "mask_image")
EACH = [row.name for row in SETTINGS.values() if row.scope == "picture" and row.name not in FILES]
"""Settings that each picture of a call has its own of."""
SHARED = [row.name for row in SETTINGS.values() if row.scope == "call"]
"""Settings that all pictures of a call share."""

CHECKED_AT_ONCE = 10_000
"""Jobs whose settings are checked together; one by one they would take a millisecond each."""


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to make."""

    settings: Settings
    origin: str = ""
    """The line of a prompt file that asks for it, to name in errors."""
    name: str = ""
    """Its file's name without suffix; "" is the folder's next free number."""
    any_seed: bool = False
    """Whether its seed was drawn because none was given."""
    sources: Sources = NO_SOURCES
    """The files that it begins with; the settings have their hashes."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, once it is checked."""
        return self.settings.width or 0, self.settings.height or 0


def prompt_jobs(
    prompts: Sequence[str],
    base: Settings,
    count: int,
    seed: int | None,
    sources: Sources = NO_SOURCES,
) -> list[Job]:
    """Make `count` pictures of each prompt with settings like base; seeds count up from the first.

    seed: the first; None draws it.
    """
    as_mixtures(list(prompts))
    repeated = [prompt for prompt in prompts for _ in range(count)]
    seeds = image_seeds(seed, len(repeated))
    return [
        Job(replace(base, prompt=prompt, seed=one), any_seed=seed is None, sources=sources)
        for prompt, one in zip(repeated, seeds, strict=True)
    ]


def checked_jobs(bundle: Bundle, jobs: Sequence[Job]) -> list[Job]:
    """The jobs, with the bundle's defaults where they leave a setting out; runs no graph.

    InvalidInputError for a job that the bundle cannot do.
    """
    checked: dict[Job, Job] = {}
    for group in batched(jobs, CHECKED_AT_ONCE):
        # Each picture of a call has its own copy of the pixels that it begins with.
        size = bundle.limits.batch[1] if group[0].sources.image else CHECKED_AT_ONCE
        for batch in batched(group, size):
            checked |= _checked_batch(bundle, batch)
    return [checked[job] for job in jobs]


def _checked_batch(bundle: Bundle, batch: Sequence[Job]) -> dict[Job, Job]:
    try:
        call = check(bundle, Request(**_arguments(bundle, batch)))
    except InvalidInputError:
        for job in batch:
            _check_alone(bundle, job)
        raise
    recorded = batch[0].sources.traced(replace(call.settings, model=bundle.model.name))
    return {
        job: _resolved(job, recorded, picture.scale)
        for job, picture in zip(batch, call.pictures, strict=True)
    }


def _check_alone(bundle: Bundle, job: Job) -> None:
    """InvalidInputError that names the line of the job."""
    try:
        check(bundle, Request(**_arguments(bundle, [job])))
    except InvalidInputError as error:
        where = f"{job.origin}: " if job.origin else ""
        raise InvalidInputError(f"{where}{error}") from None


def _resolved(job: Job, recorded: Settings, scale: float) -> Job:
    """The job with all that its picture will record."""
    own = {name: getattr(job.settings, name) for name in EACH}
    return replace(job, settings=replace(recorded, **{**own, "guidance_scale": scale}))


def batched(jobs: Iterable[Job], size: int) -> list[list[Job]]:
    """Jobs with equal shared settings together, at most `size`; otherwise in their order."""
    alike: dict[Any, list[Job]] = {}
    shared = attrgetter(*SHARED)
    for job in jobs:
        alike.setdefault((shared(job.settings), job.sources), []).append(job)
    return [
        group[start : start + size]
        for group in alike.values()
        for start in range(0, len(group), size)
    ]


def count_steps(bundle: Bundle, batches: Iterable[Sequence[Job]]) -> int:
    """How often the denoiser will run."""
    calls = (check(bundle, Request(**_arguments(bundle, batch))) for batch in batches)
    return sum(len(call.table.timesteps) for call in calls)


def run_batches(
    pipe: Pipeline, batches: Iterable[Sequence[Job]], advance: Callable[[], None] | None
) -> "Iterator[tuple[Job, Image]]":
    """Every job's picture, batch after batch, so that finished ones are on disk early.

    advance: called after each step.
    """

    def counted(steps: range) -> Iterator[int]:
        for step in steps:
            yield step
            if advance:
                advance()

    for batch in batches:
        images = pipe(**_arguments(pipe.bundle, batch), progress_bar=counted).images
        yield from zip(batch, images, strict=True)


def _arguments(bundle: Bundle, batch: Sequence[Job]) -> dict[str, Any]:
    """What to call the pipeline with."""
    first = batch[0]
    each = {name: [getattr(job.settings, name) for job in batch] for name in EACH}
    shared = {name: getattr(first.settings, name) for name in SHARED}
    files = {"image": first.sources.image, "mask_image": first.sources.mask_image}
    alike = {name: values[0] for name, values in each.items() if len({*values}) == 1}
    if takes_prompts(bundle):
        alike.pop("prompt", None)
    elif alike.get("prompt") == "":
        alike |= {"prompt": None, "num_images_per_prompt": len(batch)}
    return {**each, **shared, **files, **alike, "seed": each["seed"]}
