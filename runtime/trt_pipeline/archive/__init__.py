"""Archive: a bundle as one file, repeatable byte for byte.

It is a tar file without compression: the manifest, its signature if there is one, and the listed
files by name, all with the same mode, owner and time. So the manifest says what every byte of it
is, but for the contents, whose hashes it holds; a reader follows nothing that a header says.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trt_pipeline.bundle import MAX_MANIFEST_BYTES, Bundle
from trt_pipeline.bundle.integrity import open_regular
from trt_pipeline.bundle.manifest import FileSpec
from trt_pipeline.bundle.names import MANIFEST, SIGNATURE
from trt_pipeline.bundle.signatures import SIGNATURE_BYTES
from trt_pipeline.errors import IntegrityError, InvalidInputError

END = bytes(2 * tarfile.BLOCKSIZE)
CHUNK_BYTES = 2**20

Watch = Callable[[int, int], None]
"""Called with the bytes just done and the bytes in all."""
Advance = Callable[[int], None]
"""Called with the bytes just done."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive."""

    name: str
    spec: FileSpec

    @property
    def header(self) -> bytes:
        """What the archive has before the file's content."""
        header = tarfile.TarInfo(self.name)
        header.size = self.spec.size
        return header.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")

    @property
    def padding(self) -> bytes:
        """What the archive has after it."""
        return bytes(-self.spec.size % tarfile.BLOCKSIZE)

    @property
    def size(self) -> int:
        """Bytes in the archive."""
        return len(self.header) + self.spec.size + len(self.padding)


def members_of(manifest: bytes, signature: bytes | None, bundle: Bundle) -> list[Member]:
    """A bundle's files in the order of its archive."""
    beside = {MANIFEST: manifest} | ({} if signature is None else {SIGNATURE: signature})
    return [
        *(Member(name, _spec(content)) for name, content in beside.items()),
        *(Member(name, spec) for name, spec in sorted(bundle.files.items())),
    ]


def archive_bytes(members: Sequence[Member]) -> int:
    """Size of the archive."""
    return sum(member.size for member in members) + len(END)


def open_archive(path: Path) -> BinaryIO:
    """Open an archive to read; InvalidInputError if it can't be."""
    try:
        return open_regular(path)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from None


def read_beginning(path: Path, stream: BinaryIO) -> tuple[bytes, bytes | None]:
    """The manifest, and its signature if there is one; IntegrityError for no archive of ours."""
    manifest = _read_member(stream, MANIFEST, MAX_MANIFEST_BYTES)
    if manifest is None:
        raise IntegrityError(
            f"{path} is not an archive of a bundle. Make one with: trt-pipeline pack"
        )
    return manifest, _read_member(stream, SIGNATURE, SIGNATURE_BYTES)


def holds(stream: BinaryIO, member: Member) -> bool:
    """Whether an archive goes on with a member, to whose end it is then read."""
    header = member.header
    if stream.read(len(header)) != header:
        return False
    digest = hashlib.sha256()
    for chunk in _chunks(stream, member.spec.size):
        digest.update(chunk)
    whole = digest.hexdigest() == member.spec.sha256
    return whole and stream.read(len(member.padding)) == member.padding


def copy(source: BinaryIO, target: BinaryIO, member: Member, advance: Advance) -> bool:
    """Copy a member's content; whether it was of the listed size and hash."""
    digest, copied = hashlib.sha256(), 0
    for chunk in _chunks(source, member.spec.size):
        digest.update(chunk)
        target.write(chunk)
        copied += len(chunk)
        advance(len(chunk))
    return (copied, digest.hexdigest()) == (member.spec.size, member.spec.sha256)


def _read_member(stream: BinaryIO, name: str, most: int) -> bytes | None:
    """A small file's content; None, and nothing read, if another one or none comes next."""
    start = stream.tell()
    try:
        found = tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "strict")
    except (tarfile.TarError, ValueError):
        found = None
    if found and found.name == name and 0 <= found.size <= most:
        content = stream.read(found.size)
        stream.seek(start)
        if holds(stream, Member(name, _spec(content))):
            return content
    stream.seek(start)
    return None


def _spec(content: bytes) -> FileSpec:
    return FileSpec(len(content), hashlib.sha256(content).hexdigest())


def _chunks(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """A file's next bytes, fewer if it ends."""
    while size > 0 and (chunk := stream.read(min(size, CHUNK_BYTES))):
        size -= len(chunk)
        yield chunk
