"""Batches: the scenes of each training step, drawn ahead by other processes where there are any."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_export.shapes.scenes import random_placed_scene, random_scene

Batch: TypeAlias = tuple[NDArray[np.uint8], list[str]]
"""Pictures [count, 64, 64, 3] and their captions."""
MOST_DOUBLES = 0.75
"""Part of the placed scenes that have two shapes, at the end of the layout steps."""
AHEAD = 4
"""Batches per worker that may wait to be used: bounds the memory."""


def draw_batch(number: int, *, seed: int, stage: str, count: int, placed_below: int = 0) -> Batch:
    """The scenes of one batch, a function of the arguments alone.

    placed_below: batches of smaller numbers have captions that all say where the shapes are.
    """
    rng = np.random.default_rng([seed, *stage.encode(), number])
    draw = random_scene
    if number < placed_below:
        draw = partial(random_placed_scene, doubles=doubles_at(number / placed_below))
    scenes = [draw(rng) for _ in range(count)]
    return np.stack([scene.draw() for scene in scenes]), [scene.caption(rng) for scene in scenes]


def doubles_at(progress: float) -> float:
    """Part of the placed scenes that have two shapes, after so much of the layout steps.

    None in the first third, for place is first learned on one shape alone; MOST_DOUBLES in the
    last.
    """
    return MOST_DOUBLES * min(1.0, max(0.0, 3 * progress - 1))


def draw_batches(
    numbers: Sequence[int],
    *,
    seed: int,
    stage: str,
    count: int,
    workers: int,
    placed_below: int = 0,
) -> Iterator[Batch]:
    """The batches of the given numbers, in their order; without workers, drawn in this process."""
    draw = partial(draw_batch, seed=seed, stage=stage, count=count, placed_below=placed_below)
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
