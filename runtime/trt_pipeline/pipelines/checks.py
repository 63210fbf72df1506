"""Check: what a call asks for, and whether the bundle can do it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trt_pipeline import arguments
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.capabilities import (
    begins_with_pictures,
    changes_images,
    embeds_guidance,
    enlarges,
    sees_sizes,
    takes_prompts,
)
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pipelines.images_in import (
    check_images,
    image_count,
    image_pixels,
    opened_images,
)
from trt_pipeline.pipelines.request import CancelToken, OutputType, ProgressBar, Request
from trt_pipeline.pipelines.sizes import sized
from trt_pipeline.sampling.guidance import guided_steps
from trt_pipeline.sampling.noise import Draws, NoiseStream, SeedNoise, given_draws, image_seeds
from trt_pipeline.sampling.samplers import SamplerTable, sampler_table
from trt_pipeline.sampling.schedule import choose_schedule
from trt_pipeline.settings import SETTINGS, Settings
from trt_pipeline.text.prompts import Mixture, as_mixtures, as_negatives

OUTPUT_TYPES = ("pil", "np", "latent")
STRENGTH = 0.8
"""Part of the steps that an image goes through where `strength` is not given, as in diffusers."""
MIN_TILE = 8
"""Smallest side of a tile in latents; a smaller one would show little but its seams."""
MAX_IMAGES = 10_000
"""Pictures of a prompt, and of a call."""
OF_PROMPTS = ("prompt", "negative_prompt", "guidance_scale", "guidance_interval")
OF_GUIDANCE_ROWS = ("negative_prompt", "guidance_interval")
OF_IMAGES = ("image", "strength", "mask_image", "overlay")
OF_SIZES = ("original_size", "crops_coords_top_left", "target_size")
PLAIN_TEXT: Mixture = [("", 1.0)]
"""What a picture of a model without prompts shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What one picture of a call has for itself."""

    mixture: Mixture
    negative: str | None
    """None if it was not given."""
    scale: float
    """Of guidance."""
    image_scale: float | None
    """Of guidance by the image; None for a model that changes no images."""
    noise: NoiseStream
    seed: int | None
    """None if a generator gives the noise."""
    latents: NDArray[np.float32] | None
    """[C, h, w], the starting noise, if it was given."""
    image: NDArray[np.uint8] | None
    """[H, W, 3], what the picture begins with or changes; [h, w, 3] if it is to be enlarged. The
    pictures of one image share the array."""
    repainted: NDArray[np.bool_] | None
    """[H, W], where the image is painted again; None is everywhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call that the bundle can do: B pictures."""

    settings: Settings
    """Those that all pictures share, with the bundle's defaults where the request has none."""
    pictures: Sequence[Picture]
    draws: Draws
    """Of the pictures' noise."""
    shape: tuple[int, int, int]
    """Of each picture's latents, [C, h, w]."""
    table: SamplerTable
    guided: Sequence[bool]
    """Whether each step is guided."""
    from_noise: bool
    """Whether denoising begins with nothing but noise."""
    tile: int | None
    """Side of the decoder's tiles in latents."""
    decoder: str
    """The graph that makes pixels."""
    output_type: OutputType
    callback: Callable[..., Any] | None
    cancel: CancelToken | None
    progress_bar: ProgressBar | None


def check(bundle: Bundle, request: Request) -> Call:
    """What a request asks of a bundle, before any graph runs.

    InvalidInputError names the argument, its value and what is allowed.
    """
    _refuse_what_does_not_apply(bundle, request)
    settings = _with_defaults(bundle, _shared(request))
    copies = arguments.integer(
        "num_images_per_prompt", request.num_images_per_prompt, 1, MAX_IMAGES
    )
    mixtures = _mixtures(bundle, request, copies)
    count = arguments.integer("the number of pictures", len(mixtures), 1, MAX_IMAGES)
    check_images(bundle, request)
    opened = opened_images(request, count, copies)
    shape, settings = sized(bundle, settings, [image for image, mask in opened if mask is None])
    begins_with_image = bool(opened) and begins_with_pictures(bundle)
    strength = _strength(settings, request) if begins_with_image else 1.0
    spreads = _spreads_steps(bundle, settings, request)
    skipped = 0 if spreads else _skipped_steps(settings, strength)
    if begins_with_image:
        _check_starts(request, is_whole=request.mask_image is not None and skipped == 0)
    table = _table(bundle, settings, skipped, strength if spreads else 1.0)
    draws, seeds = _noise(request, count)
    starts = _starts(request.latents, (count, *shape))
    images = image_pixels(bundle, opened, shape) or [(None, None)] * count
    negatives = as_negatives(request.negative_prompt, count, copies)
    scales = _scales(bundle, request, count, copies)
    image_scales = _image_scales(bundle, request, count, copies)
    _check_output(request)
    return Call(
        settings=settings,
        pictures=[
            Picture(*wanted, *drawn, *given)
            for wanted, drawn, given in zip(
                zip(mixtures, negatives, scales, image_scales, strict=True),
                zip(draws.streams, seeds, starts, strict=True),
                images,
                strict=True,
            )
        ],
        draws=draws,
        shape=shape,
        table=table,
        guided=guided_steps(settings.guidance_interval, len(table.timesteps)),
        from_noise=not begins_with_image or (request.mask_image is not None and skipped == 0),
        tile=_tile(settings.vae_tile_size, bundle.model.vae_scale_factor),
        decoder="tiny_decoder" if settings.decoder == "tiny" else "decoder",
        output_type=request.output_type,
        callback=request.callback_on_step_end,
        cancel=request.cancel,
        progress_bar=request.progress_bar,
    )


def _refuse_what_does_not_apply(bundle: Bundle, request: Request) -> None:
    """InvalidInputError for an argument that this bundle's model has no use for."""
    refused: dict[str, str] = {}
    if not takes_prompts(bundle):
        refused |= dict.fromkeys(OF_PROMPTS, "this model makes pictures without prompts")
    if embeds_guidance(bundle):
        refused |= dict.fromkeys(OF_GUIDANCE_ROWS, "this model has guidance built in")
    if enlarges(bundle):
        refused |= dict.fromkeys(OF_IMAGES[1:], "this model enlarges an image by its own factor")
    elif changes_images(bundle):
        refused |= dict.fromkeys(OF_IMAGES[1:], "this model changes all of an image from noise")
    elif not begins_with_pictures(bundle):
        refused |= dict.fromkeys(OF_IMAGES, "this bundle has no encoder for pictures")
    if not changes_images(bundle):
        refused["image_guidance_scale"] = "this model is not one that changes an image by a prompt"
    if not sees_sizes(bundle):
        refused |= dict.fromkeys(OF_SIZES, "this model knows nothing of sizes")
    if "cached_denoiser" not in bundle.graphs:
        refused["cache_interval"] = (
            "this bundle has no cached_denoiser. Export its checkpoint again"
        )
    if "tiny_decoder" not in bundle.graphs:
        refused["decoder"] = (
            "this bundle has no tiny decoder. Export its checkpoint with --tiny-decoder"
        )
    for name, reason in refused.items():
        value = getattr(request, name)
        if not _is_left_out(name, value):
            raise InvalidInputError(f"{name} is {arguments.quoted(value)}, but {reason}.")


def _is_left_out(name: str, value: object) -> bool:
    if name == "guidance_scale":
        return value is None or (isinstance(value, int | float) and value == 1)
    if name == "negative_prompt" and isinstance(value, list | tuple):
        return all(_is_left_out(name, one) for one in value)
    plain = SETTINGS[name].default
    if value is None or (isinstance(value, str) and not value):
        return True
    return type(value) is type(plain) and bool(value == plain)


def _shared(request: Request) -> Settings:
    """The settings that all pictures of a call share, checked one by one."""
    shared = [row for row in SETTINGS.values() if row.scope == "call"]
    return Settings(**{row.name: row.checked(getattr(request, row.name)) for row in shared})


def _with_defaults(bundle: Bundle, settings: Settings) -> Settings:
    """The bundle's defaults where there is no value. Its eta is for its sampler only."""
    own = bundle.defaults
    sampler = settings.sampler or own.sampler
    eta = own.eta if sampler == own.sampler else 0.0
    return replace(
        settings,
        sampler=sampler,
        eta=eta if settings.eta is None else settings.eta,
        num_inference_steps=settings.num_inference_steps or own.num_inference_steps,
    )


def _mixtures(bundle: Bundle, request: Request, copies: int) -> list[Mixture]:
    """What each picture shows."""
    if takes_prompts(bundle):
        if request.prompt is None:
            raise InvalidInputError("prompt is missing; this model makes pictures of prompts.")
        mixtures = as_mixtures(request.prompt)
    elif enlarges(bundle):
        mixtures = [PLAIN_TEXT] * image_count(request.image)
    else:
        mixtures = [PLAIN_TEXT]
    return [mixture for mixture in mixtures for _ in range(copies)]


def _strength(settings: Settings, request: Request) -> float:
    """The part of the steps that an image goes through."""
    default = STRENGTH if request.mask_image is None else 1.0
    return default if settings.strength is None else settings.strength


def _spreads_steps(bundle: Bundle, settings: Settings, request: Request) -> bool:
    """Whether all steps are taken within the part that the strength leaves: diffusers has a
    pipeline of its own for images of latent consistency models, but not for masks."""
    return embeds_guidance(bundle) and settings.sampler == "lcm" and request.mask_image is None


def _skipped_steps(settings: Settings, strength: float) -> int:
    """How many of the first steps an image leaves out, as diffusers counts them."""
    steps = settings.num_inference_steps or 1
    left = min(int(steps * strength), steps)
    if left < 1:
        raise InvalidInputError(
            f"strength {strength:g} of {arguments.counted(steps, 'step')} leaves none; "
            f"use more steps, or a strength of {1 / steps:g} or more."
        )
    return steps - left


def _check_starts(request: Request, *, is_whole: bool) -> None:
    """InvalidInputError for latents beside an image, unless all of the steps follow noise."""
    if request.latents is not None and not is_whole:
        raise InvalidInputError("latents and image both say what to begin with; give one.")


def _table(bundle: Bundle, settings: Settings, skipped: int, strength: float) -> SamplerTable:
    schedule = choose_schedule(bundle.schedule, settings.schedule, settings.timestep_spacing)
    return sampler_table(
        settings.sampler or bundle.defaults.sampler,
        schedule,
        settings.num_inference_steps or bundle.defaults.num_inference_steps,
        settings.eta or 0.0,
        start=skipped,
        strength=strength,
    )


def _noise(request: Request, count: int) -> tuple[Draws, Sequence[int] | Sequence[None]]:
    """Where the pictures' noise comes from, and each one's seed; no seeds if generators give it."""
    if request.generator is None:
        seeds = image_seeds(request.seed, count)
        return Draws([SeedNoise(seed) for seed in seeds]), seeds
    if request.seed is not None:
        raise InvalidInputError("seed and generator both say where noise comes from; give one.")
    return given_draws(request.generator, count), [None] * count


def _scales(bundle: Bundle, request: Request, count: int, copies: int) -> Sequence[float]:
    """The guidance scale of each picture."""
    if not takes_prompts(bundle):
        return [1.0] * count
    own = bundle.defaults.guidance_scale
    scales = _reals("guidance_scale", request.guidance_scale, count, copies)
    return [own if scale is None else scale for scale in scales]


def _image_scales(
    bundle: Bundle, request: Request, count: int, copies: int
) -> Sequence[float | None]:
    """The image guidance scale of each picture; None for a model that changes no images."""
    if not changes_images(bundle):
        return [None] * count
    return _reals("image_guidance_scale", request.image_guidance_scale, count, copies)


def _reals(name: str, given: object, count: int, copies: int) -> Sequence[float | None]:
    """A number for each picture, of one for all or a list; None where that is the default."""
    row = SETTINGS[name]
    if not arguments.is_list(given):
        return [row.checked(given)] * count
    return arguments.per_picture(name, [row.checked(one) for one in given], count, copies)


def _starts(
    latents: ArrayLike | None, shape: tuple[int, ...]
) -> "Sequence[NDArray[np.float32] | None]":
    """The starting noise of each picture, if it was given."""
    return [None] * shape[0] if latents is None else [*checked_latents(latents, shape)]


def checked_latents(latents: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Latents as float32; InvalidInputError unless they are finite and of this shape."""
    try:
        given = np.asarray(latents)
        with np.errstate(over="ignore"):
            array = given.astype(np.float32, casting="same_kind")
    except (TypeError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise InvalidInputError(f"latents must be an array of numbers: {reason}.") from None
    if array.shape != shape:
        raise InvalidInputError(f"latents have shape {array.shape}, expected {shape}.")
    if not np.isfinite(array).all():
        raise InvalidInputError("latents hold numbers that are NaN or infinite in float32.")
    return array


def _check_output(request: Request) -> None:
    """InvalidInputError for what a call cannot give, or cannot report to."""
    if request.output_type not in OUTPUT_TYPES:
        raise InvalidInputError(
            f"output_type must be one of {', '.join(OUTPUT_TYPES)}, "
            f"got {arguments.quoted(request.output_type)}."
        )
    callback, cancel, bar = request.callback_on_step_end, request.cancel, request.progress_bar
    if not (callback is None or callable(callback)):
        raise InvalidInputError(
            f"callback_on_step_end must be a function, got {arguments.quoted(callback)}."
        )
    if not (cancel is None or callable(getattr(cancel, "is_set", None))):
        raise InvalidInputError(
            f"cancel must have is_set(), as threading.Event does, got {arguments.quoted(cancel)}."
        )
    if not (bar is None or isinstance(bar, bool) or callable(bar)):
        raise InvalidInputError(
            "progress_bar must be True, False or a function that wraps a range, "
            f"got {arguments.quoted(bar)}."
        )


def _tile(vae_tile_size: int | None, factor: int) -> int | None:
    if vae_tile_size is None:
        return None
    smallest = MIN_TILE * factor
    if vae_tile_size % factor or vae_tile_size < smallest:
        raise InvalidInputError(
            f"vae_tile_size must be a multiple of {factor}, and at least {smallest}, "
            f"got {vae_tile_size}."
        )
    return vae_tile_size // factor
