"""Guidance: what a sample's denoiser rows see, and how their predictions mix."""

from typing import NamedTuple

from trt_pipeline.text.prompts import Mixture


class GuidedRow(NamedTuple):
    """What one denoiser row of a sample sees."""

    text: str | None
    """None where no negative prompt was given."""
    weight: float
    """Of its prediction in the sample's."""
    sees_image: bool = True
    """Whether it sees the image that the model changes, where there is one."""


def guides(scale: float, image_scale: float | None, *, above_1_only: bool) -> bool:
    """Whether these scales need rows beside the prompt's own.

    image_scale: None for a model that changes no images. above_1_only: whether a scale below 1 is
    no guidance either, as in diffusers' Stable Diffusion.
    """
    if image_scale is not None and image_scale < 1:
        return False
    return scale > 1 if above_1_only else scale != 1


def guide(
    mixture: Mixture, negative: str | None, scale: float, image_scale: float | None = None
) -> list[GuidedRow]:
    """The rows of classifier-free guidance, arXiv:2207.12598: u + g·(c - u).

    u sees the negative prompt and comes first; c is the weighted sum of what the prompt's texts
    give. With an image scale, i sees the negative prompt and the image, u does not see the image,
    and the sum is u + gI·(i - u) + g·(c - i): InstructPix2Pix, arXiv:2211.09800, eq. 3.
    """
    texts = [GuidedRow(text, scale * weight) for text, weight in mixture]
    if image_scale is None:
        return [GuidedRow(negative, 1 - scale), *texts]
    without_image = GuidedRow(negative, 1 - image_scale, sees_image=False)
    return [without_image, GuidedRow(negative, image_scale - scale), *texts]


def unguided(mixture: Mixture) -> list[GuidedRow]:
    """The rows of the prompt alone."""
    return [GuidedRow(text, weight) for text, weight in mixture]


def guided_steps(interval: tuple[float, float], steps: int) -> tuple[bool, ...]:
    """Whether each step is guided: step i of N is, if start <= i / N < stop (arXiv:2404.07724)."""
    start, stop = interval
    return tuple(start <= step / steps < stop for step in range(steps))
