"""The loop over the sampler's steps: noise to latents.

With a cache interval of n, the whole denoiser runs in every n-th step. The steps between take the
features that it gave, and only the ends of the network run anew: DeepCache, arXiv:2312.00858.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends import Graph, LoopBackend
from trt_pipeline.sampling.inpainting import KnownLatents
from trt_pipeline.sampling.noise import NoiseStream
from trt_pipeline.sampling.samplers import SamplerTable


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The samples that share one call of the denoiser, and what they are denoised towards."""

    samples: slice
    """Their place in the whole batch."""
    constants: Mapping[str, NDArray[Any]]
    """Inputs of the denoiser that stay the same over the steps, such as text_kv [M, K]."""


@dataclass(frozen=True, slots=True, eq=False)
class Denoisers:
    """The graphs that take a step, and which of them takes which."""

    whole: Graph
    cached: Graph | None = None
    """None where the interval is 1."""
    interval: int = 1

    def choice(self, parts: Sequence[Sequence[Part]]) -> list[Graph]:
        """The graph of each step; the whole one where other rows begin, as features are theirs."""
        chosen: list[Graph] = []
        first = 0
        for step, own in enumerate(parts):
            if own is not parts[first]:
                first = step
            cached = self.cached if (step - first) % self.interval else None
            chosen.append(cached or self.whole)
        return chosen


def denoise(
    denoisers: Denoisers,
    latents: NDArray[np.float32],
    parts: Sequence[Sequence[Part]],
    table: SamplerTable,
    time_embeds: NDArray[Any],
    noise: NoiseStream,
    known: KnownLatents | None,
    steps: Iterable[int],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Take latents [B, C, h, w] through the steps of a table; yield each step and its latents.

    The latents are changed in place, and by whoever receives them if wanted. Noise is drawn for the
    whole batch at once, so splitting it into parts changes no sample.
    parts: for each step, what covers the batch. time_embeds: [N, E], a row for each step.
    known: what every step puts back. steps: 0..N-1, possibly wrapped in a progress bar.
    """
    history = np.zeros((3, *latents.shape), np.float32)
    drawn = np.zeros_like(latents)
    graphs = denoisers.choice(parts)
    features: dict[Part, dict[str, NDArray[Any]]] = {}
    for step in steps:
        if table.draws_noise:
            drawn = noise.draw(latents.shape)
        for part in parts[step]:
            at = part.samples
            count = at.stop - at.start
            outputs = graphs[step].run(
                {
                    "latents": latents[at],
                    "history": np.ascontiguousarray(history[:, at]),
                    "time_embeds": np.tile(time_embeds[step], (count, 1)),
                    "coefficients": np.tile(table.coefficients[step], (count, 1)),
                    "noise": drawn[at],
                    **part.constants,
                    **({} if graphs[step] is denoisers.whole else features[part]),
                }
            )
            if denoisers.cached and "features" in outputs:
                features[part] = {"features": outputs["features"]}
            latents[at] = outputs["next_latents"]
            history[:, at] = outputs["next_history"]
        if known:
            latents[:] = known.restore(latents, table.alphas_cumprod[step + 1])
        yield step, latents


def denoise_at_once(
    backend: LoopBackend,
    latents: NDArray[np.float32],
    parts: Sequence[Part],
    table: SamplerTable,
    time_embeds: NDArray[Any],
    noise: NoiseStream,
    cache_interval: int,
) -> None:
    """Take latents [B, C, h, w] through all steps, in place, without looking at any in between.

    parts: what covers the batch, the same in every step. time_embeds: [N, E].
    """
    steps = range(len(table.timesteps))
    drawn = np.stack([noise.draw(latents.shape) for _ in steps]) if table.draws_noise else None
    for part in parts:
        at = part.samples
        own_noise = None if drawn is None else drawn[:, at]
        latents[at] = backend.denoise(
            latents[at],
            part.constants,
            time_embeds,
            table.coefficients,
            own_noise,
            cache_interval,
        )
