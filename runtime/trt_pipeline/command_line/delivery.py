"""Delivery: finished pictures to their files and into the grid, and their paths to stdout."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from PIL import Image

from trt_pipeline.command_line.destinations import Destination
from trt_pipeline.command_line.jobs import Job
from trt_pipeline.pictures.grid import PictureGrid
from trt_pipeline.pictures.images import Encoding, save_picture


@dataclass(frozen=True, slots=True)
class GridFile:
    """The picture that shows all pictures of a call."""

    path: Path
    grid: PictureGrid
    encoding: Encoding
    force: bool

    def save(self) -> Path:
        """Write it and return its path."""
        return save_picture(self.grid.image, self.path, None, self.encoding, overwrite=self.force)


class Delivery:
    """Puts finished pictures where they belong and prints where that is."""

    def __init__(
        self,
        jobs: Sequence[Job],
        destination: Destination | None,
        grid: GridFile | None,
        as_json: bool,
    ) -> None:
        self._numbers = {job: number for number, job in enumerate(jobs)}
        self._destination = destination
        self._grid = grid
        self._as_json = as_json
        self._entries: list[dict[str, Any]] = []

    def keep(self, job: Job, path: Path) -> None:
        """Take a picture that is there already."""
        with Image.open(path) as image:
            self._add(job, image, path)

    def add(self, job: Job, image: Image.Image) -> None:
        """Take a new picture."""
        path = self._destination.save(image, job) if self._destination else None
        self._add(job, image, path)

    def _add(self, job: Job, image: Image.Image, path: Path | None) -> None:
        entry: dict[str, Any] = {}
        if path:
            entry["path"] = str(path)
            if not self._as_json:
                click.echo(path)
        if self._grid:
            number = self._numbers[job]
            self._grid.grid.paste(number, image, job.settings.prompt)
            row, column = self._grid.grid.place(number)
            entry |= {"grid": str(self._grid.path), "row": row, "column": column}
        self._entries.append(entry | asdict(job.settings))

    def finish(self) -> None:
        """Write the grid and print what is left to print."""
        if self._grid:
            path = self._grid.save()
            if not self._as_json:
                click.echo(path)
        if self._as_json:
            click.echo(json.dumps(self._entries, indent=1))
