"""What it costs to check the files of a bundle before any is used."""

import time
from dataclasses import dataclass
from pathlib import Path

from trt_pipeline.bundle import Bundle, load_bundle, verify_files


@dataclass(frozen=True, slots=True)
class Verification:
    """The check that opening a bundle begins with, once a process for unchanged files."""

    size: int
    """Bytes of all listed files."""
    seconds: float
    """To hash them; a part of every cold start. The disk's cache has whatever it has."""


def load_verified(path: Path) -> tuple[Bundle, Verification]:
    """Open a bundle as load_bundle does, timed; its errors."""
    bundle = load_bundle(path, verify="none")
    started = time.perf_counter()
    verify_files(path, bundle.files)
    seconds = time.perf_counter() - started
    return bundle, Verification(sum(file.size for file in bundle.files.values()), seconds)
