"""Samples: pictures on their way from noise to latents, each with a state of its own.

A sample has its own sampler table, step, history, noise and denoiser rows. So samples that began at
different times, with different samplers and step counts, can share a call of the denoiser, as long
as their latents have one size. A sample's bits do not depend on the samples beside it.

With a cache interval of n, the whole denoiser runs in every n-th step. The steps between take the
features that it gave, and only the ends of the network run again: DeepCache, arXiv:2312.00858.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends import Graph, LoopBackend
from trt_pipeline.sampling.inpainting import KnownLatents
from trt_pipeline.sampling.noise import NoiseStream
from trt_pipeline.sampling.samplers import SamplerTable


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The R denoiser rows of a sample."""

    weights: NDArray[np.float32]
    """[R], of each row's prediction in the sample's."""
    tensors: Mapping[str, NDArray[Any]]
    """Inputs that stay the same over the steps, each [R, ...]: context_kv, condition."""
    time_embeds: NDArray[Any]
    """[N, R, E], for each step of the sample's table."""


@dataclass(slots=True, eq=False, kw_only=True, repr=False)
class Sample:
    """One picture on its way from noise to pixels; steps take it further until it is `done`."""

    table: SamplerTable
    rows: Sequence[Rows]
    """For each step; steps with the same rows share one object."""
    noise: NoiseStream
    latents: NDArray[np.float32]
    """[C, h, w] before the next step."""
    known: KnownLatents | None = None
    """What every step puts back."""
    cache_interval: int = 1
    index: int = 0
    """The next step's number, from 0."""
    history: NDArray[np.float32] = field(init=False)
    """[3, C, h, w], m1 to m3 of the sampler's update; zero before the first step."""
    features: NDArray[Any] | None = None
    """[R, F, h, w] of the last whole step, where a cached one may follow."""
    first: int = 0
    """The first step with the rows that the next one has: features are those of their rows."""
    seed: int | None = None
    """Of the noise; None if a generator gives it."""
    tile: int | None = None
    """Side of the decoder's tiles in latents; None decodes at once."""
    decoder: str = "decoder"
    """The graph that makes pixels of the latents."""
    given: NDArray[np.uint8] | None = None
    """[H, W, 3], the picture of which pixels stay as they are; None where none do."""
    repainted: NDArray[np.bool_] | None = None
    """[H, W], where the given picture is painted again; None is everywhere."""

    def __post_init__(self) -> None:
        """An empty history."""
        self.history = np.zeros((3, *self.latents.shape), np.float32)

    @property
    def done(self) -> bool:
        """Whether all steps are taken."""
        return self.index == len(self.rows)

    @property
    def draws_noise(self) -> bool:
        """Whether the next step takes fresh noise."""
        return self.index < self.table.noisy_steps

    @property
    def runs_whole(self) -> bool:
        """Whether the next step needs the whole denoiser."""
        return (self.index - self.first) % self.cache_interval == 0


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """The rows of B samples side by side, M in all."""

    parts: tuple[Rows, ...]
    """Of each sample, in order."""
    tensors: Mapping[str, NDArray[Any]]
    """rows [M], guidance [B, M], and the rows' own."""


class Denoiser:
    """Takes sets of samples through steps; keeps joined what stays the same from step to step."""

    def __init__(self, whole: Graph, cached: Callable[[], Graph]) -> None:
        """whole: the denoiser. cached: opens the graph of the steps between whole ones."""
        self._whole = whole
        self._cached = cached
        self._joined: Joined | None = None

    def step(self, samples: Sequence[Sample]) -> None:
        """Take each sample one step further, in one call of the denoiser, or in two where some take
        a cached step and others a whole one. All have latents of one size."""
        whole = [sample for sample in samples if sample.runs_whole]
        between = [sample for sample in samples if not sample.runs_whole]
        if whole:
            self._run(self._whole, whole)
        if between:
            self._run(self._cached(), between)
        for sample in samples:
            _advance(sample)

    def _run(self, graph: Graph, samples: Sequence[Sample]) -> None:
        joined = self._join(tuple(sample.rows[sample.index] for sample in samples))
        outputs = graph.run({**_state(samples), **joined.tensors})
        counts = [len(part.weights) for part in joined.parts]
        ends = np.cumsum(counts).tolist()
        for number, (sample, count, end) in enumerate(zip(samples, counts, ends, strict=True)):
            sample.latents = outputs["next_latents"][number]
            sample.history = outputs["next_history"][:, number]
            if sample.cache_interval > 1 and "features" in outputs:
                sample.features = outputs["features"][end - count : end]

    def _join(self, parts: tuple[Rows, ...]) -> Joined:
        joined = self._joined
        if joined is None or joined.parts != parts:
            joined = self._joined = join(parts)
        return joined


def join(parts: tuple[Rows, ...]) -> Joined:
    """The rows of samples side by side."""
    counts = [len(part.weights) for part in parts]
    rows = np.repeat(np.arange(len(parts), dtype=np.int32), counts)
    guidance = np.zeros((len(parts), len(rows)), np.float32)
    guidance[rows, np.arange(len(rows))] = np.concatenate([part.weights for part in parts])
    own = {name: _concatenated([part.tensors[name] for part in parts]) for name in parts[0].tensors}
    return Joined(parts, {"rows": rows, "guidance": guidance, **own})


def _state(samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
    """The denoiser's inputs that change from step to step."""
    latents = _stacked([sample.latents for sample in samples])
    tensors: dict[str, NDArray[Any]] = {
        "latents": latents,
        "history": _stacked([sample.history for sample in samples], axis=1),
        "time_embeds": _concatenated([s.rows[s.index].time_embeds[s.index] for s in samples]),
        "coefficients": np.stack([s.table.coefficients[s.index] for s in samples]),
        "noise": _drawn(samples) if any(s.draws_noise for s in samples) else np.zeros_like(latents),
    }
    if not samples[0].runs_whole:
        tensors["features"] = _concatenated([s.features for s in samples if s.features is not None])
    return tensors


def _drawn(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """[B, C, h, w]: fresh noise for samplers that ask for it, zero for others."""
    shape = (1, *samples[0].latents.shape)
    return np.concatenate(
        [
            sample.noise.draw(shape) if sample.draws_noise else np.zeros(shape, np.float32)
            for sample in samples
        ]
    )


def _advance(sample: Sample) -> None:
    before = sample.rows[sample.index]
    sample.index += 1
    if sample.known:
        # After the last step diffusers puts the picture back without noise.
        level = np.float32(1) if sample.done else sample.table.alphas_cumprod[sample.index]
        sample.latents = sample.known.restore(sample.latents, level)
    if not sample.done and sample.rows[sample.index] is not before:
        sample.first = sample.index


def denoise_at_once(backend: LoopBackend, samples: Sequence[Sample]) -> None:
    """Take samples through all steps without looking at any in between.

    All begin now, with one table, and have the same rows in every step.
    """
    table, interval = samples[0].table, samples[0].cache_interval
    steps, shape = len(table.timesteps), (1, *samples[0].latents.shape)
    joined = join(tuple(sample.rows[0] for sample in samples))
    drawn = None
    if table.noisy_steps:
        drawn = np.zeros((steps, len(samples), *shape[1:]), np.float32)
        for step in range(table.noisy_steps):
            drawn[step] = np.concatenate([s.noise.draw(shape) for s in samples])
    latents = backend.denoise(
        _stacked([sample.latents for sample in samples]),
        joined.tensors,
        np.concatenate([sample.rows[0].time_embeds for sample in samples], axis=1),
        np.repeat(table.coefficients[:, None], len(samples), axis=1),
        drawn,
        interval,
    )
    for sample, own in zip(samples, latents, strict=True):
        sample.latents, sample.index = own, steps


def _stacked(arrays: Sequence[NDArray[Any]], axis: int = 0) -> NDArray[Any]:
    """np.stack, which copies nothing for a single array."""
    if len(arrays) == 1:
        return np.ascontiguousarray(np.expand_dims(arrays[0], axis))
    return np.stack(arrays, axis)


def _concatenated(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """np.concatenate, which copies nothing for a single array."""
    return np.ascontiguousarray(arrays[0]) if len(arrays) == 1 else np.concatenate(arrays)
