"""Request: the arguments of a call, as they were given."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import update_wrapper
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeAlias, TypeVar

from numpy.typing import ArrayLike

from trt_pipeline.errors import UnknownArgumentError
from trt_pipeline.pictures.image_inputs import ImageInput
from trt_pipeline.sampling.noise import NoiseStream
from trt_pipeline.settings import Settings
from trt_pipeline.text.prompts import Prompt

OutputType: TypeAlias = Literal["pil", "np", "latent"]
ProgressBar: TypeAlias = bool | Callable[[range], Iterable[int]]

DEFAULT = Settings()


class CancelToken(Protocol):
    """Whether to stop, as threading.Event says it."""

    def is_set(self) -> bool:
        """True once the call shall end."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """The arguments of a call, in diffusers' order and under its names.

    Those of the table of settings mean what settings.py says. Where a setting is one a picture, a
    list has one value for each picture, or for each prompt.
    """

    prompt: Prompt | Sequence[Prompt] | None = None
    """A string, a weighted mixture such as [("a red circle", 0.6), ("a blue circle", 0.4)], or a
    list of either; None for a model without prompts."""
    height: int | None = DEFAULT.height
    width: int | None = DEFAULT.width
    num_inference_steps: int | None = DEFAULT.num_inference_steps
    guidance_scale: float | Sequence[float] | None = DEFAULT.guidance_scale
    eta: float | None = DEFAULT.eta
    generator: NoiseStream | Sequence[NoiseStream] | None = None
    """TorchGenerator(s) draws as diffusers does after torch.manual_seed(s); a list has one a
    picture. Instead of seed."""
    latents: ArrayLike | None = None
    """The starting noise [B, C, h, w], instead of the first draw; then seed and generator matter to
    samplers alone that add noise."""
    output_type: OutputType = "pil"
    """Pillow images, "np": float32 [B, H, W, 3] in 0..1, or "latent": float32 [B, C, h, w]."""
    return_dict: bool = True
    """False returns (images,), as in diffusers."""
    _: KW_ONLY
    seed: int | Sequence[int] | None = DEFAULT.seed
    """An integer s gives the pictures s, s + 1, …; a list has one a picture. None draws random
    seeds, which the output names."""
    sampler: str | None = DEFAULT.sampler
    schedule: str = DEFAULT.schedule
    timestep_spacing: str | None = DEFAULT.timestep_spacing
    negative_prompt: str | Sequence[str | None] | None = DEFAULT.negative_prompt
    """None is the empty text as "" is, except for models that zeros_for_empty_prompt is set for."""
    image_guidance_scale: float | Sequence[float] = DEFAULT.image_guidance_scale
    guidance_interval: tuple[float, float] = DEFAULT.guidance_interval
    num_images_per_prompt: int = 1
    """Pictures of the first prompt come first, then of the second. Without prompts, pictures of
    each image, or pictures in all."""
    image: "ImageInput | Sequence[ImageInput] | None" = None
    """A path, Pillow image or array, or a list with one a picture: what to begin with instead of
    noise, or what to change or enlarge. Resized with a Lanczos filter if it has another size."""
    strength: float | None = DEFAULT.strength
    mask_image: "ImageInput | Sequence[ImageInput] | None" = None
    """Opaque, of the image's size: the image is painted again where it is white."""
    overlay: str = DEFAULT.overlay
    cache_interval: int = DEFAULT.cache_interval
    original_size: tuple[int, int] | None = DEFAULT.original_size
    crops_coords_top_left: tuple[int, int] = DEFAULT.crops_coords_top_left
    target_size: tuple[int, int] | None = DEFAULT.target_size
    decoder: str = DEFAULT.decoder
    vae_tile_size: int | None = DEFAULT.vae_tile_size
    callback_on_step_end: Callable[..., Any] | None = None
    """Called as (pipe, step, timestep, {"latents": [B, C, h, w]}) after each step; "latents" of the
    dictionary that it returns, if any, replace them."""
    cancel: CancelToken | None = None
    """Such as a threading.Event; once set, the call ends with GenerationCancelledError."""
    progress_bar: ProgressBar | None = None
    """True for tqdm's, False for none, or a function that wraps the range of steps as tqdm does;
    None is True for a call, and False for a stream."""


P = ParamSpec("P")
Self = TypeVar("Self")
Result = TypeVar("Result")


def takes_arguments(
    make: Callable[P, Request],
) -> Callable[[Callable[[Self, Request], Result]], Callable[Concatenate[Self, P], Result]]:
    """Let a method that takes a request be called with the arguments that make one.

    The method raises UnknownArgumentError for other keywords, and suggests the nearest name.
    """
    parameters = [*inspect.signature(make).parameters.values()]
    names = [parameter.name for parameter in parameters]
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)

    def decorate(
        method: Callable[[Self, Request], Result],
    ) -> Callable[Concatenate[Self, P], Result]:
        def call(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> Result:
            for name in (name for name in kwargs if name not in names):
                raise UnknownArgumentError(_unknown(name, names))
            return method(self, _made(make, *args, **kwargs))

        update_wrapper(call, method)
        vars(call)["__signature__"] = inspect.Signature([first, *parameters])
        return call

    return decorate


def _made(make: Callable[P, Request], *args: P.args, **kwargs: P.kwargs) -> Request:
    """UnknownArgumentError for an argument given twice, or more of them than there are."""
    try:
        inspect.signature(make).bind(*args, **kwargs)
    except TypeError as error:
        raise UnknownArgumentError(f"this call has {error}.") from None
    return make(*args, **kwargs)


def _unknown(name: str, known: Sequence[str]) -> str:
    near = [one for one in known if name in one] or difflib.get_close_matches(name, known, n=1)
    suggestion = f"; did you mean {near[0]}?" if near else "."
    return f"this call has no argument {name}{suggestion}"
