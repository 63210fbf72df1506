"""Prompt files: a prompt a line in .txt, or JSON objects with settings of their own in .jsonl."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trt_pipeline import arguments
from trt_pipeline.bundle.decoding import decode, strict_json
from trt_pipeline.command_line.jobs import Job
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.sources import NO_SOURCES, Sources
from trt_pipeline.sampling.noise import image_seeds
from trt_pipeline.settings import SETTINGS, Settings

ENTRIES = (*SETTINGS, "count")
"""What a line of a .jsonl file may say."""
MAX_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class PromptLine:
    """One line of a prompt file that is neither empty nor a comment."""

    origin: str
    """File and line number, as errors name them."""
    number: int
    """From 1."""
    entries: Mapping[str, Any]
    """What the line says, by the names in ENTRIES."""


def file_jobs(
    path: Path,
    base: Settings,
    count: int,
    seed: int | None,
    sources: Sources = NO_SOURCES,
    needs_prompt: bool = True,
) -> list[Job]:
    """The pictures that a prompt file asks for, each named by its line and copy: 00012-1.

    base: settings of lines without their own. count: pictures of a line that has no count.
    seed: a line without a seed takes this plus the number of jobs before it; None draws one.
    A line with a seed s and a count makes the pictures s, s + 1, …
    sources: of lines without their own, whose paths are relative to the file's folder.
    needs_prompt: whether every line must have a prompt. InvalidInputError names file and line.
    """
    lines = read_prompt_file(path, needs_prompt)
    counts = [_count(line, count) for line in lines]
    seeds = image_seeds(seed, sum(counts))
    jobs: list[Job] = []
    for line, copies in zip(lines, counts, strict=True):
        settings, files = _settings(line, path.parent, base, sources)
        drawn = line.entries.get("seed") is None
        own = seeds[len(jobs) : len(jobs) + copies] if drawn else _seeds(line, copies)
        jobs += [
            Job(
                settings=replace(settings, seed=one),
                origin=line.origin,
                name=f"{line.number:05d}-{copy}",
                any_seed=drawn and seed is None,
                sources=files,
            )
            for copy, one in enumerate(own, 1)
        ]
    return jobs


def read_prompt_file(path: Path, needs_prompt: bool = True) -> list[PromptLine]:
    """The lines of a prompt file; InvalidInputError names the first that cannot be read."""
    kind = path.suffix.lower()
    if kind not in (".txt", ".jsonl"):
        raise InvalidInputError(
            f"{path}: a prompt file's name ends in .txt (a prompt a line) or .jsonl."
        )
    lines = list(_lines(path, kind == ".jsonl"))
    if not lines:
        raise InvalidInputError(f"{path} holds no prompts.")
    for line in lines:
        if needs_prompt and line.entries.get("prompt") is None:
            raise InvalidInputError(f"{line.origin}: it has no prompt.")
    return lines


def _lines(path: Path, is_json: bool) -> Iterator[PromptLine]:
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        origin = f"{path} line {number}"
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if not text or (text.startswith("#") and not is_json):
                continue
            entries = _entries(text) if is_json else {"prompt": text}
        except ValueError as error:
            raise InvalidInputError(f"{origin}: {error}.") from None
        yield PromptLine(origin, number, entries)


def _entries(text: str) -> Mapping[str, Any]:
    entries = strict_json(text)
    if not isinstance(entries, dict):
        raise ValueError(f"it is {text!r:.80}, expected a JSON object")
    for name in entries:
        if name not in ENTRIES:
            raise ValueError(f"{name!r:.80} is unknown, expected {', '.join(ENTRIES)}")
    return entries


def _count(line: PromptLine, count: int) -> int:
    given = line.entries.get("count")
    name = f"{line.origin}: count"
    return arguments.integer(name, count if given is None else given, 1, MAX_COUNT)


def _seeds(line: PromptLine, count: int) -> tuple[int, ...]:
    try:
        return image_seeds(line.entries["seed"], count)
    except InvalidInputError as error:
        raise InvalidInputError(f"{line.origin}: {error}") from None


def _settings(
    line: PromptLine, folder: Path, base: Settings, sources: Sources
) -> tuple[Settings, Sources]:
    own = {
        name: SETTINGS[name].default if value is None else value
        for name, value in line.entries.items()
        if name != "count"
    }
    try:
        settings = decode(Settings, {**asdict(base), **own}, "settings")
        files = {name: own[name] for name in ("image", "mask_image") if name in own}
        beside = {name: _beside(folder, name, path) for name, path in files.items()}
        return settings, replace(sources, **beside)
    except ValueError as error:
        raise InvalidInputError(f"{line.origin}: {str(error).rstrip('.')}.") from None


def _beside(folder: Path, name: str, path: str | None) -> Path | None:
    """A line's path, relative to the file's folder; null takes none."""
    if path == "":
        raise ValueError(f"{name} is an empty path; leave it out, or give null")
    return None if path is None else folder / path
