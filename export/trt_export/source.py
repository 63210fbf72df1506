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
    """sha256 of every file of a checkpoint. Files that look unchanged since the last export to the
    same folder are not read again: gigabytes would take longer than finding nothing to do may."""

    checkpoint: Checkpoint
    out: Path

    def read(self) -> dict[str, str]:
        """Path inside the checkpoint → sha256."""
        cached = self._cached()
        return {
            name: cached[name]["sha256"]
            if name in cached and _same(cached[name], path)
            else file_sha256(path)
            for name, path in self._files().items()
        }

    def remember(self, hashes: Mapping[str, str]) -> None:
        """Note the files' hashes with their sizes and times in the exported folder."""
        state = {
            name: _state(path) | {"sha256": hashes[name]} for name, path in self._files().items()
        }
        (self.out / CACHE).write_text(json.dumps(state))

    def _files(self) -> dict[str, Path]:
        root = self.checkpoint.path
        return {path.relative_to(root).as_posix(): path for path in self.checkpoint.files}

    def _cached(self) -> dict[str, Any]:
        try:
            found = json.loads((self.out / CACHE).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def run_key(
    hashes: Mapping[str, str], options: Mapping[str, Any], packages: Mapping[str, str]
) -> str:
    """Identifies a bundle's content: same key, same bundle."""
    parts = [FORMAT_VERSION, dict(hashes), dict(options), dict(packages)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _same(cached: Mapping[str, Any], path: Path) -> bool:
    return {name: cached.get(name) for name in ("size", "mtime_ns", "inode")} == _state(path)


def _state(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
