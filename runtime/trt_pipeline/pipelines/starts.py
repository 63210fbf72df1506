"""Starts: the latents that each picture begins with, and what its denoiser rows see of an image.

The draws follow each other as in diffusers' pipelines: for the sample of the image's latents, for
the noise that denoising begins with, then for the sample of the masked image's latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle.capabilities import begins_with_pictures, sees_masks
from trt_pipeline.pipelines.checks import Call, Picture
from trt_pipeline.pipelines.graphs import Graphs
from trt_pipeline.sampling.inpainting import (
    KnownLatents,
    Mask,
    kept_latents,
    noised,
    untouched_latents,
)

Float32s: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What one picture begins with."""

    latents: Float32s
    """[C, h, w] before the first step."""
    known: KnownLatents | None = None
    """What every step puts back."""
    condition: Float32s | None = None
    """[Cc, h, w], what the denoiser rows see that see the image."""


def starts(graphs: Graphs, call: Call) -> list[Start]:
    """The start of each picture of a call."""
    clean = _clean(graphs, call)
    noise = [_first_noise(call, picture) for picture in call.pictures]
    conditions = _conditions(graphs, call)
    return [
        _start(graphs, call, *one)
        for one in zip(call.pictures, clean, noise, conditions, strict=True)
    ]


def _clean(graphs: Graphs, call: Call) -> Sequence[Float32s | None]:
    """Latents of the image that each picture begins with or keeps a part of, if any."""
    keeps = begins_with_pictures(graphs.bundle) and not sees_masks(graphs.bundle)
    if call.pictures[0].image is None or (call.from_noise and not keeps):
        return [None] * len(call.pictures)
    return _sampled(graphs, call, masked=False)


def _conditions(graphs: Graphs, call: Call) -> Sequence[Float32s | None]:
    """What each picture's denoiser rows see of its image, if anything."""
    pictures = call.pictures
    match graphs.bundle.model.condition:
        case "low_resolution":
            return [_low_resolution(one.image) for one in pictures if one.image is not None]
        case "image":
            return [mean for mean, _ in _encoded(graphs, pictures, masked=False)]
        case "masked_image":
            latents = _sampled(graphs, call, masked=True)
            masks = [one.repainted for one in pictures if one.repainted is not None]
            painted = [~_kept(graphs, call, mask) for mask in masks]
            pairs = zip(painted, latents, strict=True)
            return [np.concatenate([mask, one], dtype=np.float32) for mask, one in pairs]
    if pictures[0].repainted is not None:
        # diffusers samples the masked image for every model, which moves the generator.
        call.draws.of_images(_numbers(_keys(pictures, masked=True)), call.shape, masked=True)
    return [None] * len(pictures)


def _sampled(graphs: Graphs, call: Call, masked: bool) -> Sequence[Float32s]:
    """A sample of each image's latents; masked: without the part that is painted again."""
    pictures = call.pictures
    numbers = _numbers(_keys(pictures, masked))
    noise = call.draws.of_images(numbers, call.shape, masked=pictures[0].repainted is not None)
    encoded = _encoded(graphs, pictures, masked)
    return [mean + std * one for (mean, std), one in zip(encoded, noise, strict=True)]


def _encoded(
    graphs: Graphs, pictures: Sequence[Picture], masked: bool
) -> Sequence[tuple[Float32s, Float32s]]:
    """Mean and deviation of each image's latents; images that pictures share are encoded once."""
    keys = _keys(pictures, masked)
    alike = dict(zip(keys, pictures, strict=True)).values()
    pixels = np.stack([one.image for one in alike if one.image is not None])
    masks = [one.repainted for one in alike if masked and one.repainted is not None]
    left_out = np.stack(masks).astype(np.uint8) if masks else None
    means, stds = graphs.encode_images(pixels, left_out)
    return [(means[number], stds[number]) for number in _numbers(keys)]


def _keys(pictures: Sequence[Picture], masked: bool) -> list[tuple[int, int]]:
    """What tells the images of pictures apart, and with masked their masks too."""
    return [(id(one.image), id(one.repainted) if masked else 0) for one in pictures]


def _numbers(keys: Sequence[tuple[int, int]]) -> list[int]:
    """Each key's number, from 0, in the order of their first places."""
    found = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [found[key] for key in keys]


def _first_noise(call: Call, picture: Picture) -> Float32s:
    """[C, h, w], the noise that denoising begins with: the given one, or drawn."""
    if picture.latents is not None:
        return picture.latents
    drawn: Float32s = picture.noise.draw((1, *call.shape))[0]
    return drawn


def _start(
    graphs: Graphs,
    call: Call,
    picture: Picture,
    clean: Float32s | None,
    noise: Float32s,
    condition: Float32s | None,
) -> Start:
    latents: Float32s = noise * np.float32(call.table.initial_scale)
    if clean is None:
        return Start(latents, condition=condition)
    if not call.from_noise:
        latents = noised(clean, noise, call.table.alphas_cumprod[0])
    known = None
    if picture.repainted is not None and condition is None:
        known = KnownLatents(clean, noise, _kept(graphs, call, picture.repainted))
    return Start(latents, known, condition)


def _kept(graphs: Graphs, call: Call, repainted: Mask) -> Mask:
    """[1, h, w], where latents stay."""
    keep = untouched_latents if call.settings.overlay == "seamless" else kept_latents
    return keep(repainted, graphs.bundle.model.vae_scale_factor)


def _low_resolution(pixels: NDArray[np.uint8]) -> Float32s:
    """A picture [h, w, 3] as the denoiser sees it, [3, h, w] in -1..1."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
    scaled: Float32s = 2 * (planes / np.float32(255)) - 1
    return scaled
