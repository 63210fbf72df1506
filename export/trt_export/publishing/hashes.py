"""Hashes of files that are remembered for as long as the files look unchanged.

An export with nothing to do must not read gigabytes again to find that out.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trt_pipeline.bundle import Bundle, file_sha256
from trt_pipeline.bundle.integrity import open_regular
from trt_pipeline.bundle.names import MANIFEST
from trt_pipeline.durable import claim
from trt_pipeline.errors import IntegrityError

CACHE = ".hashes.json"
MAX_CACHE_BYTES = 2**22


@dataclass(frozen=True, slots=True)
class Hashes:
    """sha256 of files, with the size, times and inode that each file had before hashing.

    They are kept inside a bundle's folder, but the bundle does not list them.
    """

    known: dict[str, dict[str, Any]]
    """Name → size, mtime_ns, ctime_ns, inode and sha256; no path of this machine may be in a
    bundle."""
    used: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The entries that were asked for."""

    @classmethod
    def remembered(cls, folder: Path) -> "Hashes":
        """What save() left in a bundle's folder; nothing if it cannot be read."""
        try:
            with open_regular(folder / CACHE) as stream:
                found = json.loads(stream.read(MAX_CACHE_BYTES))
        except (OSError, ValueError, RecursionError):
            found = None
        return cls(found if isinstance(found, dict) else {})

    def of(self, name: str, path: Path) -> str:
        """sha256 of a file, which is read only if it is new under this name or looks changed."""
        state = _state(path)
        known = self.known.get(name)
        if not (isinstance(known, dict) and known == {**known, **state} and "sha256" in known):
            known = {**state, "sha256": file_sha256(path)}
        self.known[name] = self.used[name] = known
        return str(known["sha256"])

    def verify(self, bundle: Bundle) -> None:
        """IntegrityError unless every file of a bundle hashes as its manifest says."""
        for name, file in bundle.files.items():
            if self.of(f"bundle/{name}", bundle.path / name) != file.sha256:
                raise IntegrityError(
                    f"{bundle.path}: {name} has another sha256 than {MANIFEST} says. "
                    "Copy the bundle again, or export again."
                )

    def trust(self, bundle: Bundle) -> None:
        """Take the hashes of a bundle that was just written out of its manifest."""
        for name, file in bundle.files.items():
            self.used[f"bundle/{name}"] = {**_state(bundle.path / name), "sha256": file.sha256}

    def save(self, folder: Path) -> None:
        """Remember the hashes that were used, unless they are there or the folder is read-only."""
        if Hashes.remembered(folder).known != self.used:
            with contextlib.suppress(OSError):
                claim(folder / CACHE)
                (folder / CACHE).write_text(json.dumps(self.used))


def _state(path: Path) -> Mapping[str, int]:
    """Whatever writes to a file moves its time of change, which no program can set."""
    status = path.stat()
    times = {"mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
    return {"size": status.st_size, **times, "inode": status.st_ino}
