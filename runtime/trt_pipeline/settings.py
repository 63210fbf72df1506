"""Settings: everything that a user can choose about one picture, in one table.

Each field of Settings is a row: its name, type, default, bounds and help. Calls, the command line,
prompt files and the entries of a picture read it here. runtime/cpp/tools/make_settings.py generates
docs/reference/settings.md and the C++ library's trt_pipeline_settings.inc from it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, TypeAlias, get_args

from trt_pipeline import arguments
from trt_pipeline.bundle.manifest import TimestepSpacing
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.sampling.noise import MAX_SEED
from trt_pipeline.sampling.samplers import SAMPLERS

Scope: TypeAlias = Literal["picture", "call"]
Kind: TypeAlias = Literal["text", "integer", "real", "interval", "pair", "choice", "file"]

KINDS: Mapping[Any, Kind] = {
    str: "text",
    int: "integer",
    float: "real",
    tuple[float, float]: "interval",
    tuple[int, int]: "pair",
}
"""Type of a field → kind."""
SCHEDULES = ("published", "trained")
DECODERS = ("full", "tiny")
TIMESTEP_SPACINGS: tuple[str, ...] = get_args(TimestepSpacing)
MAX_SIDE = 2**16
"""Pixels along a side; a bundle allows far fewer."""
OVERLAYS = ("none", "seamless")
SIDE_HELP = "Pixels. By default, those of the image, or of the bundle if there is none or a mask."


def setting(
    default: Any,
    help: str,  # noqa: A002
    *,
    scope: Scope = "call",
    bounds: tuple[float, float] = (-math.inf, math.inf),
    choices: Sequence[str] = (),
    is_file: bool = False,
) -> Any:
    """A row of the table. default: None leaves the choice to the bundle, or means none at all."""
    row = {"help": help, "scope": scope, "bounds": bounds, "choices": choices, "is_file": is_file}
    return field(default=default, metadata=row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one picture, which make it again."""

    prompt: str = setting("", "What the picture shows.", scope="picture")
    negative_prompt: str | None = setting(
        None,
        "What guidance leads away from. By default, the empty text, or nothing at all where the "
        "model was trained so. Without effect where there is no guidance.",
        scope="picture",
    )
    seed: int | None = setting(
        None,
        "Where the noise begins; the pictures of a call take the numbers that follow. "
        "By default, random.",
        scope="picture",
        bounds=(0, MAX_SEED),
    )
    num_inference_steps: int | None = setting(
        None, "Steps of the sampler. By default, as many as the bundle says.", bounds=(1, 10**6)
    )
    guidance_scale: float | None = setting(
        None,
        "How strongly the prompt counts; 1 is without guidance and costs half. With Stable "
        "Diffusion, so is less than 1. By default, the bundle's.",
        scope="picture",
        bounds=(-1e6, 1e6),
    )
    image_guidance_scale: float = setting(
        1.5,
        "How strongly the image counts that the model changes (InstructPix2Pix); below 1 there is "
        "no guidance at all.",
        scope="picture",
        bounds=(-1e6, 1e6),
    )
    guidance_interval: tuple[float, float] = setting(
        (0.0, 1.0),
        "The part of the steps that is guided: step i of N if start <= i / N < stop.",
        bounds=(0, 1),
    )
    sampler: str | None = setting(
        None, "How the steps are taken. By default, the bundle's.", choices=tuple(SAMPLERS)
    )
    eta: float | None = setting(
        None,
        "How much noise the steps draw: 0 is none, 1 is DDPM's with ddim, and all with tcd. For "
        "these two samplers only. By default, the bundle's for its own sampler, else 0.",
        bounds=(0, 1),
    )
    schedule: str = setting(
        "published",
        "The noise schedule: as the checkpoint has it, or as CompVis' code trained with it.",
        choices=SCHEDULES,
    )
    timestep_spacing: str | None = setting(
        None,
        "Which training timesteps are visited (arXiv:2305.08891, table 2). Without effect on "
        "dpmsolver++_karras, lcm and tcd. By default, the bundle's.",
        choices=TIMESTEP_SPACINGS,
    )
    height: int | None = setting(None, SIDE_HELP, bounds=(1, MAX_SIDE))
    width: int | None = setting(None, SIDE_HELP, bounds=(1, MAX_SIDE))
    image: str | None = setting(
        None,
        "A picture to begin with instead of noise, or one to change or enlarge.",
        scope="picture",
        is_file=True,
    )
    mask_image: str | None = setting(
        None,
        "Inpainting: white where the image is painted again.",
        scope="picture",
        is_file=True,
    )
    overlay: str = setting(
        "none",
        "What becomes of the pixels outside of the mask: they went through the VAE, or stay as "
        "given, without a visible seam.",
        choices=OVERLAYS,
    )
    strength: float | None = setting(
        None,
        "The part of the steps that the image goes through. By default 0.8, or 1 with a mask.",
        bounds=(0, 1),
    )
    original_size: tuple[int, int] | None = setting(
        None,
        "For Stable Diffusion XL: height and width of the picture before training scaled it; small "
        "ones look blurred. By default, those of the picture to be made.",
        bounds=(1, MAX_SIDE),
    )
    crops_coords_top_left: tuple[int, int] = setting(
        (0, 0),
        "For Stable Diffusion XL: how many pixels training cut off above and on the left; 0 0 "
        "centres the subject.",
        bounds=(0, MAX_SIDE),
    )
    target_size: tuple[int, int] | None = setting(
        None,
        "For Stable Diffusion XL: height and width that training scaled the picture to. By "
        "default, those of the picture to be made.",
        bounds=(1, MAX_SIDE),
    )
    decoder: str = setting(
        "full",
        "What makes pixels of latents: the VAE, or the bundle's tiny decoder, which is faster and "
        "less exact.",
        choices=DECODERS,
    )
    vae_tile_size: int | None = setting(
        None,
        "Decode in tiles of this many pixels, to bound the memory of large pictures. "
        "By default, all at once.",
        bounds=(1, MAX_SIDE),
    )
    cache_interval: int = setting(
        1,
        "Run the whole denoiser in every n-th step only; the steps between take its features, "
        "which is faster and less exact (arXiv:2312.00858).",
        bounds=(1, 1000),
    )
    model: str | None = None
    """The bundle's model, which a picture records; no row of the table."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    kind: Kind
    default: Any
    """None leaves the choice to the bundle, or means none at all."""
    scope: Scope
    """Whether each picture of a call may have its own, or all share one."""
    bounds: tuple[float, float]
    """Inclusive; infinite where there are none."""
    choices: Sequence[str]
    help: str

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    def checked(self, value: Any, where: str = "") -> Any:
        """The value, as the type that the table says; InvalidInputError names what is allowed.

        None is the default. where: what to write before the name.
        """
        if value is None:
            return self.default
        name, (low, high) = f"{where}{self.name}", self.bounds
        match self.kind:
            case "integer":
                return arguments.integer(name, value, int(low), int(high))
            case "real":
                return arguments.real(name, value, low, high)
            case "interval":
                return arguments.interval(name, value, low, high)
            case "pair":
                return arguments.pair(name, value, int(low), int(high))
            case "choice":
                return _chosen(name, value, self.choices)
            case "text" | "file":
                return arguments.text(name, value)


def _row(name: str, annotation: Any, default: Any, row: Mapping[str, Any]) -> Setting:
    is_union = isinstance(annotation, UnionType)
    types = [
        one for one in (get_args(annotation) if is_union else [annotation]) if one is not NoneType
    ]
    kind = KINDS[types[0]]
    if row["choices"]:
        kind = "choice"
    if row["is_file"]:
        kind = "file"
    columns = {name: row[name] for name in ("scope", "bounds", "choices", "help")}
    return Setting(name=name, kind=kind, default=default, **columns)


def _chosen(name: str, value: object, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise InvalidInputError(
            f"{name} must be one of {', '.join(choices)}, got {arguments.quoted(value)}."
        )
    return value


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        one.name: _row(one.name, one.type, one.default, one.metadata)
        for one in fields(Settings)
        if one.metadata
    }
)
"""Name → row, in the table's order."""
