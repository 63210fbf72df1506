"""Manifest: what the entries of bundle.json say, as docs/reference/bundle-format.md specifies them.

The types are the first check of what is read; the values are checked where a spec is made.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

GRAPHS = (
    "text_encoder",
    "time_embedding",
    "denoiser",
    "cached_denoiser",
    "decoder",
    "tiny_decoder",
    "encoder",
    "safety_checker",
)

Precision: TypeAlias = Literal["fp32", "fp16"]
GraphPrecision: TypeAlias = Literal["fp32", "fp16", "int8"]
EnginePrecision: TypeAlias = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
EIGHT_BITS: tuple[EnginePrecision, ...] = ("int8", "fp8")
QUANTIZED_GRAPH = "denoiser"
"""The one with an 8-bit form, as it takes nearly all the time."""
FIRST_STAGE = ("decoder", "tiny_decoder", "encoder")
"""Graphs that may be float32 in a float16 bundle, for numbers beyond float16's: what goes in and
comes out has the same types in both."""
Arithmetic: TypeAlias = EnginePrecision
Flavour: TypeAlias = Literal["tensorrt", "tensorrt_rtx"]
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)
CompatibilityLevel: TypeAlias = Literal["none", "ampere_plus", "same_compute_capability"]
Dim: TypeAlias = int | str
DType: TypeAlias = Literal["float32", "float16", "int32", "uint8"]
TimestepSpacing: TypeAlias = Literal["leading", "linspace", "trailing"]
Condition: TypeAlias = Literal["low_resolution", "masked_image", "image"]

MAX_SIZE = 2**16
"""Of a picture in pixels, a text in tokens, latents in channels, and a batch: far more than any
model has, and few enough that a manifest alone cannot ask for all the memory."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of a graph's input or output."""

    name: str
    dtype: DType
    """NumPy name of the element type."""
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
    family: str
    """The exporter's file that describes models of this kind, such as ldm_text_to_image."""
    latent_channels: int
    vae_scale_factor: int
    """Pixels per latent along height and width."""
    context_tokens: int = 0
    """Tokens in a row of context_kv; 0 for a denoiser without it."""
    condition: Condition | None = None
    """What the denoiser's `condition` is made of; None for a denoiser without it.

    low_resolution: the picture to enlarge, RGB in -1..1, of the latents' height and width.
    masked_image: a mask of one channel, 1 where it is painted again, then the latents of the
    picture without that part, as the encoder gives them.
    image: the latents of the picture to change, as the encoder gives their mean; zero in the row
    without guidance.
    """
    guides_above_1_only: bool = False
    """Whether a guidance scale of 1 or less means no guidance, as in Stable Diffusion."""
    zeros_for_empty_prompt: bool = False
    """Whether a negative prompt that is not given is a row of zeros instead of the empty text."""

    def __post_init__(self) -> None:
        """ValueError for numbers that no model has."""
        for name in ("latent_channels", "vae_scale_factor"):
            if not 1 <= getattr(self, name) <= MAX_SIZE:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 to {MAX_SIZE}")
        if not 0 <= self.context_tokens <= MAX_SIZE:
            raise ValueError(f"context_tokens is {self.context_tokens}, expected 0 to {MAX_SIZE}")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a call uses for settings that it leaves out."""

    num_inference_steps: int
    guidance_scale: float
    eta: float
    height: int
    """Pixels; the size that the model was trained on."""
    width: int
    """Pixels."""
    sampler: str

    def __post_init__(self) -> None:
        """ValueError for what no call may ask for."""
        for name in ("num_inference_steps", "height", "width"):
            if not 1 <= getattr(self, name) <= MAX_SIZE:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 to {MAX_SIZE}")
        if not math.isfinite(self.guidance_scale):
            raise ValueError(f"guidance_scale is {self.guidance_scale}, expected a finite number")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta is {self.eta}, expected 0 to 1")


@dataclass(frozen=True, slots=True)
class Limits:
    """Inclusive ranges that the graphs of a bundle accept."""

    batch: tuple[int, int]
    height: tuple[int, int]
    """In pixels, multiples of the model's vae_scale_factor."""
    width: tuple[int, int]
    """In pixels, multiples of the model's vae_scale_factor."""

    def __post_init__(self) -> None:
        """ValueError for a range that is empty or out of bounds."""
        for name in ("batch", "height", "width"):
            low, high = getattr(self, name)
            if not 1 <= low <= high <= MAX_SIZE:
                raise ValueError(f"{name} is {low}..{high}, expected a range within 1..{MAX_SIZE}")
        if self.batch[0] != 1:
            raise ValueError(f"batch begins at {self.batch[0]}, expected 1")


@dataclass(frozen=True, slots=True)
class PredictionSpec:
    """What the denoiser predicts: output = u(ᾱ)·x0 + w(ᾱ)·ε.

    u and w are linear in 1, √ᾱ and √(1-ᾱ): each field holds those three factors.
    """

    sample: tuple[float, float, float]
    """Of u, the share of the clean sample x0."""
    noise: tuple[float, float, float]
    """Of w, the share of the noise ε."""

    def __post_init__(self) -> None:
        """ValueError for numbers that are not finite, and for an output that says nothing."""
        factors = (*self.sample, *self.noise)
        if not all(map(math.isfinite, factors)) or not any(factors):
            raise ValueError("its factors must be finite numbers, and not all 0")


PREDICTION_TYPES = {
    "epsilon": PredictionSpec((0, 0, 0), (1, 0, 0)),
    "sample": PredictionSpec((1, 0, 0), (0, 0, 0)),
    "v_prediction": PredictionSpec((0, 0, -1), (0, 1, 0)),  # arXiv:2202.00512, appendix D
}
"""diffusers' name → what it means."""


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """The noise schedule that the model was trained with."""

    prediction: PredictionSpec
    steps_offset: int
    set_alpha_to_one: bool
    """Whether alphas_cumprod before the first timestep is 1 instead of alphas_cumprod[0]."""
    timestep_spacing: TimestepSpacing
    """As diffusers names them."""
    alphas_cumprod: tuple[float, ...]
    """Product of 1 - beta up to each training timestep."""

    def __post_init__(self) -> None:
        """ValueError for what no noise schedule can be."""
        alphas = (1.0, *self.alphas_cumprod)
        falling = all(0 < later <= earlier for earlier, later in pairwise(alphas))
        if len(alphas) == 1 or alphas[1] == 1 or not falling:
            raise ValueError("alphas_cumprod must be numbers between 0 and 1 that never rise")
        if not 0 <= self.steps_offset < len(self.alphas_cumprod):
            raise ValueError(
                f"steps_offset is {self.steps_offset}, expected 0 to {len(self.alphas_cumprod) - 1}"
            )


@dataclass(frozen=True, slots=True)
class FileSpec:
    """Size and hash of a file, as written by the exporter."""

    size: int
    """Bytes."""
    sha256: str
    """Lower-case hexadecimal."""

    def __post_init__(self) -> None:
        """ValueError for a size or a hash that no file has."""
        if self.size < 0:
            raise ValueError(f"size is {self.size}, expected 0 or more")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 is {self.sha256!r:.80}, expected 64 digits from 0 to f")


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """The shapes that an engine takes for one input: TensorRT's optimization profile."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    """The shape that the engine is tuned for."""
    max: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that makes a plan stale when it changes."""

    flavour: Flavour
    version: str
    """Full version of TensorRT."""
    compute_capability: str
    """Such as 8.9; of an ampere_plus plan the least one."""
    platform: str
    """Operating system and processor, such as linux-x86_64."""
    precision: EnginePrecision
    """Of the arithmetic."""
    onnx_sha256: str
    """Of the graph that source names."""
    weights_sha256: str
    profile: Mapping[str, ShapeRange]
    """Input → shapes."""
    optimization_level: int
    hardware_compatibility_level: CompatibilityLevel = "none"
    """Which other GPUs the plan was built for, as TensorRT names it."""
    version_compatible: bool = False
    """Whether later releases of the same major version of TensorRT take the plan."""

    @property
    def target(self) -> str:
        """The GPUs that the plan is for: a compute capability, or ampere_plus."""
        portable = self.hardware_compatibility_level == "ampere_plus"
        return "ampere_plus" if portable else self.compute_capability

    @property
    def source(self) -> GraphPrecision:
        """The graph that the plan depends on: fp16, which a bundle may lack for one of the first
        stage, or int8, which is made from it and has the ranges of all 8-bit arithmetic."""
        return "int8" if self.precision in EIGHT_BITS else "fp16"

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
        return self.key.flavour, self.key.target, self.graph
