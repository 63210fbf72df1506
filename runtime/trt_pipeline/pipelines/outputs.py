"""What a call gives back: its pictures, and its steps on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.pictures.images import to_pil
from trt_pipeline.pictures.previews import preview_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

SafetyChecker: TypeAlias = "Callable[[list[Image]], Sequence[bool]]"
"""Takes finished pictures and says of each whether it must not be shown."""


class PipelineOutput(NamedTuple):
    """The pictures of one call."""

    images: "list[Image] | NDArray[np.float32]"
    """As output_type says: Pillow images, pixels [B, H, W, 3] in 0..1, or latents [B, C, h, w]."""
    seeds: tuple[int, ...] | None
    """The seed of each image, which makes it again; None if a generator gave the noise."""
    nsfw_content_detected: tuple[bool, ...] | None = None
    """What the safety checker said of each image, blackened if it must not be shown."""

    def returned(self, return_dict: bool) -> "PipelineOutput":
        """Itself, or (images,) as diffusers returns it, which is read as [0] all the same."""
        return self if return_dict else cast(PipelineOutput, (self.images,))


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step of a call that stream() reports."""

    index: int
    """From 0."""
    total: int
    timestep: float
    latents: NDArray[np.float32]
    """A copy of the latents after the step, [B, C, h, w]."""
    preview_map: tuple[tuple[float, ...], ...]
    """The bundle's linear map from latents to colours."""
    decode: Callable[[NDArray[np.float32]], NDArray[np.uint8]] | None = None
    """The bundle's tiny decoder, if it has one."""

    def preview(self) -> "list[Image]":
        """Pictures of what the latents will become: by the tiny decoder, or small ones [h, w];
        BundleError without it and without a map."""
        if self.decode:
            return to_pil(self.decode(self.latents))
        return to_pil(preview_pixels(self.latents, self.preview_map))
