"""Scenes: what is being done when a fault happens."""

import shutil
from pathlib import Path

from trt_export.publishing.work_folder import WorkFolder, clear_remains, remains
from trt_pipeline.archive.packing import pack
from trt_pipeline.archive.unpacking import unpack
from trt_pipeline.bundle import load_bundle
from trt_pipeline.bundle.names import MANIFEST
from trt_pipeline.durable import write_synced
from trt_pipeline.locking import one_at_a_time


def pack_it(bundle: Path, archive: Path) -> None:
    """Write an archive."""
    pack(bundle, archive)


def unpack_it(archive: Path, folder: Path) -> None:
    """Make a bundle of an archive."""
    unpack(archive, folder)


def replace_it(new: Path, target: Path) -> None:
    """Replace a bundle by another one, in two stages, as an export does."""
    content = (new / MANIFEST).read_bytes()
    if (target / MANIFEST).read_bytes() == content and not remains(target):
        return
    with one_at_a_time(target):
        if (target / MANIFEST).read_bytes() == content:
            clear_remains(target)
            return
        work = WorkFolder.open(target, "key")
        work.stage("onnx", lambda: copy_into(new / "onnx", work.path / "onnx"))
        work.stage("vocabulary", lambda: copy_into(new / "vocab.txt", work.path / "vocab.txt"))
        write_synced(work.path / MANIFEST, content)
        work.publish(target)


def copy_into(source: Path, target: Path) -> None:
    """Copy a file or a folder, over what is there."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def is_whole(folder: Path) -> bool:
    """Whether there is a bundle; IntegrityError for half of one."""
    return folder.exists() and bool(load_bundle(folder).files)
