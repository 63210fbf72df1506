"""Jobs: the pictures that a command shall make, and the batches in which they are made."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from trt_pipeline.bundle import Bundle
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.metadata import Settings
from trt_pipeline.pictures.sources import NO_SOURCES, Sources
from trt_pipeline.pipelines.call import TextCall, check_text_call
from trt_pipeline.pipelines.prompts import as_mixtures
from trt_pipeline.pipelines.text_to_image import Pipeline
from trt_pipeline.sampling.noise import image_seeds

if TYPE_CHECKING:
    from PIL.Image import Image

EACH = ("prompt", "seed", "negative_prompt", "guidance_scale")
"""Settings that each picture of a call has its own of."""
SHARED = (
    "height",
    "width",
    "num_inference_steps",
    "eta",
    "sampler",
    "schedule",
    "timestep_spacing",
    "guidance_interval",
    "strength",
    "vae_tile_size",
    "cache_interval",
)
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


def check_jobs(bundle: Bundle, jobs: Iterable[Job]) -> None:
    """InvalidInputError for a job that the bundle cannot do; runs no graph."""
    for group in batched(jobs, CHECKED_AT_ONCE):
        # Each picture of a call has its own copy of the pixels that it begins with.
        most = bundle.limits.batch[1] if group[0].sources.image else CHECKED_AT_ONCE
        for batch in batched(group, most):
            _check_batch(bundle, batch)


def _check_batch(bundle: Bundle, batch: Sequence[Job]) -> None:
    try:
        _checked_call(bundle, batch)
    except InvalidInputError:
        for job in batch:
            _check_job(bundle, job)
        raise


def _check_job(bundle: Bundle, job: Job) -> None:
    try:
        _checked_call(bundle, [job])
    except InvalidInputError as error:
        where = f"{job.origin}: " if job.origin else ""
        raise InvalidInputError(f"{where}{error}") from None


def batched(jobs: Iterable[Job], most: int) -> list[list[Job]]:
    """Jobs with equal shared settings together, at most so many; otherwise in their order."""
    alike: dict[Any, list[Job]] = {}
    shared = attrgetter(*SHARED)
    for job in jobs:
        alike.setdefault((shared(job.settings), job.sources), []).append(job)
    return [
        group[start : start + most]
        for group in alike.values()
        for start in range(0, len(group), most)
    ]


def count_steps(bundle: Bundle, batches: Iterable[Sequence[Job]]) -> int:
    """How often the denoiser will run."""
    return sum(len(_checked_call(bundle, batch).table.timesteps) for batch in batches)


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
        images = pipe(**_arguments(batch), progress_bar=counted).images
        yield from zip(batch, images, strict=True)


def _checked_call(bundle: Bundle, batch: Sequence[Job]) -> TextCall:
    return check_text_call(bundle, **{**_defaults(), **_arguments(batch)})


def _arguments(batch: Sequence[Job]) -> dict[str, Any]:
    """What to call the pipeline with."""
    first = batch[0]
    return {
        **{name: [getattr(job.settings, name) for job in batch] for name in EACH},
        **{name: getattr(first.settings, name) for name in SHARED},
        "image": first.sources.image,
        "mask_image": first.sources.mask_image,
    }


@cache
def _defaults() -> Mapping[str, Any]:
    """The arguments of a call that leaves everything out."""
    known = inspect.signature(Pipeline.__call__).parameters
    dropped = ("self", "return_dict", "unknown")
    return {name: one.default for name, one in known.items() if name not in dropped}
