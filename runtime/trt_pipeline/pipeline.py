"""Prompts to pictures: the pipeline that a user calls."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Never, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trt_pipeline import arguments
from trt_pipeline.backends import Backend, open_backend
from trt_pipeline.bundle import Bundle, Verify, load_bundle
from trt_pipeline.cache import ArrayCache
from trt_pipeline.denoising import Part, denoise
from trt_pipeline.errors import InvalidInputError, UnknownArgumentError
from trt_pipeline.guidance import guidance_scales, guide, guided_steps
from trt_pipeline.images import to_pil
from trt_pipeline.manifest import Precision
from trt_pipeline.noise import NoiseStream, PerSample, SeedNoise, given_stream, image_seeds
from trt_pipeline.prompts import Mixture, Prompt, as_mixtures, as_negatives
from trt_pipeline.samplers import SamplerTable, sampler_table
from trt_pipeline.schedule import choose_schedule
from trt_pipeline.tokenizer import Tokenizer

if TYPE_CHECKING:
    from PIL.Image import Image

OutputType: TypeAlias = Literal["pil", "np", "latent"]
OUTPUT_TYPES = ("pil", "np", "latent")

GRAPHS_OF_A_CALL = ("text_encoder", "time_embedding", "denoiser", "decoder")

TEXT_CACHE_BYTES = 256 * 2**20
"""Keys and values of the prompts used last; 7.7 MB each for ldm-text2im-large-256 in float32."""
TIME_CACHE_BYTES = 128 * 2**20
"""Time projections of the schedules used last; 4 MB for 50 steps of the same model."""


class PipelineOutput(NamedTuple):
    """The pictures of one call."""

    images: "list[Image] | NDArray[np.float32]"
    """As output_type says: Pillow images, pixels [B, H, W, 3] in 0..1, or latents [B, C, h, w]."""
    seeds: tuple[int, ...] | None
    """The seed of each image, which makes it again; None if a generator gave the noise."""


@dataclass(frozen=True, slots=True)
class PipelineInfo:
    """What a pipeline runs, where, and why there."""

    model: str
    bundle: str
    """The bundle's folder."""
    weights: Precision
    arithmetic: Precision
    backend: str
    reason: str
    """Why this backend was chosen."""
    device: str


def trt_pipeline(
    bundle: str | os.PathLike[str] | Bundle,
    *,
    backend: str | None = None,
    verify: Verify = "full",
    threads: int | None = None,
) -> "Pipeline":
    """Open a bundle, ready to make pictures.

    backend: onnxruntime; None is the best that can run here.
    verify: "full" compares size and sha256 of every file, "manifest" only sizes, "none" nothing.
    threads: for arithmetic on the CPU; None is every CPU this process may use.
    Raises BundleError, InvalidInputError, BackendError or one of their kinds.
    """
    loaded = bundle if isinstance(bundle, Bundle) else load_bundle(bundle, verify)
    engine, reason = open_backend(loaded, backend, threads)
    return Pipeline(loaded, engine, reason)


class Pipeline:
    """A text-to-image pipeline; one may serve several threads. Leaving its `with` closes it."""

    def __init__(self, bundle: Bundle, backend: Backend, reason: str = "given") -> None:
        """Takes the backend over and closes it with the pipeline."""
        self.bundle = bundle
        self._backend = backend
        self._reason = reason
        self._tokenizer = Tokenizer(bundle.file(bundle.tokenizer.vocab), bundle.tokenizer)
        for graph in GRAPHS_OF_A_CALL:  # now, while the hashes just checked still hold
            backend.graph(graph)
        self._texts = ArrayCache(TEXT_CACHE_BYTES)
        self._times = ArrayCache(TIME_CACHE_BYTES)

    def __call__(
        self,
        prompt: Prompt | Sequence[Prompt],
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float | Sequence[float] = 1.0,
        eta: float = 0.0,
        generator: NoiseStream | Sequence[NoiseStream] | None = None,
        latents: ArrayLike | None = None,
        output_type: OutputType = "pil",
        return_dict: bool = True,
        *,
        seed: int | Sequence[int] | None = None,
        sampler: str = "ddim",
        schedule: str = "published",
        negative_prompt: str | Sequence[str] | None = None,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        num_images_per_prompt: int = 1,
        progress_bar: bool | Callable[[range], Iterable[int]] = True,
        **unknown: Never,
    ) -> PipelineOutput:
        """Make pictures of each prompt; names and defaults are diffusers'.

        prompt: a string, a weighted mixture of strings, or a list of either.
        height, width: pixels within the bundle's limits; None is the model's native size.
        guidance_scale: u + g·(c - u) for any g but 1.0, which costs half; a list has one a picture.
        sampler: ddim, euler, euler_ancestral, pndm, lms, dpmsolver++, dpmsolver++_karras or unipc.
        schedule: "published" as in the checkpoint, or "trained" as in CompVis' own code.
        negative_prompt: what u sees instead of the empty text; a list has one a picture.
        guidance_interval: step i of N is guided if start <= i / N < stop; the others cost half.
        num_images_per_prompt: pictures of the first prompt come first, then of the second.
        eta: from 0, deterministic DDIM, to 1, DDPM.
        generator: TorchGenerator(s) draws as diffusers does after torch.manual_seed(s); a list has
        one a picture. seed: a picture depends on its own seed only; an integer s gives the pictures
        s, s + 1, …; None draws random seeds, which the output names.
        latents: the starting noise [B, C, h, w] instead of the first draw.
        return_dict: for compatibility; the output is an object and a tuple at once.
        progress_bar: tqdm, nothing, or a function that wraps the range of steps as tqdm does.
        InvalidInputError names the argument, its value and what is allowed; UnknownArgumentError
        suggests the name that was meant.
        """
        if unknown:
            raise UnknownArgumentError(_unknown_text(*unknown))
        mixtures = _repeated(as_mixtures(prompt), num_images_per_prompt)
        count = len(mixtures)
        negatives = as_negatives(negative_prompt, count)
        scales = guidance_scales(guidance_scale, count)
        shape = self._latents_shape(count, height, width)
        table = sampler_table(
            sampler, choose_schedule(self.bundle.schedule, schedule), num_inference_steps, eta
        )
        guided = guided_steps(guidance_interval, len(table.timesteps))
        noise, seeds = _noise(count, seed, generator)
        given = None if latents is None else _given_latents(latents, shape)
        _check_output_type(output_type)

        inside = self._encode(mixtures, negatives, scales)
        outside = inside if all(guided) else self._encode(mixtures, negatives, [1.0] * count)
        parts = [inside if step else outside for step in guided]
        start = noise.draw(shape) * np.float32(table.initial_scale) if given is None else given
        denoised = self._denoise(start, parts, table, noise, progress_bar)
        return PipelineOutput(self._decode(denoised, output_type), seeds)

    @property
    def info(self) -> PipelineInfo:
        """What runs here, where, and why."""
        return PipelineInfo(
            model=self.bundle.model.name,
            bundle=str(self.bundle.path),
            weights=self.bundle.precision,
            arithmetic=self._backend.precision,
            backend=self._backend.name,
            reason=self._reason,
            device=self._backend.device,
        )

    def close(self) -> None:
        """Free the engine; calls after it raise BackendError."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _latents_shape(self, batch: int, height: int | None, width: int | None) -> tuple[int, ...]:
        model, limits = self.bundle.model, self.bundle.limits
        factor = model.vae_scale_factor
        pixels = (
            _pixels("height", height, model.height, limits.height, factor),
            _pixels("width", width, model.width, limits.width, factor),
        )
        return (batch, model.latent_channels, pixels[0] // factor, pixels[1] // factor)

    def _encode(
        self, mixtures: Sequence[Mixture], negatives: Sequence[str], scales: Sequence[float]
    ) -> list[Part]:
        """Prompts to the text that each denoiser row sees, in parts that the bundle allows."""
        parts = []
        for samples in self._split(len(mixtures)):
            guidance = guide(mixtures[samples], negatives[samples], scales[samples])
            parts.append(Part(samples, self._text_kv(guidance.texts), guidance))
        return parts

    def _text_kv(self, prompts: Sequence[str]) -> NDArray[Any]:
        """[M, 77, K], encoded one by one so that a prompt's never depends on its company."""
        input_ids = self._tokenizer.encode(prompts)
        keyed = [(ids.tobytes(), partial(self._run_text, ids)) for ids in input_ids]
        return np.stack([self._texts.get(key, run) for key, run in keyed])

    def _run_text(self, input_ids: NDArray[np.int32]) -> NDArray[Any]:
        text_kv: NDArray[Any] = self._run("text_encoder", "text_kv", input_ids=input_ids[None])[0]
        return text_kv

    def _denoise(
        self,
        latents: NDArray[np.float32],
        parts: Sequence[Sequence[Part]],
        table: SamplerTable,
        noise: NoiseStream,
        progress_bar: bool | Callable[[range], Iterable[int]],
    ) -> NDArray[np.float32]:
        times = table.timesteps
        time_embeds = self._times.get(
            times.tobytes(), lambda: self._run("time_embedding", "time_embeds", timesteps=times)
        )
        steps = _tracked(range(len(times)), progress_bar)
        denoiser = self._backend.graph("denoiser")
        return denoise(denoiser, latents, parts, table, time_embeds, noise, steps)

    def _decode(
        self, latents: NDArray[np.float32], output_type: OutputType
    ) -> "list[Image] | NDArray[np.float32]":
        if output_type == "latent":
            return latents
        parts = [latents[samples] for samples in self._split(len(latents))]
        pixels = np.concatenate([self._run("decoder", "image", latents=part) for part in parts])
        return to_pil(pixels) if output_type == "pil" else np.divide(pixels, 255, dtype=np.float32)

    def _run(self, graph: str, output: str, **tensors: NDArray[Any]) -> NDArray[Any]:
        return self._backend.graph(graph).run(tensors)[output]

    def _split(self, batch: int) -> list[slice]:
        """Places of consecutive samples, as many at a time as the bundle allows."""
        most = self.bundle.limits.batch[1]
        return [slice(start, min(start + most, batch)) for start in range(0, batch, most)]


def _unknown_text(name: str, *_: str) -> str:
    import difflib
    import inspect

    known = [*inspect.signature(Pipeline.__call__).parameters][1:-1]
    near = difflib.get_close_matches(name, known, n=1)
    return f"{name} is no argument of this call" + (f"; did you mean {near[0]}?" if near else ".")


def _repeated(mixtures: Sequence[Mixture], num_images_per_prompt: int) -> list[Mixture]:
    times = arguments.integer("num_images_per_prompt", num_images_per_prompt, 1, 10000)
    return [mixture for mixture in mixtures for _ in range(times)]


def _noise(
    batch: int,
    seed: int | Sequence[int] | None,
    generator: NoiseStream | Sequence[NoiseStream] | None,
) -> tuple[NoiseStream, tuple[int, ...] | None]:
    if generator is None:
        seeds = image_seeds(seed, batch)
        return PerSample([SeedNoise(one) for one in seeds]), seeds
    if seed is not None:
        raise InvalidInputError("seed and generator both say where noise comes from; give one.")
    return given_stream(generator, batch), None


def _pixels(name: str, value: int | None, native: int, limits: tuple[int, int], factor: int) -> int:
    if value is None:
        return native
    low, high = limits
    allowed = f"{name} must be a multiple of {factor} from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InvalidInputError(f"{allowed}, got {value!r}.")
    if value % factor or not low <= value <= high:
        raise InvalidInputError(f"{allowed}, got {value}.")
    return int(value)


def _given_latents(latents: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    try:
        given = np.asarray(latents)
        with np.errstate(over="ignore"):
            array = given.astype(np.float32, casting="same_kind", copy=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"latents are no array of numbers: {error}.") from None
    if array.shape != shape:
        raise InvalidInputError(f"latents have shape {array.shape}, expected {shape}.")
    if not np.isfinite(array).all():
        raise InvalidInputError("latents hold NaN or infinite numbers, expected finite ones.")
    return array


def _check_output_type(output_type: object) -> None:
    if output_type not in OUTPUT_TYPES:
        raise InvalidInputError(
            f"output_type must be one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}."
        )


def _tracked(steps: range, progress_bar: bool | Callable[[range], Iterable[int]]) -> Iterable[int]:
    if callable(progress_bar):
        return progress_bar(steps)
    if not progress_bar:
        return steps
    from tqdm import tqdm

    return tqdm(steps)
