"""Destinations: where a command's pictures go, and which of them are there already."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from trt_pipeline.command_line.jobs import Job
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.image_inputs import open_picture
from trt_pipeline.pictures.images import (
    Encoding,
    picture_format,
    save_numbered,
    save_picture,
    suffix_of,
)
from trt_pipeline.pictures.metadata import PictureFormat, read_settings, settings_json

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Destination:
    """A folder for pictures, or one picture's file."""

    path: Path
    is_file: bool
    kind: PictureFormat
    encoding: Encoding
    force: bool
    """Whether files may be replaced."""

    def save(self, image: "Image", job: Job) -> Path:
        """Write a job's picture and return its path."""
        if not (self.is_file or job.name):
            return save_numbered(image, self.path, job.settings, self.encoding, self.kind)
        path = self.path_of(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        return save_picture(image, path, job.settings, self.encoding, overwrite=self.force)

    def path_of(self, job: Job) -> Path:
        """The file of a job that has a name, or of the only job."""
        return self.path if self.is_file else self.path / f"{job.name}{suffix_of(self.kind)}"

    def may_write(self, path: Path) -> bool:
        """Whether a job's picture could get this path."""
        if self.is_file:
            return path.resolve() == self.path.resolve()
        numbered = path.stem.replace("-", "").isdecimal()
        return numbered and path.parent.resolve() == self.path.resolve()

    def check(self, jobs: Iterable[Job]) -> None:
        """InvalidInputError for settings that the format has no room for."""
        for job in jobs:
            settings_json(job.settings, self.kind)


def open_destination(
    output: Path, count: int, kind: PictureFormat | None, encoding: Encoding, force: bool
) -> Destination:
    """Where to put `count` pictures; what can be known of a bad output is refused before any work.

    kind: for a folder's pictures, PNG if None; a single file's name says it.
    """
    is_folder = output.is_dir() or not (_names_a_file(output) or output.exists())
    if is_folder:
        above = (output, *output.absolute().parents)
        check_writable(next(folder for folder in above if folder.exists()))
        chosen = kind or "png"
    else:
        chosen = check_file(output, force)
        if kind not in (None, chosen):
            raise InvalidInputError(
                f"output {output} has another suffix than {kind}; drop --format."
            )
        if count > 1:
            raise InvalidInputError(
                f"output {output} is one file for {count} pictures; name a folder."
            )
    if encoding.lossless and chosen == "jpeg":
        raise InvalidInputError("lossless: a JPEG always loses some; write a WebP or a PNG.")
    return Destination(output, not is_folder, chosen, encoding, force)


def _names_a_file(output: Path) -> bool:
    """Whether a name ends as a file's does; the .5 of v1.5 is a version's."""
    return bool(output.suffix) and not output.suffix[1:2].isdecimal()


def check_file(output: Path, force: bool) -> PictureFormat:
    """The format of a file to write; InvalidInputError unless it can be written."""
    kind = picture_format(output)
    if not output.parent.is_dir():
        raise InvalidInputError(f"output {output}: the folder {output.parent} does not exist.")
    check_writable(output.parent)
    if output.is_dir():
        raise InvalidInputError(f"output {output} is a folder, expected a picture's file name.")
    if output.exists() and not force:
        raise InvalidInputError(f"output {output} exists; --force replaces it.")
    return kind


def check_writable(folder: Path) -> None:
    """InvalidInputError unless files can be made in a folder."""
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError:
        raise InvalidInputError(
            f"output: {folder} must be a folder that can be written to."
        ) from None


def kept_pictures(destination: Destination, jobs: Iterable[Job], resume: bool) -> dict[Job, Path]:
    """The jobs with names whose pictures are there with the same settings, and need no work.

    A job whose seed was drawn takes any. Without resume, none is kept.
    InvalidInputError for a file with other settings, or any without resume, unless it may be
    replaced.
    """
    kept = {}
    for job in jobs:
        path = destination.path_of(job)
        if not path.exists():
            continue
        if not resume:
            _refuse(destination, f"{path} exists; --resume keeps pictures that are as wanted")
            continue
        difference = _difference(path, job)
        if difference is None:
            kept[job] = path
        else:
            _refuse(destination, difference)
    return kept


def _refuse(destination: Destination, reason: str) -> None:
    if not destination.force:
        raise InvalidInputError(f"output {reason}; --force replaces it.")


def _difference(path: Path, job: Job) -> str | None:
    """How a file's settings differ from a job's, in words; None if they don't."""
    try:
        there = asdict(read_settings(path))
        open_picture(str(path), path)
    except InvalidInputError as error:
        return str(error).rstrip(".")
    for name, wanted in asdict(job.settings).items():
        if there[name] != wanted and not (name == "seed" and job.any_seed):
            return f"{path} has {name} {there[name]!r:.80}, not {wanted!r:.80}"
    return None
