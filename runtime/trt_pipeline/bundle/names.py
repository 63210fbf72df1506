"""Names: what the files of a bundle may be called, so that they mean the same on every system."""

import unicodedata
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

MANIFEST = "bundle.json"
SIGNATURE = "bundle.json.sig"
MAX_PARTS = 16
"""Folders of a name, and the file."""
MAX_PART_BYTES = 200
"""File systems allow 255; temporary names need some of them."""


def check_names(names: Collection[str]) -> None:
    """ValueError for a name that leads out of the bundle, cannot be printed, or is one of ours, and
    for two that some file system takes for one."""
    for name in names:
        if _leaves(name):
            raise ValueError(f"file name {name!r:.80} leaves the bundle")
        if _is_too_long(name):
            raise ValueError(f"file name {name!r:.80} is too long or too deep")
    taken = {_folded(name): name for name in (MANIFEST, SIGNATURE)}
    for name in names:
        other = taken.setdefault(_folded(name), name)
        if other is not name:
            raise ValueError(f"file name {name!r:.80} is too much like {other!r:.80}")
    for name in names:
        for folder in _folders(name):
            if _folded(folder) in taken:
                raise ValueError(f"{folder!r:.80} is a file, and a folder of {name!r:.80}")


def _leaves(name: str) -> bool:
    path = PurePosixPath(name)
    inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    return not (inside and str(path) == name and name.isprintable()) or bool({*name} & {*"\\:"})


def _is_too_long(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) > MAX_PARTS or any(len(part.encode()) > MAX_PART_BYTES for part in parts)


def _folders(name: str) -> Iterable[str]:
    return (str(folder) for folder in PurePosixPath(name).parents if folder.parts)


def _folded(name: str) -> str:
    """The same for names that differ by case or by how Unicode composes a letter."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
