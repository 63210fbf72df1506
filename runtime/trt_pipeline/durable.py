"""Durable: files and folders that a power cut leaves whole, or absent."""

import ctypes
import errno
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of Linux' fcntl.h and fs.h."""


@contextmanager
def naming(path: Path, aside: Path) -> Iterator[None]:
    """Let errors of the file written aside, and those without a name, name the one it becomes."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename in (None, str(aside)):
            error.filename = str(path)
        raise


def write_synced(path: Path, content: bytes | memoryview) -> None:
    """Write a file aside, sync it and rename it into place."""
    write_all_synced(path.parent, {path.name: content})


def write_all_synced(folder: Path, contents: Mapping[str, bytes | memoryview]) -> None:
    """Likewise for files of a folder that belong together: nothing but renames comes between."""
    for name, content in contents.items():
        aside = folder / f".{name}.new"
        with naming(folder / name, aside), aside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    for name in contents:
        (folder / f".{name}.new").replace(folder / name)
    sync(folder)


def keep(path: Path, content: bytes) -> None:
    """Write a file of the user's cache; one log line if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(path, content)
    except OSError as error:
        logger.info("%s is not kept: %s", path.name, error)


def sync_tree(folder: Path) -> None:
    """Sync every file and folder below a folder to disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync(Path(parent) / name)
        sync(Path(parent))


def sync(path: Path) -> None:
    """Sync a file's content, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(one: Path, other: Path) -> bool:
    """Swap the names of two folders in one step that nothing can interrupt.

    False, and nothing done, where the system or the file system cannot do that.
    """
    if sys.platform != "linux":
        return False
    names = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    return bool(ctypes.CDLL(None).renameat2(*names, RENAME_EXCHANGE) == 0)


def require_room(path: Path, size: int) -> None:
    """OSError unless a file or folder, of which some may be written, can grow to so many bytes."""
    done = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
    if shutil.disk_usage(path.parent).free < size - done:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
