"""Larger pictures from small ones: bundles of LDMSuperResolutionPipeline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trt_pipeline import arguments
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.image_inputs import ImageInput, open_picture, rgb_pixels
from trt_pipeline.pipelines.base import BasePipeline, result_of
from trt_pipeline.pipelines.call import Call, CancelToken, OutputType, ProgressBar, check_call
from trt_pipeline.pipelines.outputs import PipelineOutput
from trt_pipeline.sampling.denoising import Part
from trt_pipeline.sampling.noise import NoiseStream

MULTIPLE = 32
"""Images are resized to multiples of this, rounded down, as diffusers does it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EnlargingCall(Call):
    """A call with the pictures to enlarge."""

    low_resolution: NDArray[np.float32]
    """[B, 3, h, w] in -1..1, of the latents' size."""


class SuperResolutionPipeline(BasePipeline[EnlargingCall]):
    """Enlarges pictures by the model's vae_scale_factor; one may serve several threads."""

    KIND = "LDMSuperResolutionPipeline"
    GRAPHS = ("time_embedding", "denoiser", "decoder")

    def __call__(
        self,
        image: "ImageInput | Sequence[ImageInput]",
        batch_size: int | None = None,
        num_inference_steps: int = 100,
        eta: float = 0.0,
        generator: NoiseStream | Sequence[NoiseStream] | None = None,
        output_type: OutputType = "pil",
        return_dict: bool = True,
        *,
        latents: ArrayLike | None = None,
        seed: int | Sequence[int] | None = None,
        sampler: str | None = None,
        schedule: str = "published",
        timestep_spacing: str | None = None,
        cache_interval: int = 1,
        vae_tile_size: int | None = None,
        callback_on_step_end: Callable[..., Any] | None = None,
        cancel: CancelToken | None = None,
        progress_bar: ProgressBar = True,
        **unknown: Never,
    ) -> PipelineOutput:
        """Enlarge pictures; the other arguments mean what they mean to Pipeline.

        image: a path, Pillow image or array, or a list of them, all of one size after their sides
        are rounded down to multiples of 32, with a Lanczos filter as in diffusers.
        batch_size: for compatibility; the number of images.
        """
        output = result_of(self._run_call(self._checked(locals()), watched=False))
        return output.returned(return_dict)

    def _check(
        self, image: Any = None, batch_size: int | None = None, **others: Any
    ) -> EnlargingCall:
        images = list(image) if isinstance(image, list | tuple) else [image]
        if not images:
            raise InvalidInputError("image is an empty list, expected at least one picture.")
        if batch_size not in (None, len(images)):
            raise InvalidInputError(
                f"batch_size must be {len(images)}, the number of images, "
                f"got {arguments.quoted(batch_size)}."
            )
        pixels = _pixels([open_picture("image", one) for one in images])
        factor = self.bundle.model.vae_scale_factor
        height, width = (side * factor for side in pixels.shape[1:3])
        self._check_enlarged(height, width)
        call = check_call(self.bundle, len(pixels), height=height, width=width, **others)
        low_resolution = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
        return EnlargingCall(
            **{field.name: getattr(call, field.name) for field in fields(call)},
            low_resolution=2 * (low_resolution / np.float32(255)) - 1,
        )

    def _check_enlarged(self, height: int, width: int) -> None:
        (bottom, top), (left, right) = self.bundle.limits.height, self.bundle.limits.width
        if not (bottom <= height <= top and left <= width <= right):
            raise InvalidInputError(
                f"image would be enlarged to {width}x{height} pixels, but this bundle makes "
                f"{left}..{right} by {bottom}..{top}."
            )

    def _parts(self, call: EnlargingCall) -> Sequence[Sequence[Part]]:
        parts = [
            Part(samples, {"low_resolution": call.low_resolution[samples]})
            for samples in self._split(call.shape[0])
        ]
        self._prepare(call, parts[0].samples)
        return [parts] * len(call.table.timesteps)


def _pixels(images: Any) -> NDArray[np.uint8]:
    sizes = {
        (one.height // MULTIPLE * MULTIPLE, one.width // MULTIPLE * MULTIPLE) for one in images
    }
    height, width = min(sizes)
    if len(sizes) > 1 or not (height and width):
        found = ", ".join(f"{one.width}x{one.height}" for one in images)
        raise InvalidInputError(
            f"image: {found} pixels; all must have one size, of at least {MULTIPLE} either way."
        )
    return np.stack([rgb_pixels(one, height, width) for one in images])
