"""A large export's stages must not have the memory of the stages before them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from trt_export.memory import give_back

PIECES, NUMBERS = 4000, 16_000
"""64 KB each, 256 MB in all: from the heap, as most tensors are."""


def resident_bytes() -> int:
    with Path("/proc/self/status").open() as status:
        line = next(line for line in status if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_was_freed_goes_back_to_the_system() -> None:
    before = resident_bytes()
    pieces = [np.ones(NUMBERS, np.float32) for _ in range(PIECES)]
    kept = pieces[::50]
    size = PIECES * NUMBERS * 4
    assert resident_bytes() - before > 0.9 * size
    del pieces
    give_back()
    assert resident_bytes() - before < 0.2 * size
    assert len(kept) == PIECES / 50
