"""Bundle: the folder that export writes and every runtime reads.

The format is specified in engines/README.md. This module holds its manifest as dataclasses,
reads it, and checks the files it lists.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias, cast, get_args

from trt_pipeline.errors import BundleError, BundleVersionError, IntegrityError, InvalidInputError

FORMAT_VERSION = 1
MANIFEST = "bundle.json"
MAX_MANIFEST_BYTES = 16 * 2**20
GRAPHS = ("text_encoder", "time_embedding", "denoiser", "decoder", "encoder")

Precision: TypeAlias = Literal["fp32", "fp16"]
Flavour: TypeAlias = Literal["tensorrt", "tensorrt_rtx"]
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)
Verify: TypeAlias = Literal["full", "manifest", "none"]
Dim: TypeAlias = int | str


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of a graph's input or output."""

    name: str
    dtype: str
    """NumPy name of the element type: float32, float16, int32 or uint8."""
    shape: tuple[Dim, ...]
    """A number where the size is fixed, a name where it varies."""


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One ONNX graph at one arithmetic precision."""

    path: str
    """The .onnx file, relative to the bundle."""
    weights: str
    """The external-data file that the .onnx file refers to, relative to the bundle."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a runtime must know of the model besides its graphs."""

    name: str
    pipeline: str
    """Class name of the diffusers pipeline that the checkpoint was made for."""
    latent_channels: int
    vae_scale_factor: int
    """Pixels per latent along height and width."""
    height: int
    """Native height in pixels."""
    width: int
    """Native width in pixels."""
    scaling_factor: float
    """Standard deviation scale between decoder latents and denoiser latents; inside the graphs."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Inclusive ranges that the graphs of a bundle accept."""

    batch: tuple[int, int]
    height: tuple[int, int]
    """In pixels, multiples of the model's vae_scale_factor."""
    width: tuple[int, int]
    """In pixels, multiples of the model's vae_scale_factor."""


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """The noise schedule that the model is sampled with."""

    prediction_type: str
    """What the denoiser predicts: epsilon, sample or v_prediction."""
    steps_offset: int
    set_alpha_to_one: bool
    """Whether alphas_cumprod before the first timestep is 1 instead of alphas_cumprod[0]."""
    timestep_spacing: str
    """leading, trailing or linspace, as diffusers names them."""
    alphas_cumprod: tuple[float, ...]
    """Product of 1 - beta up to each training timestep."""


@dataclass(frozen=True, slots=True)
class TokenizerSpec:
    """A BERT WordPiece tokenizer."""

    vocab: str
    """The vocabulary file, relative to the bundle: one token a line, its id the line's number."""
    max_length: int
    """Every prompt is padded and truncated to this many tokens."""
    lowercase: bool
    strip_accents: bool | None
    """None follows lowercase."""
    tokenize_chinese_chars: bool


@dataclass(frozen=True, slots=True)
class FileSpec:
    """Size and hash of a file, as written by the exporter."""

    size: int
    """Bytes."""
    sha256: str
    """Lower-case hexadecimal."""


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """The shapes that an engine takes for one input."""

    least: tuple[int, ...]
    typical: tuple[int, ...]
    """The shape that the engine is tuned for."""
    most: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that makes a plan stale when it changes."""

    flavour: Flavour
    version: str
    """Full version of TensorRT."""
    compute_capability: str
    """Such as 8.9."""
    platform: str
    """Operating system and processor, such as linux-x86_64."""
    precision: Precision
    onnx_sha256: str
    weights_sha256: str
    profile: Mapping[str, ShapeRange]
    """Input → shapes."""
    optimization_level: int

    def digest(self) -> str:
        """sha256 of the key, as lower-case hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One plan of a bundle."""

    graph: str
    path: str
    """The plan, relative to the bundle."""
    key: EngineKey

    @property
    def place(self) -> tuple[str, str, str]:
        """What there is one engine for: a graph on a target in a flavour of TensorRT."""
        return self.key.flavour, self.key.compute_capability, self.graph


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
    tokenizer: TokenizerSpec
    provenance: Mapping[str, Any]
    """Source checkpoint and its hashes, package versions, licence."""
    files: Mapping[str, FileSpec] = field(repr=False)
    engines: tuple[EngineSpec, ...] = ()

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
    bundle = parse_manifest(folder, _read_manifest(folder))
    if verify != "none":
        verify_files(folder, bundle.files, hashes=verify == "full")
    return bundle


def verify_files(folder: Path, files: Mapping[str, FileSpec], *, hashes: bool = True) -> None:
    """Raise IntegrityError naming every file that is not as listed."""

    def problem(item: tuple[str, FileSpec]) -> str | None:
        name, spec = item
        return _file_problem(folder / name, name, spec, hashes)

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
        manifest = _read_manifest(folder)
    except BundleError:
        return False
    return {"format_version", "graphs", "files"} <= manifest.keys()


def _read_manifest(folder: Path) -> dict[str, Any]:
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
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleVersionError(
            f"{folder}: the bundle has format version {version!r}, this release reads version "
            f"{FORMAT_VERSION}. Export the checkpoint again with this release."
        )
    try:
        bundle = _parse(folder, manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BundleError(
            f"{folder / MANIFEST} does not follow the format: {what}. Export the checkpoint again."
        ) from None
    for name in _referenced(bundle):
        bundle.file(name)
    return bundle


def _parse(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    return Bundle(
        path=folder,
        model=ModelSpec(**manifest["model"]),
        precision=_precision(manifest["precision"]),
        graphs={
            name: {_precision(p): _graph(graph) for p, graph in precisions.items()}
            for name, precisions in manifest["graphs"].items()
        },
        limits=Limits(**{name: _range(*ends) for name, ends in manifest["limits"].items()}),
        schedule=_schedule(manifest["schedule"]),
        tokenizer=TokenizerSpec(**manifest["tokenizer"]),
        provenance=dict(manifest["provenance"]),
        files={_inside(name): FileSpec(**spec) for name, spec in manifest["files"].items()},
        engines=tuple(_engine(engine) for engine in manifest.get("engines", ())),
    )


def _precision(value: str) -> Precision:
    if value not in get_args(Precision):
        raise ValueError(f"precision {value!r} is neither fp32 nor fp16")
    return cast(Precision, value)


def _graph(graph: Mapping[str, Any]) -> GraphSpec:
    return GraphSpec(
        path=graph["path"],
        weights=graph["weights"],
        inputs=_tensors(graph["inputs"]),
        outputs=_tensors(graph["outputs"]),
    )


def _tensors(tensors: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t["name"], t["dtype"], tuple(t["shape"])) for t in tensors)


def _engine(engine: Mapping[str, Any]) -> EngineSpec:
    key = engine["key"]
    profile = {
        name: ShapeRange(**{end: tuple(shape) for end, shape in shapes.items()})
        for name, shapes in key["profile"].items()
    }
    return EngineSpec(engine["graph"], engine["path"], EngineKey(**{**key, "profile": profile}))


def _range(low: int, high: int) -> tuple[int, int]:
    if not 1 <= low <= high:
        raise ValueError(f"limits {low}..{high} are no range of positive numbers")
    return low, high


def _schedule(schedule: Mapping[str, Any]) -> ScheduleSpec:
    alphas = tuple(float(alpha) for alpha in schedule["alphas_cumprod"])
    if not alphas or not all(0 < alpha < 1 for alpha in alphas):
        raise ValueError("alphas_cumprod must be numbers between 0 and 1")
    return ScheduleSpec(**{**schedule, "alphas_cumprod": alphas})


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
        raise ValueError(f"file name {name!r} leaves the bundle")
    return name


def _referenced(bundle: Bundle) -> Iterable[str]:
    yield bundle.tokenizer.vocab
    for precisions in bundle.graphs.values():
        for graph in precisions.values():
            yield graph.path
            yield graph.weights
    for engine in bundle.engines:
        yield engine.path
