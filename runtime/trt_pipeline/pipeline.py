"""Prompts to pictures: the pipeline that a user calls."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Never, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trt_pipeline.backends import Backend, Graph, open_backend
from trt_pipeline.bundle import Bundle, Verify, load_bundle, verify_files
from trt_pipeline.cache import ArrayCache
from trt_pipeline.call import (
    Call,
    CancelToken,
    OutputType,
    ProgressBar,
    check_call,
    checked_latents,
)
from trt_pipeline.denoising import Part, denoise
from trt_pipeline.errors import GenerationCancelledError, InvalidInputError, UnknownArgumentError
from trt_pipeline.guidance import guide
from trt_pipeline.image_inputs import ImageInput
from trt_pipeline.images import to_pil
from trt_pipeline.inpainting import KnownLatents, kept_latents, noised, paste
from trt_pipeline.manifest import Precision
from trt_pipeline.noise import NoiseStream
from trt_pipeline.outputs import PipelineOutput, SafetyChecker, Step
from trt_pipeline.prompts import Prompt
from trt_pipeline.tiling import decode_in_tiles
from trt_pipeline.tokenizer import Tokenizer

if TYPE_CHECKING:
    pass

GRAPHS_OF_A_CALL = ("text_encoder", "time_embedding", "denoiser", "decoder")

TEXT_CACHE_BYTES = 256 * 2**20
"""Keys and values of the prompts used last; 7.7 MB each for ldm-text2im-large-256 in float32."""
TIME_CACHE_BYTES = 128 * 2**20
"""Time projections of the schedules used last; 4 MB for 50 steps of the same model."""


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
    safety_checker: "SafetyChecker | None" = None,
) -> "Pipeline":
    """Open a bundle, ready to make pictures.

    backend: onnxruntime or openvino; None is the best that can run here.
    verify: "full" compares size and sha256 of every file, "manifest" only sizes, "none" nothing.
    threads: for arithmetic on the CPU; None is every CPU this process may use.
    safety_checker: called with every call's finished Pillow images, says which must not be shown.
    Raises BundleError, InvalidInputError, BackendError or one of their kinds.
    """
    loaded = bundle if isinstance(bundle, Bundle) else load_bundle(bundle, verify)
    engine, reason = open_backend(loaded, backend, threads)
    return Pipeline(loaded, engine, reason, safety_checker)


class Pipeline:
    """A text-to-image pipeline; one may serve several threads. Leaving its `with` closes it."""

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        reason: str = "given",
        safety_checker: "SafetyChecker | None" = None,
    ) -> None:
        """Takes the backend over and closes it with the pipeline."""
        self.bundle = bundle
        self._backend = backend
        self._reason = reason
        self._safety_checker = safety_checker
        self._tokenizer = Tokenizer(bundle.file(bundle.tokenizer.vocab), bundle.tokenizer)
        for graph in GRAPHS_OF_A_CALL:  # now, while the hashes just checked still hold
            backend.graph(graph)
        self._encoder_checked = False
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
        image: "ImageInput | Sequence[ImageInput] | None" = None,
        strength: float | None = None,
        mask_image: "ImageInput | Sequence[ImageInput] | None" = None,
        vae_tile_size: int | None = None,
        callback_on_step_end: Callable[..., Any] | None = None,
        cancel: CancelToken | None = None,
        progress_bar: ProgressBar = True,
        **unknown: Never,
    ) -> PipelineOutput:
        """Make pictures of each prompt; names and defaults are diffusers'.

        prompt: a string, a weighted mixture of strings, or a list of either.
        height, width: pixels within the bundle's limits; None is the model's native size, or that
        of `image`.
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
        image: what to begin with instead of noise: a path, Pillow image or array, or a list with
        one a picture; resized with a Lanczos filter if it has another size. strength: 0..1, the
        part of the steps that it goes through; 0.8 by default, 1.0 with a mask.
        mask_image: of the image's size; where it is white the image is painted anew, elsewhere its
        pixels stay exactly. A list has one a picture.
        vae_tile_size: decode in tiles of so many pixels, to bound the memory of large pictures.
        callback_on_step_end: called as (pipe, step, timestep, {"latents": [B, C, h, w]}) after each
        step; "latents" of the dictionary it returns, if any, replace them.
        cancel: such as a threading.Event; once set, the call ends with GenerationCancelledError.
        return_dict: for compatibility; the output is an object and a tuple at once.
        progress_bar: tqdm, nothing, or a function that wraps the range of steps as tqdm does.
        InvalidInputError names the argument, its value and what is allowed; UnknownArgumentError
        suggests the name that was meant.
        """
        return _result(self._run_call(self._checked(locals())))

    def stream(self, *prompt: Any, **settings: Any) -> Iterator[Step | PipelineOutput]:
        """Take the arguments of a call; yield every step as it is done, then the call's output.

        Without a progress bar unless it is asked for. Closing the generator ends the call.
        """
        import inspect

        given = inspect.signature(Pipeline.__call__).bind(
            self, *prompt, **{"progress_bar": False, **settings}
        )
        given.apply_defaults()
        yield (yield from self._run_call(self._checked(given.arguments)))

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

    def _checked(self, given: Mapping[str, Any]) -> Call:
        """The call that arguments, `self` among them, ask for."""
        if given["unknown"]:
            raise UnknownArgumentError(_unknown_text(*given["unknown"]))
        if self._safety_checker and given["output_type"] == "latent":
            raise InvalidInputError('output_type "latent" would pass the safety checker by.')
        dropped = ("self", "return_dict", "unknown")
        return check_call(
            self.bundle, **{name: value for name, value in given.items() if name not in dropped}
        )

    def _run_call(self, call: Call) -> Generator[Step, None, PipelineOutput]:
        inside = self._encode(call, call.scales)
        outside = inside if all(call.guided) else self._encode(call, [1.0] * len(call.scales))
        parts = [inside if guided else outside for guided in call.guided]
        start, known = self._start(call)
        total = len(call.table.timesteps)
        for index, latents in self._denoise(call, start, parts, known):
            timestep = call.table.timesteps[index].item()
            if call.callback:
                self._call_back(call, index, timestep, latents)
            yield Step(index, total, timestep, latents.copy(), self.bundle.preview)
            if call.cancel and call.cancel.is_set():
                raise GenerationCancelledError(f"cancelled after step {index + 1} of {total}.")
        return self._output(call, start)

    def _encode(self, call: Call, scales: Sequence[float]) -> list[Part]:
        """Prompts to the text that each denoiser row sees, in parts that the bundle allows."""
        parts = []
        for samples in self._split(len(call.mixtures)):
            guidance = guide(call.mixtures[samples], call.negatives[samples], scales[samples])
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

    def _start(self, call: Call) -> tuple[NDArray[np.float32], KnownLatents | None]:
        """The latents that denoising begins with, and what it must not change."""
        if call.latents is not None:
            return call.latents.copy(), None
        noise = call.noise.draw(call.shape)
        start = noise * np.float32(call.table.initial_scale)
        if call.image is None:
            return start, None
        level = call.table.alphas_cumprod[0]
        clean = self._encode_images(call.image.pixels)
        if not call.from_noise:
            start = noised(clean, noise, level)
        if call.image.repainted is None:
            return start, None
        kept = kept_latents(call.image.repainted, self.bundle.model.vae_scale_factor)
        known = KnownLatents(clean, noise, kept)
        return known.restore(start, level), known

    def _encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Latents [B, C, h, w] of pictures [B, H, W, 3]: the mean of each one's distribution."""
        graph = self._opened_encoder()
        parts = [pixels[samples] for samples in self._split(len(pixels))]
        return np.concatenate([graph.run({"image": part})["latents_mean"] for part in parts])

    def _opened_encoder(self) -> Graph:
        """Opened when first used, which may be long after the bundle's hashes were checked."""
        spec = self.bundle.graph("encoder", self._backend.precision)
        files = {name: self.bundle.files[name] for name in (spec.path, spec.weights)}
        if not self._encoder_checked:
            verify_files(self.bundle.path, files, hashes=True)
            self._encoder_checked = True
        return self._backend.graph("encoder")

    def _denoise(
        self,
        call: Call,
        latents: NDArray[np.float32],
        parts: Sequence[Sequence[Part]],
        known: KnownLatents | None,
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        times = call.table.timesteps
        time_embeds = self._times.get(
            times.tobytes(), lambda: self._run("time_embedding", "time_embeds", timesteps=times)
        )
        steps = _tracked(range(len(times)), call.progress_bar)
        denoiser = self._backend.graph("denoiser")
        yield from denoise(
            denoiser, latents, parts, call.table, time_embeds, call.noise, known, steps
        )

    def _call_back(
        self, call: Call, index: int, timestep: float, latents: NDArray[np.float32]
    ) -> None:
        assert call.callback
        answer = call.callback(self, index, timestep, {"latents": latents.copy()})
        if answer and "latents" in answer:
            latents[:] = checked_latents(answer["latents"], call.shape)

    def _output(self, call: Call, latents: NDArray[np.float32]) -> PipelineOutput:
        if call.output_type == "latent":
            return PipelineOutput(latents, call.seeds)
        pixels = self._decode(latents, call.tile)
        if call.image is not None and call.image.repainted is not None:
            pixels = paste(pixels, call.image.pixels, call.image.repainted)
        unsafe = self._unsafe(pixels)
        if unsafe:
            pixels[np.array(unsafe)] = 0
        if call.output_type == "np":
            return PipelineOutput(np.divide(pixels, 255, dtype=np.float32), call.seeds, unsafe)
        return PipelineOutput(to_pil(pixels), call.seeds, unsafe)

    def _unsafe(self, pixels: NDArray[np.uint8]) -> tuple[bool, ...] | None:
        if self._safety_checker is None:
            return None
        verdicts = tuple(bool(verdict) for verdict in self._safety_checker(to_pil(pixels)))
        if len(verdicts) != len(pixels):
            raise InvalidInputError(
                f"safety_checker gave {len(verdicts)} answers for {len(pixels)} images."
            )
        return verdicts

    def _decode(self, latents: NDArray[np.float32], tile: int | None) -> NDArray[np.uint8]:
        """Pixels [B, H, W, 3]."""
        run = partial(self._run, "decoder", "image")
        parts = [latents[samples] for samples in self._split(len(latents))]
        if tile is None:
            return np.concatenate([run(latents=part) for part in parts])
        factor = self.bundle.model.vae_scale_factor
        return np.concatenate(
            [decode_in_tiles(lambda one: run(latents=one), part, tile, factor) for part in parts]
        )

    def _run(self, graph: str, output: str, **tensors: NDArray[Any]) -> NDArray[Any]:
        return self._backend.graph(graph).run(tensors)[output]

    def _split(self, batch: int) -> list[slice]:
        """Places of consecutive samples, as many at a time as the bundle allows."""
        most = self.bundle.limits.batch[1]
        return [slice(start, min(start + most, batch)) for start in range(0, batch, most)]


def _result(steps: Generator[Step, None, PipelineOutput]) -> PipelineOutput:
    """Run a call to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            output: PipelineOutput = end.value
            return output


def _unknown_text(name: str, *_: str) -> str:
    import difflib
    import inspect

    known = [*inspect.signature(Pipeline.__call__).parameters][1:-1]
    near = difflib.get_close_matches(name, known, n=1)
    return f"{name} is no argument of this call" + (f"; did you mean {near[0]}?" if near else ".")


def _tracked(steps: range, progress_bar: ProgressBar) -> Iterable[int]:
    if callable(progress_bar):
        return progress_bar(steps)
    if not progress_bar:
        return steps
    from tqdm import tqdm

    return tqdm(steps)
