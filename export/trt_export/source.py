"""What a bundle was made from: hashes of the checkpoint's files, and the key they are part of."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_export.checkpoint import Checkpoint
from trt_pipeline.bundle import FORMAT_VERSION, file_sha256

CACHE = ".source.json"


@dataclass(frozen=True, slots=True)
class SourceHashes:
    """sha256 of every file of a checkpoint, with the size and time that it had before hashing.

    Files that look unchanged since the last export to the same folder are not read again:
    gigabytes would take longer than finding nothing to do may.
    """

    states: Mapping[str, Mapping[str, Any]]
    """Path inside the checkpoint → size, mtime_ns, inode and sha256."""

    @classmethod
    def read(cls, checkpoint: Checkpoint, out: Path) -> "SourceHashes":
        """Hash what is new or has changed since the export to a folder."""
        cached, root = _cached(out), checkpoint.path
        files = {path.relative_to(root).as_posix(): path for path in checkpoint.files}
        return cls({name: _hashed(path, cached.get(name)) for name, path in files.items()})

    @property
    def hashes(self) -> dict[str, str]:
        """Path inside the checkpoint → sha256."""
        return {name: state["sha256"] for name, state in self.states.items()}

    def remember(self, out: Path) -> None:
        """Note the hashes in the exported folder, unless they are there."""
        if _cached(out) != self.states:
            (out / CACHE).write_text(json.dumps(self.states))


def run_key(
    hashes: Mapping[str, str], options: Mapping[str, Any], packages: Mapping[str, str]
) -> str:
    """Identifies a bundle's content: same key, same bundle."""
    parts = [FORMAT_VERSION, dict(hashes), dict(options), dict(packages)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _hashed(path: Path, cached: object) -> dict[str, Any]:
    status = path.stat()
    state = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
    if isinstance(cached, dict) and {**cached, **state} == cached and "sha256" in cached:
        return cached
    return {**state, "sha256": file_sha256(path)}


def _cached(out: Path) -> dict[str, Any]:
    try:
        found = json.loads((out / CACHE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
