"""Pipeline: a bundle opened on a backend, ready to make pictures."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.backends import Backend, LoopBackend, open_backend
from trt_pipeline.bundle import Bundle, Verify, load_bundle
from trt_pipeline.bundle.manifest import Arithmetic, Precision
from trt_pipeline.bundle.signatures import TrustedKey
from trt_pipeline.closing import Closing
from trt_pipeline.errors import (
    BackendError,
    BundleError,
    GenerationCancelledError,
    InvalidInputError,
)
from trt_pipeline.pictures.images import to_pil
from trt_pipeline.pipelines.checks import Call, check, checked_latents
from trt_pipeline.pipelines.encoding import Encoder
from trt_pipeline.pipelines.graphs import Graphs
from trt_pipeline.pipelines.outputs import PipelineOutput, SafetyChecker, Step
from trt_pipeline.pipelines.request import ProgressBar, Request, takes_arguments
from trt_pipeline.sampling.inpainting import paste
from trt_pipeline.sampling.samplers import SAMPLERS
from trt_pipeline.sampling.samples import Denoiser, Sample, denoise_at_once

if TYPE_CHECKING:
    from PIL.Image import Image


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


def trt_pipeline(
    bundle: str | os.PathLike[str] | Bundle,
    *,
    backend: str | None = None,
    verify: Verify = "full",
    threads: int | None = None,
    safety_checker: "SafetyChecker | Literal['bundle'] | None" = None,
    trusted_keys: Sequence[TrustedKey] | None = None,
) -> "Pipeline":
    """Open a bundle of any kind, ready to make pictures.

    backend: a name of trt_pipeline.backends.BACKENDS; None is the first of them that can run here.
    verify: "full" compares size and sha256 of every file, "manifest" only sizes, "none" nothing.
    threads: for arithmetic on the CPU; None is every CPU that this process may use.
    safety_checker: called with every call's finished Pillow images, says which must not be shown;
    "bundle" is the checkpoint's own, of a bundle that was exported with it.
    trusted_keys: PEM files with public Ed25519 keys, or their bytes; a bundle that none of them
    signed is refused. None takes unsigned bundles.
    Raises BundleError, InvalidInputError, BackendError or one of their kinds.
    """
    if not isinstance(bundle, Bundle):
        bundle = load_bundle(bundle, verify, trusted_keys)
    elif trusted_keys is not None:  # it was read without them, which says nothing of who signed it
        bundle = load_bundle(bundle.path, verify, trusted_keys)
    opened, reason = open_backend(bundle, backend, threads)
    try:
        return Pipeline(bundle, opened, reason, safety_checker)
    except BaseException:
        opened.close()
        raise


class Pipeline(Closing):
    """Makes pictures with one bundle; one may serve several threads. Leaving its `with` closes it.

    A call runs check, encode, denoise and decode. `start`, `step` and `finish` are the same parts
    for callers that mix samples of several requests.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        reason: str = "given",
        safety_checker: "SafetyChecker | Literal['bundle'] | None" = None,
    ) -> None:
        """Takes the backend over and closes it with the pipeline."""
        _check_safety_checker(bundle, safety_checker)
        if bundle.defaults.sampler not in SAMPLERS:
            raise BundleError(
                f"{bundle.path}: its sampler is {bundle.defaults.sampler!r:.80}, but this release "
                f"knows {', '.join(SAMPLERS)}. Use a newer release."
            )
        self.bundle = bundle
        self._backend = backend
        self._reason = reason
        self._safety_checker = safety_checker
        self._graphs = Graphs(bundle, backend)
        self._encoder = Encoder(self._graphs)
        self._stepper = self._new_denoiser()

    @takes_arguments(Request)
    def __call__(self, request: Request) -> PipelineOutput:
        """Make pictures; Request says what each argument means.

        InvalidInputError names the argument, its value and what is allowed; UnknownArgumentError
        suggests the name that was meant; GenerationCancelledError if the cancel token was set;
        BackendError if a graph fails.
        """
        call = self._check(request)
        samples = self._encode(call)
        self._denoise(call, samples)
        return self._decode(call, samples).returned(request.return_dict)

    @takes_arguments(Request)
    def stream(self, request: Request) -> "Iterator[Step | PipelineOutput]":
        """Take the arguments of a call; yield every step as it is done, then the call's output.

        Closing the generator ends the call. Errors are those of a call.
        """
        return self._streamed(self._check(request))

    def _streamed(self, call: Call) -> "Iterator[Step | PipelineOutput]":
        samples, times = self._encode(call), call.table.timesteps
        for index in self._steps(call, samples, call.progress_bar or False):
            latents = _latents(samples)
            time = times[index].item()
            yield Step(index, len(times), time, latents, self.bundle.preview, self._tiny_decoder)
        yield self._decode(call, samples)

    @takes_arguments(Request)
    def start(self, request: Request) -> list[Sample]:
        """Take the arguments of a call; a sample for each of its pictures, before its first step.

        progress_bar, callback_on_step_end, cancel and output_type have no effect here.
        """
        return self._encode(self._check(request))

    def step(self, samples: Sequence[Sample]) -> None:
        """Take each of these samples one step further, in as few calls of the denoiser as the
        bundle allows.

        They may come from any requests, with other samplers, step counts and settings, each at a
        step of its own: what becomes of a sample does not depend on the others. InvalidInputError
        if one is done or given twice, or their latents differ in size. Not for several threads at a
        time.
        """
        _check_samples(samples)
        if any(sample.done for sample in samples):
            raise InvalidInputError("a sample that is done takes no further step; finish it.")
        if len(set(samples)) < len(samples):
            raise InvalidInputError("a sample is given twice, but takes one step at a time.")
        _check_sizes(samples)
        self._backend.graph("denoiser")  # BackendError once the pipeline is closed
        for place in self._graphs.split(len(samples)):
            self._stepper.step(samples[place])

    def finish(self, samples: Sequence[Sample]) -> PipelineOutput:
        """Pillow images of samples that are done, and their seeds. All have one size.

        InvalidInputError if there are none, or one is not done, or they differ in size, tiles or
        decoder.
        """
        _check_samples(samples)
        _check_done(samples)
        pixels, unsafe = self._checked_pixels(samples)
        return PipelineOutput(to_pil(pixels), _seeds(samples), unsafe)

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

    def __reduce__(self) -> NoReturn:
        """InvalidInputError: what runs the graphs belongs to this process."""
        raise InvalidInputError(
            "a pipeline cannot be copied or pickled, as its engine belongs to this process. Open "
            f"the bundle in each process: trt_pipeline({str(self.bundle.path)!r})."
        )

    def close(self) -> None:
        """Free the engine; calls after it raise BackendError."""
        self._backend.close()

    def _new_denoiser(self) -> Denoiser:
        return Denoiser(
            self._backend.graph("denoiser"), lambda: self._graphs.opened_later("cached_denoiser")
        )

    def _check(self, request: Request) -> Call:
        if self._safety_checker and request.output_type == "latent":
            raise InvalidInputError('output_type "latent" would go around the safety checker.')
        call = check(self.bundle, request)
        _stop_if_cancelled(call, "before the first step")
        return call

    def _encode(self, call: Call) -> list[Sample]:
        return self._encoder.samples(call)

    def _denoise(self, call: Call, samples: Sequence[Sample]) -> None:
        """All steps; at once where the backend can and nobody looks at any of them."""
        bar = True if call.progress_bar is None else call.progress_bar
        backend = self._backend
        if isinstance(backend, LoopBackend) and not call.callback and _runs_alike(samples):
            for place in self._graphs.split(len(samples)):
                denoise_at_once(backend, samples[place])
            for _ in _tracked(range(len(call.table.timesteps)), bar):
                pass
            _stop_if_cancelled(call, "after the last step")
        else:
            for _ in self._steps(call, samples, bar):
                pass

    @property
    def _tiny_decoder(self) -> Callable[[NDArray[np.float32]], NDArray[np.uint8]] | None:
        if "tiny_decoder" not in self.bundle.graphs:
            return None
        return partial(self._graphs.decode, name="tiny_decoder")

    def _steps(self, call: Call, samples: Sequence[Sample], bar: ProgressBar) -> Iterator[int]:
        """The number of each step, from 0, once it is taken."""
        times = call.table.timesteps
        denoisers = [(self._new_denoiser(), place) for place in self._graphs.split(len(samples))]
        for index in _tracked(range(len(times)), bar):
            for denoiser, place in denoisers:
                denoiser.step(samples[place])
            if call.callback:
                self._call_back(call, samples, index, times[index].item())
            yield index
            _stop_if_cancelled(call, f"after step {index + 1} of {len(times)}")

    def _call_back(
        self, call: Call, samples: Sequence[Sample], index: int, timestep: float
    ) -> None:
        assert call.callback
        latents = _latents(samples)
        answer = call.callback(self, index, timestep, {"latents": latents})
        if not (answer is None or isinstance(answer, Mapping)):
            raise InvalidInputError(
                "callback_on_step_end must return a dictionary or None, "
                f"got {arguments.quoted(answer)}."
            )
        for name in answer or ():
            if name != "latents":
                raise InvalidInputError(
                    "callback_on_step_end may replace latents only, but returned "
                    f"{arguments.quoted(name)}."
                )
        if answer:
            given = checked_latents(answer["latents"], latents.shape)
            for sample, replaced in zip(samples, given, strict=True):
                sample.latents = replaced.copy()

    def _decode(self, call: Call, samples: Sequence[Sample]) -> PipelineOutput:
        if call.output_type == "pil":
            return self.finish(samples)
        if call.output_type == "latent":
            return PipelineOutput(_finite_latents(samples), _seeds(samples))
        pixels, unsafe = self._checked_pixels(samples)
        return PipelineOutput(np.divide(pixels, 255, dtype=np.float32), _seeds(samples), unsafe)

    def _pixels(self, samples: Sequence[Sample]) -> NDArray[np.uint8]:
        """[B, H, W, 3], with what was given outside of a mask."""
        ways = {(sample.tile, sample.decoder) for sample in samples}
        if len(ways) > 1:
            raise InvalidInputError(
                "samples that finish together must have one vae_tile_size and one decoder."
            )
        pixels = self._graphs.decode(_finite_latents(samples), *ways.pop())
        for number, sample in enumerate(samples):
            if sample.given is not None and sample.repainted is not None:
                pixels[number] = paste(pixels[number], sample.given, sample.repainted)
        return pixels

    def _checked_pixels(
        self, samples: Sequence[Sample]
    ) -> tuple[NDArray[np.uint8], tuple[bool, ...] | None]:
        """Pixels, black where the safety checker refuses a picture, and what it says of each."""
        pixels = self._pixels(samples)
        if self._safety_checker is None:
            return pixels, None
        if callable(self._safety_checker):
            verdicts = _verdicts(self._safety_checker, to_pil(pixels))
        else:
            verdicts = tuple(self._graphs.is_unsafe(pixels))
        pixels[np.array(verdicts)] = 0
        return pixels, verdicts


def _check_safety_checker(bundle: Bundle, safety_checker: object) -> None:
    """InvalidInputError for what cannot check pictures."""
    if safety_checker == "bundle" and "safety_checker" not in bundle.graphs:
        raise InvalidInputError(
            f'safety_checker is "bundle", but {bundle.path} has none. Export its checkpoint with '
            "--safety-checker."
        )
    if not (safety_checker in (None, "bundle") or callable(safety_checker)):
        raise InvalidInputError(
            'safety_checker must be a function or "bundle", '
            f"got {arguments.quoted(safety_checker)}."
        )


def _verdicts(safety_checker: SafetyChecker, images: "list[Image]") -> tuple[bool, ...]:
    answer = safety_checker(images)
    verdict = (bool, int, np.bool_)
    if not arguments.is_list(answer) or not all(isinstance(one, verdict) for one in answer):
        raise InvalidInputError(
            "safety_checker must return a list with True or False for each image, "
            f"got {arguments.quoted(answer)}."
        )
    if len(answer) != len(images):
        raise InvalidInputError(
            f"safety_checker gave {arguments.counted(len(answer), 'answer')} for "
            f"{arguments.counted(len(images), 'image')}."
        )
    return tuple(map(bool, answer))


def _check_samples(samples: Sequence[Sample]) -> None:
    for one in samples:
        if not isinstance(one, Sample):
            raise InvalidInputError(f"samples are what start gives, got {arguments.quoted(one)}.")


def _check_done(samples: Sequence[Sample]) -> None:
    if not samples:
        raise InvalidInputError("finish needs at least one sample, got none.")
    for sample in samples:
        if not sample.done:
            raise InvalidInputError(
                f"a sample took {sample.index} of {arguments.counted(len(sample.rows), 'step')}; "
                "take the others first."
            )
    _check_sizes(samples)


def _check_sizes(samples: Sequence[Sample]) -> None:
    sizes = {sample.latents.shape for sample in samples}
    if len(sizes) > 1:
        raise InvalidInputError(
            f"samples that go together must have latents of one size, got {sorted(sizes)}."
        )


def _latents(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """A copy of all samples' latents, [B, C, h, w]."""
    return np.stack([sample.latents for sample in samples])


def _finite_latents(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """[B, C, h, w]; BackendError unless all are numbers."""
    latents = _latents(samples)
    if not np.isfinite(latents).all():
        raise BackendError(
            "denoiser: the latents overflowed to infinity or NaN. Lower guidance_scale, the "
            "weights of the prompts or the latents that were given."
        )
    return latents


def _seeds(samples: Sequence[Sample]) -> tuple[int, ...] | None:
    seeds = [sample.seed for sample in samples if sample.seed is not None]
    return tuple(seeds) if len(seeds) == len(samples) else None


def _runs_alike(samples: Sequence[Sample]) -> bool:
    """Whether every step of a call has the same rows, and nothing is put back between them."""
    return all(
        sample.known is None and all(rows is sample.rows[0] for rows in sample.rows)
        for sample in samples
    )


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
