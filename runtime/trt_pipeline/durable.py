"""Durable: files and folders that a power cut leaves whole, or absent."""

import ctypes
import errno
import logging
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

logger = logging.getLogger(__name__)

DIGEST_SIZE = 64

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of Linux' fcntl.h and fs.h."""


def claim(path: Path) -> None:
    """Make sure that writing to a path changes no other file: a link, or one of several names of a
    file, is removed from there. PermissionError if it belongs to another user."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if os.name == "posix" and found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user", str(path))
    if not stat.S_ISDIR(found.st_mode) and (not stat.S_ISREG(found.st_mode) or found.st_nlink > 1):
        path.unlink()


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
        claim(aside)
        with naming(folder / name, aside), aside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    for name in contents:
        (folder / f".{name}.new").replace(folder / name)
    sync(folder)


def keep(path: Path, content: bytes) -> None:
    """Write a file of the user's cache behind its sha256; one log line if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(path, _digest(content) + content)
    except OSError as error:
        logger.info("%s is not kept: %s", path.name, error)


def kept(path: Path) -> bytes | None:
    """What keep wrote; None if there is nothing, or if it is damaged."""
    try:
        with path.open("rb") as stream:
            digest, content = stream.read(DIGEST_SIZE), stream.read()
    except OSError:
        return None
    if _digest(content) == digest:
        return content
    logger.info("%s is damaged; making it again", path)
    return None


def _digest(content: bytes) -> bytes:
    return sha256(content).hexdigest().encode()


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
    """OSError unless there is room for a file or folder, partly written or not, of this size."""
    done = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
    free = shutil.disk_usage(path.parent).free
    if free < size - done:
        reason = f"{os.strerror(errno.ENOSPC)}: it needs {size - done} bytes more, {free} are free"
        raise OSError(errno.ENOSPC, reason, str(path))
