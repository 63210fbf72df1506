"""WorkFolder: where an export grows until it is whole; a killed export goes on from there."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_pipeline.durable import claim, exchange, sync, sync_tree, write_synced

RECORDS = "stages"
KEY = "key"


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """A folder beside the target, named after it. It holds the target's files and one record for
    every finished stage."""

    path: Path

    @classmethod
    def open(cls, target: Path, key: str) -> "WorkFolder":
        """Continue the folder of an earlier run with the same key, or begin an empty one."""
        path = _partial(target)
        claim(path)
        found = path / RECORDS / KEY
        if not (found.is_file() and found.read_text() == key):
            shutil.rmtree(path, ignore_errors=True)
            found.parent.mkdir(parents=True)
            write_synced(found, key.encode())
        return cls(path)

    @property
    def scratch(self) -> Path:
        """Where a stage keeps what a later stage needs and the target does not."""
        return self.path / RECORDS

    def is_done(self, stage: str) -> bool:
        """Whether a stage finished in this run or an earlier one."""
        return self._record(stage).is_file()

    def stage(self, name: str, work: Callable[[], Any]) -> Any:
        """Do a stage unless it is done; its JSON-able result either way."""
        if self.is_done(name):
            return json.loads(self._record(name).read_text())
        result = work()
        sync_tree(self.path)
        write_synced(self._record(name), json.dumps(result).encode())
        return json.loads(self._record(name).read_text())

    def publish(self, target: Path) -> None:
        """Give the finished files the target's name; the folder that had it before is removed."""
        sync_tree(self.path)
        if not target.exists():
            self.path.rename(target)
        elif not exchange(self.path, target):
            shutil.rmtree(_retired(target), ignore_errors=True)
            target.rename(_retired(target))
            self.path.rename(target)
        sync(target.parent)
        clear_remains(target)

    def discard(self) -> None:
        """Remove the folder and what it holds."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _record(self, stage: str) -> Path:
        return self.path / RECORDS / f"{stage}.json"


def standing(target: Path) -> Path:
    """Where the bundle of a target is: aside, if a run was killed between publish's renames."""
    return target if target.exists() or not _retired(target).exists() else _retired(target)


def restore(target: Path) -> None:
    """Give a bundle that is aside its name again."""
    if standing(target) != target:
        standing(target).rename(target)


def remains(target: Path) -> list[Path]:
    """What was left behind by a run that was killed after its target was whole."""
    partial = _partial(target)
    exchanged = [] if (partial / RECORDS / KEY).is_file() else [partial]
    folders = (target / RECORDS, _retired(target), *exchanged)
    return [path for path in (*folders, *target.glob(".*.new")) if path.exists()]


def clear_remains(target: Path) -> None:
    """Remove what a killed run has left behind."""
    for path in remains(target):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _retired(target: Path) -> Path:
    return target.with_name(f".{target.name}.retired")
