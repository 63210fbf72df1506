"""Bundle: the folder that export writes and every runtime reads.

The format is specified in engines/README.md. This module reads the manifest and checks the files
that it lists.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias, get_args

from trt_pipeline.decoding import decode
from trt_pipeline.errors import BundleError, BundleVersionError, IntegrityError, InvalidInputError
from trt_pipeline.manifest import (
    EngineSpec,
    FileSpec,
    GraphSpec,
    Limits,
    ModelSpec,
    Precision,
    ScheduleSpec,
    TokenizerSpec,
)

FORMAT_VERSION = 1
MANIFEST = "bundle.json"
MAX_MANIFEST_BYTES = 16 * 2**20

Verify: TypeAlias = Literal["full", "manifest", "none"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's manifest together with the folder it describes."""

    path: Path
    model: ModelSpec
    precision: Precision
    """Precision in which the weights are stored."""
    graphs: Mapping[str, Mapping[Precision, GraphSpec]]
    """Graph name → arithmetic precision → graph."""
    limits: Limits
    schedule: ScheduleSpec
    tokenizer: TokenizerSpec | None
    """None for models without prompts."""
    provenance: Mapping[str, Any]
    """Source checkpoint and its hashes, package versions, licence."""
    files: Mapping[str, FileSpec] = field(repr=False)
    engines: tuple[EngineSpec, ...] = ()
    preview: tuple[tuple[float, ...], ...] = ()
    """For red, green and blue: a weight for each latent channel and an offset, which give -1..1."""

    def __post_init__(self) -> None:
        """ValueError for a file name that leads out of the bundle, or an odd preview map."""
        for name in self.files:
            if _leaves(name):
                raise ValueError(f"file name {name!r} leaves the bundle")
        widths = {len(row) for row in self.preview}
        if self.preview and (len(self.preview), widths) != (3, {self.model.latent_channels + 1}):
            raise ValueError("preview must be 3 rows of a weight for each channel and an offset")

    def graph(self, name: str, precision: Precision) -> GraphSpec:
        """Look up one graph; BundleError if the bundle lacks it."""
        try:
            return self.graphs[name][precision]
        except KeyError:
            held = ", ".join(f"{n} ({'/'.join(p)})" for n, p in self.graphs.items())
            raise BundleError(
                f"{self.path}: no {precision} graph {name!r}; this bundle holds {held}. "
                "Export the checkpoint again with the precision you need."
            ) from None

    def file(self, name: str) -> Path:
        """Path of a listed file; IntegrityError for one the manifest does not list."""
        if name not in self.files:
            raise IntegrityError(
                f"{self.path}: {MANIFEST} does not list {name!r}. Export the checkpoint again."
            )
        return self.path / name


def load_bundle(path: str | os.PathLike[str], verify: Verify = "full") -> Bundle:
    """Read a bundle's manifest and check its files.

    verify: "full" compares size and sha256 of every file, "manifest" their sizes, "none" nothing.
    Raises BundleError, BundleVersionError, IntegrityError, or InvalidInputError for another verify.
    """
    if verify not in get_args(Verify):
        raise InvalidInputError(f"verify must be one of {get_args(Verify)}, got {verify!r}.")
    folder = Path(path)
    bundle = parse_manifest(folder, read_manifest(folder))
    if verify != "none":
        verify_files(folder, bundle.files, hashes=verify == "full")
    return bundle


def verify_files(folder: Path, files: Mapping[str, FileSpec], *, hashes: bool = True) -> None:
    """Raise IntegrityError naming every file that is not as listed."""

    def problem(item: tuple[str, FileSpec]) -> str | None:
        name, spec = item
        return _file_problem(folder / name, name, spec, hashes)

    from concurrent.futures import ThreadPoolExecutor  # here, as its import takes long

    with ThreadPoolExecutor() as pool:
        problems = [text for text in pool.map(problem, files.items()) if text]
    if problems:
        raise IntegrityError(
            f"{folder}: {'; '.join(problems)}. "
            "Copy the bundle again, or delete it and export again."
        )


def _file_problem(path: Path, name: str, spec: FileSpec, hashes: bool) -> str | None:
    try:
        size = path.stat().st_size
        if size != spec.size:
            return f"{name} has {size} bytes, but {MANIFEST} says {spec.size}"
        if hashes and file_sha256(path) != spec.sha256:
            return f"{name} has another sha256 than {MANIFEST} says"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return None


def file_sha256(path: Path) -> str:
    """Hash a file, as lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest_json(bundle: Bundle) -> str:
    """The text of bundle.json; parse_manifest is its inverse."""
    fields = asdict(bundle)
    del fields["path"]
    return json.dumps({"format_version": FORMAT_VERSION, **fields}, indent=1) + "\n"


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a manifest of this project, of any version."""
    try:
        manifest = read_manifest(folder)
    except BundleError:
        return False
    return {"format_version", "graphs", "files"} <= manifest.keys()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The JSON object in bundle.json as it stands; BundleError if there is none."""
    path = folder / MANIFEST
    try:
        if path.exists() and not path.is_file():
            raise BundleError(f"{path} is no regular file. Export the checkpoint again.")
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes: no manifest.")
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(
            f"{folder} is no bundle: it has no {MANIFEST}. "
            f"Make one with: export-all MODEL --out {folder}"
        ) from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is no JSON ({error}). Export the checkpoint again.") from None
    if not isinstance(manifest, dict):
        raise BundleError(f"{path} holds no JSON object. Export the checkpoint again.")
    return manifest


def parse_manifest(folder: Path, manifest: dict[str, Any]) -> Bundle:
    """Turn the content of bundle.json into a Bundle; BundleError names what does not fit."""
    entries = dict(manifest)
    version = entries.pop("format_version", None)
    if type(version) is not int or version != FORMAT_VERSION:
        raise BundleVersionError(
            f"{folder}: the bundle has format version {version!r}, this release reads version "
            f"{FORMAT_VERSION}. Export the checkpoint again with this release."
        )
    try:
        bundle = decode(Bundle, entries, "the manifest", path=folder)
    except ValueError as error:
        raise BundleError(
            f"{folder / MANIFEST} does not follow the format: {error}. Export the checkpoint again."
        ) from None
    for name in _referenced(bundle):
        bundle.file(name)
    return bundle


def _leaves(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name


def _referenced(bundle: Bundle) -> Iterable[str]:
    if bundle.tokenizer:
        yield bundle.tokenizer.vocab
    for precisions in bundle.graphs.values():
        for graph in precisions.values():
            yield graph.path
            yield graph.weights
    for engine in bundle.engines:
        yield engine.path
