"""Batches: the scenes of each training step, drawn ahead by other processes where there are any."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_export.shapes.scenes import random_scene

Batch: TypeAlias = tuple[NDArray[np.uint8], list[str]]
"""Pictures [count, 64, 64, 3] and their captions."""
AHEAD = 4
"""Batches per worker that may wait to be used: bounds the memory."""


def draw_batch(number: int, *, seed: int, stage: str, count: int) -> Batch:
    """The scenes of one batch, a function of the arguments alone."""
    rng = np.random.default_rng([seed, *stage.encode(), number])
    scenes = [random_scene(rng) for _ in range(count)]
    return np.stack([scene.draw() for scene in scenes]), [scene.caption(rng) for scene in scenes]


def draw_batches(
    numbers: Sequence[int], *, seed: int, stage: str, count: int, workers: int
) -> Iterator[Batch]:
    """The batches of the given numbers, in their order; without workers, drawn in this process."""
    draw = partial(draw_batch, seed=seed, stage=stage, count=count)
    if workers == 0:
        yield from map(draw, numbers)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[Batch]] = deque()
        for number in numbers:
            waiting.append(pool.submit(draw, number))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
