"""Unpacking: an archive to a bundle's folder, which appears only when it is whole."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from trt_pipeline.archive import (
    END,
    Advance,
    Member,
    Watch,
    archive_bytes,
    copy,
    members_of,
    open_archive,
    read_beginning,
)
from trt_pipeline.arguments import counted
from trt_pipeline.bundle import parse_json, parse_manifest
from trt_pipeline.bundle.integrity import file_problem
from trt_pipeline.bundle.names import MANIFEST
from trt_pipeline.bundle.signatures import TrustedKey, check_signed
from trt_pipeline.durable import claim, naming, require_room, sync, sync_tree
from trt_pipeline.errors import IntegrityError, InvalidInputError
from trt_pipeline.locking import one_at_a_time


def unpack(
    archive: Path,
    folder: Path,
    watch: Watch = lambda *_: None,
    trusted_keys: Sequence[TrustedKey] | None = None,
) -> bool:
    """Make a bundle's folder from its archive; False if it was there already.

    The folder appears whole, every file as its manifest says; unpacking that was killed goes on
    with the file it was at. trusted_keys: one of these must have signed the bundle.
    Raises BundleError, IntegrityError, or InvalidInputError if another folder has the name.
    """
    folder = folder.resolve()
    with open_archive(archive) as stream:
        members = _members(archive, stream, trusted_keys)
        size = archive_bytes(members)
        with one_at_a_time(folder):
            if folder.exists():
                _refuse_another(folder, members)
                return False
            growing = folder.with_name(f".{folder.name}.unpacked")
            claim(growing)
            _remove_others(growing, {member.name for member in members})
            try:
                with naming(folder, growing):
                    require_room(growing, size)
                    _read(stream, growing, members, lambda done: watch(done, size))
            except ValueError as error:
                shutil.rmtree(growing, ignore_errors=True)
                raise IntegrityError(f"{archive}: {error}. Copy it again.") from None
            sync_tree(growing)
            growing.rename(folder)
            sync(folder.parent)
    return True


def _members(
    archive: Path, stream: BinaryIO, trusted_keys: Sequence[TrustedKey] | None
) -> list[Member]:
    """What the archive must hold, if its size is that of all this."""
    manifest, signature = read_beginning(archive, stream)
    if trusted_keys is not None:
        check_signed(archive, manifest, signature, trusted_keys)
    bundle = parse_manifest(archive, parse_json(archive, manifest))
    members = members_of(manifest, signature, bundle)
    found, size = os.fstat(stream.fileno()).st_size, archive_bytes(members)
    if found != size:
        raise IntegrityError(
            f"{archive} has {counted(found, 'byte')}, but its {MANIFEST} says {size}. "
            "Copy it again."
        )
    return members


def _refuse_another(folder: Path, members: Sequence[Member]) -> None:
    for member in members:
        problem = file_problem(folder, member.name, member.spec, hashes=True)
        if problem:
            raise InvalidInputError(
                f"{folder} exists and is not what would be unpacked: {problem}. "
                "Move it away, or name another folder."
            )


def _remove_others(growing: Path, names: set[str]) -> None:
    """Begin again if the folder holds what this archive does not."""
    found = (path for path in growing.rglob("*") if path.is_symlink() or not path.is_dir())
    if any(path.relative_to(growing).as_posix() not in names for path in found):
        shutil.rmtree(growing)


def _read(stream: BinaryIO, growing: Path, members: Sequence[Member], advance: Advance) -> None:
    """Write every file of an archive; ValueError where it is not what its manifest says."""
    stream.seek(0)
    for member in members:
        if stream.read(len(member.header)) != member.header:
            raise ValueError(f"it does not go on with {member.name}")
        if file_problem(growing, member.name, member.spec, hashes=True) is None:
            stream.seek(member.spec.size, os.SEEK_CUR)
            advance(member.spec.size)
        elif not _write(stream, growing / member.name, member, advance):
            raise ValueError(f"its {member.name} is not as its {MANIFEST} says")
        if stream.read(len(member.padding)) != member.padding:
            raise ValueError(f"{member.name} is followed by something else")
    if stream.read() != END:
        raise ValueError("it does not end as an archive does")


def _write(stream: BinaryIO, path: Path, member: Member, advance: Advance) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        return copy(stream, file, member, advance)
