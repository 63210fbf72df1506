"""Target: the folder of a bundle that an export or a build is about to write to."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from trt_export.publishing.work_folder import RECORDS, standing
from trt_pipeline.bundle import is_bundle, read_manifest
from trt_pipeline.bundle.manifest import FLAVOURS, QUANTIZED_GRAPH
from trt_pipeline.bundle.names import MANIFEST, SIGNATURE
from trt_pipeline.errors import InvalidInputError

OUR_FOLDERS = (RECORDS, *FLAVOURS)
INT8_FILES = f"onnx/{QUANTIZED_GRAPH}.int8-*"
"""What a killed run may leave behind in a bundle; hidden files are ours as well."""


def refuse_foreign(folder: Path) -> None:
    """InvalidInputError for what cannot be a bundle's folder, or holds more than a bundle."""
    if folder.is_symlink() and not folder.exists():
        raise InvalidInputError(f"--out {folder} is a link that leads nowhere. Name a folder.")
    above = next(one for one in folder.absolute().parents if one.exists())
    if not above.is_dir():
        raise InvalidInputError(f"--out {folder}: {above} is a file, expected a folder.")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not is_bundle(folder):
        broken = f": its {MANIFEST} cannot be read" if (folder / MANIFEST).exists() else ""
        raise InvalidInputError(
            f"--out {folder} exists and is not a bundle{broken}. Name another folder, or remove it."
        )
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


ADDED = ("loras/", "embeddings/", "tiny_decoder/", "safety_checker/", "feature_extractor/")
"""How provenance names the files of what a bundle has on request."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A bundle that an export takes the place of."""

    bundle: str
    other: str | None
    """A file that its checkpoint had otherwise; None for a bundle of the same checkpoint."""
    engines: tuple[str, ...]
    """Folders of its engines, one for each flavour and target."""
    quantized: bool
    signed: bool

    @property
    def document(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)

    def __str__(self) -> str:
        """One line, without an end."""
        of = "another checkpoint" if self.other else "this checkpoint"
        lost = [f"the engines in {folder}" for folder in self.engines]
        lost += ["the 8-bit denoiser"] if self.quantized else []
        lost += ["the signature"] if self.signed else []
        return f"the bundle of {of} in {self.bundle}" + (f" with {', '.join(lost)}" if lost else "")


def replaced(target: Path, files: Mapping[str, str], replace: bool) -> Replaced | None:
    """What a new bundle of a checkpoint's files takes the place of; files: name → sha256.

    InvalidInputError for the bundle of another checkpoint, unless it is to be replaced.
    """
    folder = standing(target)
    if not is_bundle(folder):
        return None
    manifest = read_manifest(folder)
    listed = list(manifest["files"])
    places = {name.rpartition("/")[0] for name in listed if name.partition("/")[0] in FLAVOURS}
    found = Replaced(
        bundle=str(target),
        other=_other(manifest.get("provenance"), files),
        engines=tuple(sorted(places)),
        quantized=any(fnmatch(name, INT8_FILES) for name in listed),
        signed=(folder / SIGNATURE).exists(),
    )
    if found.other and not replace:
        raise InvalidInputError(
            f"this would replace {found}: their {found.other} differs. Name another folder with "
            "--out, or give --replace."
        )
    return found


def _other(provenance: Any, files: Mapping[str, str]) -> str | None:
    """A file of a checkpoint that a bundle was not made from, or the other way round. What is added
    to a checkpoint does not make it another one."""
    known = provenance.get("files") if isinstance(provenance, dict) else None
    known = known if isinstance(known, dict) else {}
    names = [name for name in (*files, *known) if not name.startswith(ADDED)]
    return next((name for name in names if files.get(name) != known.get(name)), None)


def _files(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        yield from ((Path(parent) / name).relative_to(folder).as_posix() for name in names)
