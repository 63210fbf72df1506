"""Call: what one call of the pipeline asks for, checked before any graph runs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trt_pipeline import arguments
from trt_pipeline.bundle import Bundle
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.image_inputs import (
    common_size,
    mask_pixels,
    open_pictures,
    rgb_pixels,
)
from trt_pipeline.pipelines.prompts import Mixture, as_mixtures, as_negatives
from trt_pipeline.sampling.guidance import guidance_scales, guided_steps
from trt_pipeline.sampling.noise import NoiseStream, PerSample, SeedNoise, given_stream, image_seeds
from trt_pipeline.sampling.samplers import SamplerTable, sampler_table
from trt_pipeline.sampling.schedule import choose_schedule

if TYPE_CHECKING:
    from PIL.Image import Image

OutputType: TypeAlias = Literal["pil", "np", "latent"]
OUTPUT_TYPES = ("pil", "np", "latent")
ProgressBar: TypeAlias = bool | Callable[[range], Iterable[int]]

STRENGTH = 0.8
"""How much of an image is made anew where `strength` is not given, as in diffusers."""
MIN_TILE = 8
"""Smallest side of a tile in latents; a smaller one would show little but its seams."""


class CancelToken(Protocol):
    """Whether to stop, as threading.Event says it."""

    def is_set(self) -> bool:
        """True once the call shall end."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageInput:
    """The pictures that a call begins with."""

    pixels: NDArray[np.uint8]
    """[B, H, W, 3]"""
    repainted: NDArray[np.bool_] | None
    """[B, H, W], where the picture is painted anew; None is everywhere."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Call:
    """One call, ready to run; B pictures."""

    shape: tuple[int, ...]
    """Of the latents, [B, C, h, w]."""
    table: SamplerTable
    noise: NoiseStream
    seeds: tuple[int, ...] | None
    latents: NDArray[np.float32] | None
    """The starting noise, if it was given."""
    image: ImageInput | None
    from_noise: bool
    """Whether denoising begins with nothing but noise."""
    cache_interval: int
    """The whole denoiser runs in every so-manyth step."""
    tile: int | None
    """Side of the decoder's tiles in latents."""
    output_type: OutputType
    callback: Callable[..., Any] | None
    cancel: CancelToken | None
    progress_bar: ProgressBar


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TextCall(Call):
    """A call with prompts."""

    mixtures: Sequence[Mixture]
    negatives: Sequence[str]
    scales: Sequence[float]
    guided: Sequence[bool]
    """Whether each step is guided."""


def check_text_call(
    bundle: Bundle,
    *,
    prompt: object,
    negative_prompt: object,
    num_images_per_prompt: int,
    guidance_scale: object,
    guidance_interval: object,
    num_inference_steps: int,
    image: object,
    strength: float | None,
    mask_image: object,
    latents: ArrayLike | None,
    **others: Any,
) -> TextCall:
    """Check the arguments of Pipeline.__call__, which explains them, against a bundle.

    InvalidInputError names the argument, its value and what is allowed.
    """
    mixtures = _repeated(as_mixtures(prompt), num_images_per_prompt)
    count = len(mixtures)
    opened = _opened(image, mask_image, strength, latents, count, num_images_per_prompt)
    start = _first_step(num_inference_steps, strength, bool(opened), mask_image is not None)
    call = check_call(
        bundle,
        count,
        opened,
        num_inference_steps=num_inference_steps,
        start=start,
        latents=latents,
        **others,
    )
    return TextCall(
        **{field.name: getattr(call, field.name) for field in fields(call)},
        mixtures=mixtures,
        negatives=as_negatives(negative_prompt, count, num_images_per_prompt),
        scales=guidance_scales(guidance_scale, count, num_images_per_prompt),
        guided=guided_steps(guidance_interval, len(call.table.timesteps)),
    )


def check_call(
    bundle: Bundle,
    count: int,
    opened: "Sequence[tuple[Image, Image | None]]" = (),
    *,
    height: int | None,
    width: int | None,
    num_inference_steps: int,
    start: int = 0,
    eta: float,
    sampler: str | None,
    schedule: str,
    timestep_spacing: str | None,
    generator: object,
    seed: int | Sequence[int] | None,
    latents: ArrayLike | None,
    output_type: OutputType,
    cache_interval: int,
    vae_tile_size: int | None,
    callback_on_step_end: Callable[..., Any] | None,
    cancel: CancelToken | None,
    progress_bar: ProgressBar,
) -> Call:
    """Check what every kind of pipeline can be asked, for `count` pictures.

    opened: each picture to begin with and its mask. start: how many steps they make superfluous.
    """
    factor = bundle.model.vae_scale_factor
    shape = _latents_shape(bundle, count, height, width, [picture for picture, _ in opened])
    chosen = choose_schedule(bundle.schedule, schedule, timestep_spacing)
    table = sampler_table(
        bundle.schedule.sampler if sampler is None else sampler,
        chosen,
        num_inference_steps,
        eta,
        start=start,
    )
    noise, seeds = _noise(count, seed, generator)
    if output_type not in OUTPUT_TYPES:
        raise InvalidInputError(
            f"output_type must be one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}."
        )
    _check_watchers(callback_on_step_end, cancel, progress_bar)
    image = _image_input(opened, shape, factor) if opened else None
    return Call(
        shape=shape,
        table=table,
        noise=noise,
        seeds=seeds,
        latents=None if latents is None else checked_latents(latents, shape),
        image=image,
        from_noise=image is None or (image.repainted is not None and start == 0),
        cache_interval=arguments.integer("cache_interval", cache_interval, 1, 1000),
        tile=_tile(vae_tile_size, factor),
        output_type=output_type,
        callback=callback_on_step_end,
        cancel=cancel,
        progress_bar=progress_bar,
    )


def _repeated(mixtures: Sequence[Mixture], num_images_per_prompt: int) -> list[Mixture]:
    times = arguments.integer("num_images_per_prompt", num_images_per_prompt, 1, 10000)
    return [mixture for mixture in mixtures for _ in range(times)]


def _opened(
    image: object,
    mask_image: object,
    strength: object,
    latents: object,
    count: int,
    copies: int,
) -> "list[tuple[Image, Image | None]]":
    """Each picture to begin with and its mask; none if there is no image."""
    if image is None:
        for name, given in (("mask_image", mask_image), ("strength", strength)):
            if given is not None:
                raise InvalidInputError(f"{name} is given without image.")
        return []
    if latents is not None:
        raise InvalidInputError("latents and image both say what to begin with; give one.")
    images = open_pictures("image", image, count, copies)
    if mask_image is None:
        return [(picture, None) for picture in images]
    masks = open_pictures("mask_image", mask_image, count, copies)
    for picture, mask in zip(images, masks, strict=True):
        if picture.size != mask.size:
            raise InvalidInputError(
                f"mask_image is {mask.width}x{mask.height} pixels, but image is "
                f"{picture.width}x{picture.height}; they must agree."
            )
    return list(zip(images, masks, strict=True))


def _latents_shape(
    bundle: Bundle, batch: int, height: int | None, width: int | None, images: "list[Image]"
) -> tuple[int, ...]:
    model, limits = bundle.model, bundle.limits
    factor = model.vae_scale_factor
    native, whose = (model.height, model.width), ""
    if images and (height is None or width is None):
        native, whose = common_size(images, factor), " of image, unless given to resize it,"
    pixels = [
        _pixels(f"{name}{whose}", own, allowed, factor)
        if given is None
        else _pixels(name, given, allowed, factor)
        for name, given, own, allowed in (
            ("height", height, native[0], limits.height),
            ("width", width, native[1], limits.width),
        )
    ]
    return (batch, model.latent_channels, pixels[0] // factor, pixels[1] // factor)


def _pixels(name: str, value: int, limits: tuple[int, int], factor: int) -> int:
    low, high = limits
    allowed = f"{name} must be a multiple of {factor} from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InvalidInputError(f"{allowed}, got {arguments.quoted(value)}.")
    if value % factor or not low <= value <= high:
        raise InvalidInputError(f"{allowed}, got {arguments.quoted(value)}.")
    return int(value)


def _first_step(steps: int, strength: float | None, has_image: bool, has_mask: bool) -> int:
    """How many steps an image makes superfluous, as diffusers counts them."""
    if not has_image:
        return 0
    chosen = arguments.real(
        "strength", (1.0 if has_mask else STRENGTH) if strength is None else strength, 0, 1
    )
    steps = arguments.integer("num_inference_steps", steps, 1, 10**6)
    left = min(int(steps * chosen), steps)
    if left < 1:
        raise InvalidInputError(
            f"strength {chosen:g} of {steps} steps leaves none; at least {1 / steps:g} leaves one."
        )
    return steps - left


def _noise(
    batch: int, seed: int | Sequence[int] | None, generator: object
) -> tuple[NoiseStream, tuple[int, ...] | None]:
    if generator is None:
        seeds = image_seeds(seed, batch)
        return PerSample([SeedNoise(one) for one in seeds]), seeds
    if seed is not None:
        raise InvalidInputError("seed and generator both say where noise comes from; give one.")
    return given_stream(generator, batch), None


def checked_latents(latents: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Latents as float32; InvalidInputError unless they are finite and of this shape."""
    try:
        given = np.asarray(latents)
        with np.errstate(over="ignore"):
            array = given.astype(np.float32, casting="same_kind")
    except (TypeError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise InvalidInputError(f"latents are no array of numbers: {reason}.") from None
    if array.shape != shape:
        raise InvalidInputError(f"latents have shape {array.shape}, expected {shape}.")
    if not np.isfinite(array).all():
        raise InvalidInputError("latents hold numbers that are NaN or infinite in float32.")
    return array


def _image_input(
    opened: "Sequence[tuple[Image, Image | None]]", shape: tuple[int, ...], factor: int
) -> ImageInput:
    height, width = shape[2] * factor, shape[3] * factor
    masks = [mask_pixels(mask, height, width) for _, mask in opened if mask is not None]
    return ImageInput(
        pixels=np.stack([rgb_pixels(picture, height, width) for picture, _ in opened]),
        repainted=np.stack(masks) if masks else None,
    )


def _check_watchers(callback: object, cancel: object, progress_bar: object) -> None:
    if not (callback is None or callable(callback)):
        raise InvalidInputError(
            f"callback_on_step_end must be a function, got {arguments.quoted(callback)}."
        )
    if not (cancel is None or callable(getattr(cancel, "is_set", None))):
        raise InvalidInputError(
            f"cancel must have is_set(), as threading.Event does, got {arguments.quoted(cancel)}."
        )
    if not (isinstance(progress_bar, bool) or callable(progress_bar)):
        raise InvalidInputError(
            "progress_bar must be True, False or a function that wraps a range, "
            f"got {arguments.quoted(progress_bar)}."
        )


def _tile(vae_tile_size: int | None, factor: int) -> int | None:
    if vae_tile_size is None:
        return None
    tile = arguments.integer("vae_tile_size", vae_tile_size, MIN_TILE * factor, 2**16)
    if tile % factor:
        raise InvalidInputError(f"vae_tile_size must be a multiple of {factor}, got {tile}.")
    return tile // factor
