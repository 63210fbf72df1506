"""BasePipeline: what every kind of pipeline does, from the first latents to the pictures."""

import os
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.backends import Backend, CompiledGraph, Graph, LoopBackend, open_backend
from trt_pipeline.bundle import Bundle, Verify, load_bundle, verify_files
from trt_pipeline.bundle.manifest import Arithmetic, Precision
from trt_pipeline.bundle.signatures import TrustedKey
from trt_pipeline.closing import Closing
from trt_pipeline.errors import (
    BackendError,
    BundleError,
    GenerationCancelledError,
    InvalidInputError,
    UnknownArgumentError,
)
from trt_pipeline.pictures.images import to_pil
from trt_pipeline.pictures.tiling import decode_in_tiles
from trt_pipeline.pipelines.cache import ArrayCache
from trt_pipeline.pipelines.call import Call, ProgressBar, checked_latents
from trt_pipeline.pipelines.outputs import PipelineOutput, SafetyChecker, Step
from trt_pipeline.sampling.denoising import Denoisers, Part, denoise, denoise_at_once
from trt_pipeline.sampling.inpainting import KnownLatents, kept_latents, noised, paste

TIME_CACHE_BYTES = 128 * 2**20
"""Time projections of the schedules used last; 4 MB for 50 steps of ldm-text2im-large-256."""

OPENERS = {
    "LDMTextToImagePipeline": "trt_pipeline(…)",
    "LDMPipeline": "UnconditionalPipeline.open(…)",
    "LDMSuperResolutionPipeline": "SuperResolutionPipeline.open(…)",
}
"""Class name of a diffusers pipeline → what opens its bundles."""

C = TypeVar("C", bound=Call)


@dataclass(frozen=True, slots=True)
class PipelineInfo:
    """What a pipeline runs, where, and why there."""

    model: str
    bundle: str
    """The bundle's folder."""
    weights: Precision
    arithmetic: Arithmetic
    backend: str
    reason: str
    """Why this backend was chosen."""
    device: str


class BasePipeline(Closing, Generic[C]):
    """A pipeline on one bundle; one may serve several threads. Leaving its `with` closes it."""

    KIND: ClassVar[str]
    """Class name of the diffusers pipeline that it runs the checkpoints of."""
    GRAPHS: ClassVar[tuple[str, ...]]
    """What every call runs."""

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        reason: str = "given",
        safety_checker: "SafetyChecker | None" = None,
    ) -> None:
        """Takes the backend over and closes it with the pipeline."""
        if bundle.model.pipeline != self.KIND:
            raise BundleError(
                f"{bundle.path} is a bundle of {bundle.model.pipeline}, this opens {self.KIND}; "
                f"use {OPENERS.get(bundle.model.pipeline, 'a release that knows it')}."
            )
        if not (safety_checker is None or callable(safety_checker)):
            raise InvalidInputError(
                f"safety_checker must be a function, got {arguments.quoted(safety_checker)}."
            )
        self.bundle = bundle
        self._backend = backend
        self._reason = reason
        self._safety_checker = safety_checker
        for graph in self.GRAPHS:  # now, while the hashes just checked still hold
            backend.graph(graph)
        self._checked_later: set[str] = set()
        self._times = ArrayCache(TIME_CACHE_BYTES)

    @classmethod
    def open(
        cls,
        bundle: str | os.PathLike[str] | Bundle,
        *,
        backend: str | None = None,
        verify: Verify = "full",
        threads: int | None = None,
        safety_checker: "SafetyChecker | None" = None,
        trusted_keys: Sequence[TrustedKey] | None = None,
    ) -> Self:
        """Open a bundle as trt_pipeline does; BundleError for one of another kind of pipeline."""
        if not isinstance(bundle, Bundle):
            loaded = load_bundle(bundle, verify, trusted_keys)
        elif trusted_keys is None:
            loaded = bundle
        else:  # what was read without the keys says nothing of who signed it
            loaded = load_bundle(bundle.path, verify, trusted_keys)
        engine, reason = open_backend(loaded, backend, threads)
        return cls(loaded, engine, reason, safety_checker)

    @abstractmethod
    def _check(self, **arguments: Any) -> C:
        """The call that its arguments ask for."""

    @abstractmethod
    def _parts(self, call: C) -> Sequence[Sequence[Part]]:
        """For each step, the parts of the batch that the bundle allows, and what they see."""

    def stream(self, *prompt: Any, **settings: Any) -> Iterator[Step | PipelineOutput]:
        """Take the arguments of a call; yield every step as it is done, then the call's output.

        Without a progress bar unless it is asked for. Closing the generator ends the call.
        """
        import inspect

        given = inspect.signature(type(self).__call__).bind(
            self, *prompt, **{"progress_bar": False, **settings}
        )
        given.apply_defaults()
        return self._events(self._checked(given.arguments))

    def _events(self, call: C) -> Iterator[Step | PipelineOutput]:
        yield (yield from self._run_call(call))

    @property
    def info(self) -> PipelineInfo:
        """What runs here, where, and why."""
        return PipelineInfo(
            model=self.bundle.model.name,
            bundle=str(self.bundle.path),
            weights=self.bundle.precision,
            arithmetic=self._backend.arithmetic,
            backend=self._backend.name,
            reason=self._reason,
            device=self._backend.device,
        )

    def close(self) -> None:
        """Free the engine; calls after it raise BackendError."""
        self._backend.close()

    def _checked(self, given: Mapping[str, Any]) -> C:
        """The call that arguments, `self` among them, ask for."""
        if given["unknown"]:
            raise UnknownArgumentError(self._unknown_text(*given["unknown"]))
        if self._safety_checker and given["output_type"] == "latent":
            raise InvalidInputError('output_type "latent" would pass the safety checker by.')
        dropped = ("self", "return_dict", "unknown", "__class__")
        return self._check(**{name: given[name] for name in given if name not in dropped})

    def _run_call(self, call: C, watched: bool = True) -> Generator[Step, None, PipelineOutput]:
        """watched: whether somebody looks at the steps; else the backend may take all at once."""
        _stop_if_cancelled(call, "before the first step")
        cached = self._graph_opened_later("cached_denoiser") if call.cache_interval > 1 else None
        parts = self._parts(call)
        start, known = self._start(call)
        total = len(call.table.timesteps)
        if not (watched or known or call.callback) and self._denoised_at_once(call, start, parts):
            return self._output(call, start)
        for index, latents in self._denoise(call, start, parts, known, cached):
            timestep = call.table.timesteps[index].item()
            if call.callback:
                self._call_back(call, index, timestep, latents)
            yield Step(index, total, timestep, latents.copy(), self.bundle.preview)
            if call.cancel and call.cancel.is_set():
                raise GenerationCancelledError(f"cancelled after step {index + 1} of {total}.")
        return self._output(call, start)

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
        graph = self._graph_opened_later("encoder")
        parts = [pixels[samples] for samples in self._split(len(pixels))]
        return np.concatenate([graph.run({"image": part})["latents_mean"] for part in parts])

    def _graph_opened_later(self, name: str) -> Graph:
        """Opened when first used, which may be long after the bundle's hashes were checked."""
        if name not in self._checked_later:
            spec = self.bundle.graph(name, self._backend.precision)
            files = {file: self.bundle.files[file] for file in (spec.path, spec.weights)}
            verify_files(self.bundle.path, files, hashes=True)
            self._checked_later.add(name)
        return self._backend.graph(name)

    def _denoise(
        self,
        call: Call,
        latents: NDArray[np.float32],
        parts: Sequence[Sequence[Part]],
        known: KnownLatents | None,
        cached: Graph | None,
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        times = call.table.timesteps
        time_embeds = self._time_embeds(times)
        steps = _tracked(range(len(times)), call.progress_bar)
        denoisers = Denoisers(self._backend.graph("denoiser"), cached, call.cache_interval)
        yield from denoise(
            denoisers, latents, parts, call.table, time_embeds, call.noise, known, steps
        )

    def _denoised_at_once(
        self, call: Call, latents: NDArray[np.float32], parts: Sequence[Sequence[Part]]
    ) -> bool:
        """Whether the backend could take all steps without the host; then latents are the end's."""
        backend = self._backend
        if not isinstance(backend, LoopBackend) or any(step is not parts[0] for step in parts):
            return False
        times = self._time_embeds(call.table.timesteps)
        denoise_at_once(
            backend, latents, parts[0], call.table, times, call.noise, call.cache_interval
        )
        for _ in _tracked(range(len(times)), call.progress_bar):
            pass
        _stop_if_cancelled(call, "after the last step")
        return True

    def _prepare(self, call: C, samples: slice, **rows: int) -> None:
        """Let graphs be compiled for a part of the call while others are, or run."""
        height, width = call.shape[2:]
        sizes = {"batch": samples.stop - samples.start, **rows}
        decodes = call.output_type != "latent" and call.tile is None
        for name in ("denoiser", "decoder") if decodes else ("denoiser",):
            graph = self._backend.graph(name)
            if isinstance(graph, CompiledGraph):
                graph.prepare({**sizes, "latent_height": height, "latent_width": width})

    def _time_embeds(self, times: NDArray[np.float32]) -> NDArray[Any]:
        """[N, E]"""
        return self._times.get(
            times.tobytes(), lambda: self._run("time_embedding", "time_embeds", timesteps=times)
        )

    def _call_back(
        self, call: Call, index: int, timestep: float, latents: NDArray[np.float32]
    ) -> None:
        assert call.callback
        answer = call.callback(self, index, timestep, {"latents": latents.copy()})
        if not (answer is None or isinstance(answer, Mapping)):
            raise InvalidInputError(
                "callback_on_step_end must return a dictionary or None, "
                f"got {arguments.quoted(answer)}."
            )
        if answer and "latents" in answer:
            latents[:] = checked_latents(answer["latents"], call.shape)

    def _output(self, call: Call, latents: NDArray[np.float32]) -> PipelineOutput:
        if not np.isfinite(latents).all():
            raise BackendError(
                "denoiser: the latents overflowed to infinity or NaN. Lower guidance_scale, the "
                "weights of the prompts or the latents that were given."
            )
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
        answer = self._safety_checker(to_pil(pixels))
        verdict = (bool, int, np.bool_)
        if not arguments.is_list(answer) or not all(isinstance(one, verdict) for one in answer):
            raise InvalidInputError(
                "safety_checker must return a list with True or False for each image, "
                f"got {arguments.quoted(answer)}."
            )
        verdicts = tuple(map(bool, answer))
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

    def _unknown_text(self, name: str, *_: str) -> str:
        import difflib
        import inspect

        known = [*inspect.signature(type(self).__call__).parameters][1:-1]
        near = [one for one in known if name in one] or difflib.get_close_matches(name, known, n=1)
        suggestion = f"; did you mean {near[0]}?" if near else "."
        return f"{name} is no argument of this call{suggestion}"


def result_of(steps: Generator[Step, None, PipelineOutput]) -> PipelineOutput:
    """Run a call to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            output: PipelineOutput = end.value
            return output


def _stop_if_cancelled(call: Call, when: str) -> None:
    if call.cancel and call.cancel.is_set():
        raise GenerationCancelledError(f"cancelled {when}.")


def _tracked(steps: range, progress_bar: ProgressBar) -> Iterable[int]:
    if callable(progress_bar):
        return progress_bar(steps)
    if not progress_bar:
        return steps
    from tqdm import tqdm

    return tqdm(steps)
