"""Standard normal noise from seeds: the project's own streams and torch's."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import arguments
from trt_pipeline.errors import InvalidInputError

Shape: TypeAlias = tuple[int, ...]
Float32s: TypeAlias = NDArray[np.float32]

MAX_SEED = 2**64 - 1
NOTHING: Float32s = np.empty(0, np.float32)


@runtime_checkable
class NoiseStream(Protocol):
    """Where samples take their noise from: the latents first, then a draw a step if needed."""

    def draw(self, shape: Shape) -> Float32s:
        """The stream's next standard normal numbers, [B, C, h, w]."""


class SeedNoise:
    """The noise of one image: Philox4x64-10 and Box-Muller, easy to reproduce in any language.

    Philox (Salmon et al. 2011) has the key (seed, 0) and a 256-bit counter that is increased before
    each block of four 64-bit outputs, so the first block is that of counter 1. A draw of n numbers
    takes the next 2·ceil(n / 2) outputs; outputs 2i and 2i+1, r and t, give numbers 2i and 2i+1:

        u = (floor(r / 2^11) + 1) / 2^53        in (0, 1]
        v = floor(t / 2^11) / 2^53              in [0, 1)
        sqrt(-2 ln u)·cos(2π v),  sqrt(-2 ln u)·sin(2π v)

    computed in float64 and rounded to float32; an odd n drops the last one.
    """

    def __init__(self, seed: int) -> None:
        """InvalidInputError unless seed is an integer from 0 to 2^64 - 1."""
        self.seed = arguments.integer("seed", seed, 0, MAX_SEED)
        self._bits = np.random.Philox(key=self.seed)

    def draw(self, shape: Shape) -> Float32s:
        """The stream's next numbers in C order."""
        count = int(np.prod(shape))
        pairs = (count + 1) // 2
        fractions = self._bits.random_raw(2 * pairs).reshape(pairs, 2) >> np.uint64(11)
        radius = np.sqrt(-2 * np.log((fractions[:, 0] + np.uint64(1)) * 2.0**-53))
        angle = 2 * np.pi * (fractions[:, 1] * 2.0**-53)
        normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return normal.ravel()[:count].reshape(shape).astype(np.float32)


class TorchGenerator:
    """torch's CPU generator, in NumPy: torch.randn's float32 numbers to the last two bits.

    TorchGenerator(s) continues from draw to draw as the generator of torch.manual_seed(s) does.
    Source: ATen's DistributionTemplates.h (normal_fill) and DistributionsHelper.h.
    """

    def __init__(self, seed: int) -> None:
        """InvalidInputError unless -2^63 <= seed < 2^64; its low 32 bits count, as in torch."""
        self.seed = arguments.integer("seed", seed, -(2**63), MAX_SEED)
        self._twister = np.random.RandomState(self.seed & 0xFFFFFFFF)
        self._spare: float | None = None

    def draw(self, shape: Shape) -> Float32s:
        """What torch.randn(shape) would give next."""
        count = int(np.prod(shape))
        if count < 16:
            values = np.array([self._next() for _ in range(count)], np.float32)
        else:
            values = self._fill(count)
        return values.reshape(shape)

    def _fill(self, count: int) -> Float32s:
        """Box-Muller on blocks of 16; a shorter tail redraws the last 16."""
        uniform = self._uniform(count)
        normal = np.empty(count, np.float32)
        whole = count // 16 * 16
        normal[:whole] = _box_muller_16(uniform[:whole])
        if whole < count:
            normal[-16:] = _box_muller_16(self._uniform(16))
        return normal

    def _uniform(self, count: int) -> Float32s:
        return (self._words(count) & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)

    def _words(self, count: int) -> NDArray[np.uint32]:
        return self._twister.randint(0, 2**32, size=count, dtype=np.uint32)

    def _next(self) -> float:
        """One number in float64; every second one is the sine kept from the one before."""
        if self._spare is not None:
            value, self._spare = self._spare, None
            return value
        angle, u = 2 * np.pi * self._uniform53(), self._uniform53()
        radius = np.sqrt(-2 * np.log1p(-u))
        self._spare = float(radius * np.sin(angle))
        return float(radius * np.cos(angle))

    def _uniform53(self) -> float:
        high, low = self._words(2).tolist()
        return float(((high << 32 | low) & (2**53 - 1)) * 2.0**-53)


def _box_muller_16(uniform: Float32s) -> Float32s:
    """In each block of 16, element j < 8 gives the radius and element j + 8 the angle."""
    radial, angular = uniform.reshape(-1, 2, 8).swapaxes(0, 1)
    radius = np.sqrt(-2 * np.log(1 - radial))
    angle = np.float32(2 * np.pi) * angular
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


class SharedNoise:
    """One stream that a batch draws from: each draw is [B, ...], and each sample takes its part.

    Samples may be at different draws; a draw is kept until all of them took their part of it.
    """

    def __init__(self, stream: NoiseStream, batch: int) -> None:
        """batch: the number of samples, B."""
        self._stream = stream
        self._batch = batch
        self._drawn: list[Float32s] = []
        self._taken: list[int] = []

    def part(self, draw: int, sample: int, shape: Shape) -> Float32s:
        """A sample's part, of this shape, of the draw of this number."""
        while len(self._drawn) <= draw:
            self._drawn.append(self._stream.draw((self._batch, *shape[1:])))
            self._taken.append(0)
        part = self._drawn[draw][sample : sample + 1]
        self._taken[draw] += 1
        if self._taken[draw] == self._batch:
            self._drawn[draw] = NOTHING
        return part


class SampleOfShared:
    """One sample's part of a stream that a batch shares."""

    def __init__(self, shared: SharedNoise, sample: int) -> None:
        """sample: its number in the batch."""
        self._shared = shared
        self._sample = sample
        self._draws = 0

    def draw(self, shape: Shape) -> Float32s:
        """The stream's next numbers for this sample, [1, ...]."""
        self._draws += 1
        return self._shared.part(self._draws - 1, self._sample, shape)


def image_seeds(seed: int | Sequence[int] | None, batch: int) -> tuple[int, ...]:
    """One seed for each image of a batch.

    An integer s gives s, s + 1, …; a sequence is taken as it is; None starts from a random s.
    InvalidInputError for seeds outside 0..2^64 - 1 or a sequence of another length.
    """
    if arguments.is_list(seed):
        if len(seed) != batch:
            raise InvalidInputError(
                f"seed has {arguments.counted(len(seed), 'entry', 'entries')} for "
                f"{arguments.counted(batch, 'image')}."
            )
        return tuple(arguments.integer("seed", one, 0, MAX_SEED) for one in seed)
    first = int.from_bytes(os.urandom(4)) if seed is None else seed
    first = arguments.integer("seed", first, 0, MAX_SEED + 1 - batch)
    return tuple(range(first, first + batch))


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Where the pictures of a call take their noise from."""

    streams: Sequence[NoiseStream]
    """One for each picture."""
    shared: NoiseStream | None = None
    """The one that all of them are parts of, if a single generator was given."""
    are_listed: bool = False
    """Whether a list of generators was given."""

    def of_images(
        self, images: Sequence[int], shape: Shape, masked: bool
    ) -> Sequence[NDArray[np.float32]]:
        """Noise of this shape for what each picture is made from; images: the number of each one's.

        Every picture draws its own, so that its seed says all of it. Generators draw as they do in
        diffusers' pipelines: a single one once an image, for all pictures that are made from it;
        and of a list, where a picture has a mask, the k-th one for the k-th image.
        """
        if self.shared is None and not (masked and self.are_listed):
            return [stream.draw((1, *shape))[0] for stream in self.streams]
        count = max(images) + 1
        if self.shared is not None:
            drawn = self.shared.draw((count, *shape))
        else:
            drawn = np.concatenate([one.draw((1, *shape)) for one in self.streams[:count]])
        return [drawn[number] for number in images]


def given_draws(generator: object, batch: int) -> Draws:
    """The draws of a `generator` argument: a stream for all pictures, or a list of them."""
    if isinstance(generator, list | tuple):
        if len(generator) != batch:
            raise InvalidInputError(
                f"generator has {arguments.counted(len(generator), 'entry', 'entries')} for "
                f"{arguments.counted(batch, 'image')}."
            )
        return Draws([_checked_stream(one) for one in generator], are_listed=True)
    stream = _checked_stream(generator)
    shared = SharedNoise(stream, batch)
    return Draws([SampleOfShared(shared, sample) for sample in range(batch)], shared=stream)


def _checked_stream(generator: object) -> NoiseStream:
    if not isinstance(generator, NoiseStream):
        raise InvalidInputError(
            f"generator is a {type(generator).__module__}.{type(generator).__qualname__}, expected "
            "TorchGenerator(seed) from trt_pipeline, or a list of them."
        )
    return generator
