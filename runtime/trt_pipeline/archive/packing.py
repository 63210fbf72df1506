"""Packing: a bundle's folder to its archive."""

import os
from collections.abc import Sequence
from pathlib import Path

from trt_pipeline.archive import (
    END,
    Advance,
    Member,
    Watch,
    archive_bytes,
    copy,
    holds,
    members_of,
    open_archive,
)
from trt_pipeline.bundle import load_bundle, manifest_bytes
from trt_pipeline.bundle.integrity import open_regular
from trt_pipeline.bundle.names import MANIFEST
from trt_pipeline.bundle.signatures import read_signature
from trt_pipeline.durable import claim, naming, require_room, sync
from trt_pipeline.errors import IntegrityError, InvalidInputError
from trt_pipeline.locking import one_at_a_time


def pack(folder: Path, archive: Path, watch: Watch = lambda *_: None) -> bool:
    """Write a bundle's archive; False if it was there already.

    The archive appears whole; packing that was killed goes on with the file it was at.
    Raises BundleError, IntegrityError, or InvalidInputError if another file has the name.
    """
    archive = archive.resolve()
    bundle = load_bundle(folder, verify="manifest")
    members = members_of(manifest_bytes(folder), read_signature(folder), bundle)
    size = archive_bytes(members)
    with one_at_a_time(archive):
        if archive.exists():
            _refuse_another(archive, members)
            return False
        growing = archive.with_name(f".{archive.name}.packed")
        claim(growing)
        with naming(archive, growing):
            require_room(growing, size)
            try:
                _write(folder, growing, members, lambda done: watch(done, size))
            except IntegrityError:
                growing.unlink()  # nothing to go on with
                raise
        growing.replace(archive)
        sync(archive.parent)
    return True


def _refuse_another(archive: Path, members: Sequence[Member]) -> None:
    with open_archive(archive) as stream:
        same = all(holds(stream, member) for member in members) and stream.read() == END
    if not same:
        raise InvalidInputError(f"{archive} exists and is another file. Name another one.")


def _write(folder: Path, growing: Path, members: Sequence[Member], advance: Advance) -> None:
    with growing.open("r+b" if growing.exists() else "w+b") as stream:
        for member in members:
            start = stream.tell()
            if holds(stream, member):
                advance(member.spec.size)
                continue
            stream.seek(start)
            stream.truncate()
            stream.write(member.header)
            with open_regular(folder / member.name) as source:
                if not copy(source, stream, member, advance):
                    raise IntegrityError(
                        f"{folder}: {member.name} is not as {MANIFEST} says. "
                        "Copy the bundle again, or delete it and export again."
                    )
            stream.write(member.padding)
        stream.write(END)
        stream.truncate()
        stream.flush()
        os.fsync(stream.fileno())
