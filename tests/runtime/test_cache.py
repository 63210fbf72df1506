from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline.pipelines.cache import ArrayCache


def make(value: float, made: list[float]) -> dict[str, NDArray[np.float32]]:
    made.append(value)
    return {"latents": np.full(1, value, np.float32)}


def test_an_array_is_made_once() -> None:
    made: list[float] = []
    cache = ArrayCache(max_bytes=8)
    for _ in range(2):
        assert cache.get(b"a", lambda: make(1, made)) == {"latents": 1}
    assert made == [1]


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    made: list[float] = []
    cache = ArrayCache(max_bytes=8)
    for key, value in [(b"a", 1), (b"b", 2), (b"a", 1), (b"c", 3), (b"a", 1), (b"b", 2)]:
        cache.get(key, partial(make, value, made))
    assert made == [1, 2, 3, 2]


def test_an_array_larger_than_the_cache_is_returned_but_not_held() -> None:
    made: list[float] = []
    cache = ArrayCache(max_bytes=2)
    for _ in range(2):
        cache.get(b"a", lambda: make(1, made))
    assert made == [1, 1]


def test_a_shared_array_cannot_be_changed() -> None:
    arrays = ArrayCache(max_bytes=8).get(b"a", lambda: make(1, []))
    with pytest.raises(ValueError, match="read-only"):
        arrays["latents"][0] = 1
