"""WorkFolder: where an export grows until it is whole, so that a killed one can go on."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        path = target.with_name(f".{target.name}.partial")
        if _retired(target).exists() and not target.exists():
            _retired(target).rename(target)  # a run was killed between the renames of publish
        found = path / RECORDS / KEY
        if not (found.is_file() and found.read_text() == key):
            shutil.rmtree(path, ignore_errors=True)
            found.parent.mkdir(parents=True)
            write_synced(found, key.encode())
        return cls(path)

    @property
    def scratch(self) -> Path:
        """Where stages leave what later ones need and the target does not."""
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
        """Give the finished files the target's name. What had that name before is removed."""
        sync_tree(self.path)
        retired = _retired(target)
        shutil.rmtree(retired, ignore_errors=True)
        if target.exists():
            target.rename(retired)
        self.path.rename(target)
        _sync_folder(target.parent)
        shutil.rmtree(target / RECORDS)
        shutil.rmtree(retired, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder and what it holds."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _record(self, stage: str) -> Path:
        return self.path / RECORDS / f"{stage}.json"


def _retired(target: Path) -> Path:
    return target.with_name(f".{target.name}.retired")


def write_synced(path: Path, content: bytes | memoryview) -> None:
    """Write a file aside, sync it and rename it into place."""
    aside = path.with_name(f".{path.name}.new")
    with aside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    aside.rename(path)
    _sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """Sync every file and folder below a folder to disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(Path(parent) / name)
        _sync_folder(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_sync_folder = _sync
