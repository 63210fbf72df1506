"""Integrity: whether a file is the one that a manifest lists."""

import errno
import hashlib
import os
import stat
import time
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from trt_pipeline.arguments import counted
from trt_pipeline.bundle.manifest import FileSpec
from trt_pipeline.bundle.names import MANIFEST

SETTLED_NS = 2 * 10**9
"""A file changed less long ago could change again without a new time of change."""

_Identity: TypeAlias = tuple[int, int, int, int, int, str]

_verified: set[_Identity] = set()
"""Files whose hash held in this process."""


def file_problem(folder: Path, name: str, spec: FileSpec, *, hashes: bool) -> str | None:
    """What is wrong with a listed file of a bundle, in words; None if nothing.

    It must be a regular file without a second name, reached through no link, of the listed size.
    hashes: whether its sha256 must be the listed one as well; an unchanged file is read only once
    a process.
    """
    try:
        if any((folder / parent).is_symlink() for parent in PurePosixPath(name).parents[:-1]):
            return f"{name} is reached through a link"
        with open_regular(folder / name) as stream:
            status = os.fstat(stream.fileno())
            if status.st_nlink > 1:
                return f"{name} is a hard link, one of {status.st_nlink} names of a file"
            if status.st_size != spec.size:
                return (
                    f"{name} has {counted(status.st_size, 'byte')}, but {MANIFEST} says {spec.size}"
                )
            if hashes and not _hash_holds(stream, spec):
                return f"{name} has another sha256 than {MANIFEST} says"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return None


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read; OSError for a link, a folder, a pipe or a device."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    # Should it be replaced now, a link is not followed, and a pipe's writer not waited for.
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, os.O_RDONLY | flags), "rb")


def _hash_holds(stream: BufferedReader, spec: FileSpec) -> bool:
    before = _identity(stream, spec)
    if before in _verified:
        return True
    if hashlib.file_digest(stream, "sha256").hexdigest() != spec.sha256:
        return False
    if before == _identity(stream, spec) and _is_settled(stream):
        _verified.add(before)
    return True


def _identity(stream: BufferedReader, spec: FileSpec) -> _Identity:
    """Whatever writes to a file moves its time of change, which no program can set."""
    status = os.fstat(stream.fileno())
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_dev, status.st_ino, status.st_size, *times, spec.sha256)


def _is_settled(stream: BufferedReader) -> bool:
    """Never on Windows, where the time of change is the time of creation."""
    age = time.time_ns() - os.fstat(stream.fileno()).st_ctime_ns
    return os.name == "posix" and age > SETTLED_NS
