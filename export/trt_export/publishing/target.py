"""Target: the folder of a bundle that an export or a build is about to write to."""

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from trt_export.publishing.work_folder import RECORDS
from trt_pipeline.bundle import is_bundle, read_manifest
from trt_pipeline.bundle.manifest import FLAVOURS, QUANTIZED_GRAPH
from trt_pipeline.bundle.names import MANIFEST, SIGNATURE
from trt_pipeline.errors import InvalidInputError

OUR_FOLDERS = (RECORDS, *FLAVOURS)
INT8_FILES = f"onnx/{QUANTIZED_GRAPH}.int8-*"
"""What a killed run may leave in a bundle is ours as well, and so is what is hidden."""


def refuse_foreign(folder: Path) -> None:
    """InvalidInputError if a folder holds what replacing a bundle would destroy."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not is_bundle(folder):
        raise InvalidInputError(f"--out {folder} exists and is not a bundle. Name another folder.")
    listed = read_manifest(folder)["files"]
    for name in _files(folder):
        hidden = any(part.startswith(".") for part in name.split("/"))
        listed_or_beside = name in listed or name in (MANIFEST, SIGNATURE)
        ours = name.partition("/")[0] in OUR_FOLDERS or fnmatch(name, INT8_FILES)
        if not (listed_or_beside or ours or hidden):
            raise InvalidInputError(
                f"--out {folder} holds {name}, which is not part of the bundle and would be lost. "
                "Move it away, or name another folder."
            )


def _files(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        yield from ((Path(parent) / name).relative_to(folder).as_posix() for name in names)
