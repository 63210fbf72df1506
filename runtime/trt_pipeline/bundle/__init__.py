"""Bundle: the folder that export writes and every runtime reads.

The format is specified in docs/reference/bundle-format.md. This module reads the manifest and
checks the files that it lists.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from trt_pipeline.arguments import quoted
from trt_pipeline.bundle.decoding import decode, strict_json
from trt_pipeline.bundle.integrity import file_problem, open_regular
from trt_pipeline.bundle.manifest import (
    FIRST_STAGE,
    Defaults,
    EngineSpec,
    FileSpec,
    GraphPrecision,
    GraphSpec,
    Limits,
    ModelSpec,
    Precision,
    ScheduleSpec,
    TensorSpec,
)
from trt_pipeline.bundle.names import MANIFEST, check_names
from trt_pipeline.bundle.signatures import TrustedKey, check_signature
from trt_pipeline.bundle.tokenizer_specs import TokenizerSpec
from trt_pipeline.errors import BundleError, BundleVersionError, IntegrityError, InvalidInputError

FORMAT_VERSION = 2
MAX_MANIFEST_BYTES = 2**20
PARALLEL_BYTES = 4 * 2**20
"""Less than this is hashed before threads would have started: 1.5 ms against 9 ms."""

Verify: TypeAlias = Literal["full", "manifest", "none"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's manifest together with the folder it describes."""

    path: Path
    model: ModelSpec
    defaults: Defaults
    precision: Precision
    """Precision in which the weights are stored."""
    graphs: Mapping[str, Mapping[GraphPrecision, GraphSpec]]
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
    tokenizer_2: TokenizerSpec | None = None
    """Of a second text encoder, for models that have two."""

    def __post_init__(self) -> None:
        """ValueError for file names that are not safe everywhere, or an odd preview map."""
        check_names(self.files)
        widths = {len(row) for row in self.preview}
        if self.preview and (len(self.preview), widths) != (3, {self.model.latent_channels + 1}):
            raise ValueError("preview must be 3 rows of a weight for each channel and an offset")

    def inputs(self, graph: str) -> Mapping[str, TensorSpec]:
        """A graph's inputs by name, the same at every precision but for dtypes; empty for a graph
        that the bundle lacks."""
        forms = self.graphs.get(graph, {})
        return {spec.name: spec for form in [*forms.values()][:1] for spec in form.inputs}

    def outputs(self, graph: str) -> Mapping[str, TensorSpec]:
        """A graph's outputs, likewise."""
        forms = self.graphs.get(graph, {})
        return {spec.name: spec for form in [*forms.values()][:1] for spec in form.outputs}

    def graph(self, name: str, precision: GraphPrecision) -> GraphSpec:
        """Look up one graph; BundleError if the bundle lacks it.

        In a float16 bundle, a decoder or encoder without a float16 form runs in float32.
        """
        if self.stays_wide(name) and precision == "fp16":
            precision = "fp32"
        try:
            return self.graphs[name][precision]
        except KeyError:
            held = ", ".join(f"{n} ({'/'.join(p)})" for n, p in self.graphs.items())
            raise BundleError(
                f"{self.path}: no {precision} graph {name!r}; this bundle holds {held}. "
                "Export the checkpoint again with the precision you need."
            ) from None

    def stays_wide(self, name: str) -> bool:
        """Whether float16 cannot hold the numbers of a decoder or encoder in a float16 bundle."""
        kept = self.precision == "fp16" and name in FIRST_STAGE
        return kept and "fp16" not in self.graphs.get(name, ())

    def file(self, name: str) -> Path:
        """Path of a listed file; IntegrityError for one the manifest does not list."""
        if name not in self.files:
            raise IntegrityError(
                f"{self.path}: {MANIFEST} does not list {name!r}. Export the checkpoint again."
            )
        return self.path / name


def load_bundle(
    path: str | os.PathLike[str],
    verify: Verify = "full",
    trusted_keys: Sequence[TrustedKey] | None = None,
) -> Bundle:
    """Read a bundle's manifest and check its files.

    verify: "full" compares size and sha256 of every file, "manifest" their sizes, "none" nothing.
    trusted_keys: public Ed25519 keys, PEM files or their bytes, of which one must have signed the
    bundle; None takes unsigned bundles.
    Raises BundleError, BundleVersionError, IntegrityError, InvalidInputError for another verify or
    for keys that are none, or MissingDependencyError for keys without the cryptography package.
    """
    if verify not in get_args(Verify):
        raise InvalidInputError(f"verify must be one of {get_args(Verify)}, got {verify!r}.")
    if not isinstance(path, str | os.PathLike):
        raise InvalidInputError(f"bundle must be a path, got {quoted(path)}.")
    folder = Path(path)
    content = manifest_bytes(folder)
    if trusted_keys is not None:
        if verify != "full":
            raise InvalidInputError(f'trusted_keys need verify="full", got {verify!r}.')
        check_signature(folder, content, trusted_keys)
    bundle = parse_manifest(folder, parse_json(folder, content))
    if verify != "none":
        verify_files(folder, bundle.files, hashes=verify == "full")
    return bundle


def verify_files(folder: Path, files: Mapping[str, FileSpec], *, hashes: bool = True) -> None:
    """Raise IntegrityError naming every file that is not as listed."""

    def problem(item: tuple[str, FileSpec]) -> str | None:
        name, spec = item
        return file_problem(folder, name, spec, hashes=hashes)

    if sum(spec.size for spec in files.values()) < PARALLEL_BYTES:
        found = [*map(problem, files.items())]
    else:
        from concurrent.futures import ThreadPoolExecutor  # here, as its import takes long

        with ThreadPoolExecutor() as pool:
            found = [*pool.map(problem, files.items())]
    problems = [text for text in found if text]
    if problems:
        raise IntegrityError(
            f"{folder}: {'; '.join(problems)}. "
            "Copy the bundle again, or delete it and export again."
        )


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
    return {"format_version", "graphs"} <= manifest.keys() and isinstance(
        manifest.get("files"), dict
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The JSON object in bundle.json as it stands; BundleError if there is none."""
    return parse_json(folder, manifest_bytes(folder))


def manifest_bytes(folder: Path) -> bytes:
    """bundle.json as it stands; BundleError if there is none, or one too large."""
    path = folder / MANIFEST
    try:
        with open_regular(path) as stream:
            content = stream.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise BundleError(
            f"{folder} is not a bundle: it has no {MANIFEST}. "
            f"Make one with: export-all MODEL --out {folder}"
        ) from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{path} is larger than {MAX_MANIFEST_BYTES} bytes, too large for a manifest."
        )
    return content


def parse_json(folder: Path, content: bytes) -> dict[str, Any]:
    """The JSON object in bundle.json's bytes; BundleError if there is none."""
    path = folder / MANIFEST
    try:
        manifest = strict_json(content.decode())
    except ValueError as error:
        raise BundleError(f"{path}: {error}. Export the checkpoint again.") from None
    if not isinstance(manifest, dict):
        raise BundleError(f"{path} does not hold a JSON object. Export the checkpoint again.")
    return manifest


def parse_manifest(folder: Path, manifest: dict[str, Any]) -> Bundle:
    """Turn the content of bundle.json into a Bundle; BundleError names what does not fit."""
    entries = dict(manifest)
    version = entries.pop("format_version", None)
    if type(version) is not int or version != FORMAT_VERSION:
        raise BundleVersionError(
            f"{folder} has format version {version!r:.80}, but this release reads version "
            f"{FORMAT_VERSION}. Export its checkpoint again: export-all MODEL --out {folder}"
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


def _referenced(bundle: Bundle) -> Iterable[str]:
    for tokenizer in (bundle.tokenizer, bundle.tokenizer_2):
        yield from tokenizer.files.values() if tokenizer else ()
    for precisions in bundle.graphs.values():
        for graph in precisions.values():
            yield graph.path
            yield graph.weights
    for engine in bundle.engines:
        yield engine.path
