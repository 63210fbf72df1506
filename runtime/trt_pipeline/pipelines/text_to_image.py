"""Prompts to pictures: the pipeline that a user calls."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trt_pipeline.backends import Backend
from trt_pipeline.bundle import Bundle, Verify
from trt_pipeline.bundle.signatures import TrustedKey
from trt_pipeline.errors import BundleError
from trt_pipeline.pictures.image_inputs import ImageInput
from trt_pipeline.pipelines.base import BasePipeline, result_of
from trt_pipeline.pipelines.cache import ArrayCache
from trt_pipeline.pipelines.call import (
    CancelToken,
    OutputType,
    ProgressBar,
    TextCall,
    check_text_call,
)
from trt_pipeline.pipelines.outputs import PipelineOutput, SafetyChecker
from trt_pipeline.pipelines.prompts import Prompt
from trt_pipeline.pipelines.tokenizer import Tokenizer
from trt_pipeline.sampling.denoising import Part
from trt_pipeline.sampling.guidance import guide
from trt_pipeline.sampling.noise import NoiseStream

TEXT_CACHE_BYTES = 256 * 2**20
"""Keys and values of the prompts used last; 7.7 MB each for ldm-text2im-large-256 in float32."""


def trt_pipeline(
    bundle: str | os.PathLike[str] | Bundle,
    *,
    backend: str | None = None,
    verify: Verify = "full",
    threads: int | None = None,
    safety_checker: "SafetyChecker | None" = None,
    trusted_keys: Sequence[TrustedKey] | None = None,
) -> "Pipeline":
    """Open a bundle, ready to make pictures.

    backend: tensorrt, tensorrt_rtx, onnxruntime_cuda, openvino, onnxruntime, onnxruntime_tensorrt,
    openvino_bf16 or openvino_int8; None is the first of them that can run here.
    verify: "full" compares size and sha256 of every file, "manifest" only sizes, "none" nothing.
    threads: for arithmetic on the CPU; None is every CPU this process may use.
    safety_checker: called with every call's finished Pillow images, says which must not be shown.
    trusted_keys: PEM files with public Ed25519 keys, or their bytes; a bundle that none of them
    signed is refused. None takes unsigned bundles.
    Raises BundleError, InvalidInputError, BackendError or one of their kinds.
    """
    return Pipeline.open(
        bundle,
        backend=backend,
        verify=verify,
        threads=threads,
        safety_checker=safety_checker,
        trusted_keys=trusted_keys,
    )


class Pipeline(BasePipeline[TextCall]):
    """A text-to-image pipeline; one may serve several threads. Leaving its `with` closes it."""

    KIND = "LDMTextToImagePipeline"
    GRAPHS = ("text_encoder", "time_embedding", "denoiser", "decoder")

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        reason: str = "given",
        safety_checker: "SafetyChecker | None" = None,
    ) -> None:
        """Takes the backend over and closes it with the pipeline."""
        super().__init__(bundle, backend, reason, safety_checker)
        if bundle.tokenizer is None:
            raise BundleError(f"{bundle.path} has no tokenizer. Export the checkpoint again.")
        self._tokenizer = Tokenizer(bundle.file(bundle.tokenizer.vocab), bundle.tokenizer)
        self._texts = ArrayCache(TEXT_CACHE_BYTES)

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
        sampler: str | None = None,
        schedule: str = "published",
        timestep_spacing: str | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        num_images_per_prompt: int = 1,
        image: "ImageInput | Sequence[ImageInput] | None" = None,
        strength: float | None = None,
        mask_image: "ImageInput | Sequence[ImageInput] | None" = None,
        cache_interval: int = 1,
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
        guidance_scale: u + g·(c - u) for any g but 1.0, which costs half; a list, as every other
        that has one a picture, may have one a prompt instead.
        sampler: ddim, euler, euler_ancestral, pndm, lms, dpmsolver++, dpmsolver++_karras or unipc;
        None is the checkpoint's own.
        schedule: "published" as in the checkpoint, or "trained" as in CompVis' own code.
        timestep_spacing: leading, linspace or trailing (arXiv:2305.08891, table 2); None is the
        checkpoint's own.
        negative_prompt: what u sees instead of the empty text; a list has one a picture.
        guidance_interval: of the N steps made, step i is guided if start <= i / N < stop; the
        others cost half.
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
        cache_interval: the whole denoiser runs in every so-manyth step; those between take its
        features and run its ends only, which is faster and less exact (DeepCache,
        arXiv:2312.00858).
        vae_tile_size: decode in tiles of so many pixels, to bound the memory of large pictures.
        callback_on_step_end: called as (pipe, step, timestep, {"latents": [B, C, h, w]}) after each
        step; "latents" of the dictionary it returns, if any, replace them.
        cancel: such as a threading.Event; once set, the call ends with GenerationCancelledError.
        return_dict: False returns (images,), as in diffusers.
        progress_bar: tqdm, nothing, or a function that wraps the range of steps as tqdm does.
        InvalidInputError names the argument, its value and what is allowed; UnknownArgumentError
        suggests the name that was meant.
        """
        output = result_of(self._run_call(self._checked(locals()), watched=False))
        return output.returned(return_dict)

    def _check(self, **arguments: Any) -> TextCall:
        return check_text_call(self.bundle, **arguments)

    def _parts(self, call: TextCall) -> Sequence[Sequence[Part]]:
        inside = self._encode(call, call.scales)
        outside = inside if all(call.guided) else self._encode(call, [1.0] * len(call.scales))
        return [inside if guided else outside for guided in call.guided]

    def _encode(self, call: TextCall, scales: Sequence[float]) -> list[Part]:
        """Prompts to the text that each denoiser row sees, in parts that the bundle allows."""
        parts = []
        for samples in self._split(len(call.mixtures)):
            guidance = guide(call.mixtures[samples], call.negatives[samples], scales[samples])
            self._prepare(call, samples, rows=len(guidance.rows))
            constants = {
                "text_kv": self._text_kv(guidance.texts),
                "rows": guidance.rows,
                "guidance": guidance.matrix,
            }
            parts.append(Part(samples, constants))
        return parts

    def _text_kv(self, prompts: Sequence[str]) -> NDArray[Any]:
        """[M, K], encoded one by one so that a prompt's never depends on its company."""
        input_ids = self._tokenizer.encode(prompts)
        keyed = [(ids.tobytes(), partial(self._run_text, ids)) for ids in input_ids]
        return np.stack([self._texts.get(key, run) for key, run in keyed])

    def _run_text(self, input_ids: NDArray[np.int32]) -> NDArray[Any]:
        text_kv: NDArray[Any] = self._run("text_encoder", "text_kv", input_ids=input_ids[None])[0]
        return text_kv
