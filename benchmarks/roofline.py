"""What this machine can do at most: memory copies and matrix products, measured.

The roofline model is that of Williams, Waterman and Patterson, doi:10.1145/1498765.1498785.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from graph_cost import step_bytes, step_flop
from trt_pipeline import Bundle
from trt_pipeline.backends import openvino_bf16
from trt_pipeline.bench.report import Limit

REPEATS = 7
COPIED_BYTES = 2**28
"""Of each copy; beyond any cache."""
SIDE, GPU_SIDE = 2048, 8192
"""Of the matrices that are multiplied."""


def measure_limit(bundle: Bundle, batches: Sequence[int], threads: int) -> Limit:
    """The roofline of this machine's GPU, if torch sees one, or of its CPU."""
    torch.set_num_threads(threads)
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    flop_per_second = matmul_peak(device)
    return Limit(
        copy_bytes_per_second=copy_bandwidth(device),
        flop_per_second=flop_per_second,
        step_flop={batch: step_flop(bundle, batch) for batch in batches},
        step_bytes=step_bytes(bundle, 2 if on_gpu else 4),
        bf16_flop_per_second=None if on_gpu else bf16_peak(),
        int8_flop_per_second=None if on_gpu else int8_peak(flop_per_second),
    )


def copy_bandwidth(device: torch.device) -> float:
    """Bytes read and written in a second by the fastest of some copies."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / _fastest(lambda: target.copy_(source))


def matmul_peak(device: torch.device) -> float:
    """FLOP in a second of the fastest of some matrix products, by torch or NumPy."""
    if device.type == "cuda":
        half = torch.ones(GPU_SIDE, GPU_SIDE, dtype=torch.float16, device=device)
        return 2 * GPU_SIDE**3 / _fastest(lambda: half @ half)
    single = torch.ones(SIDE, SIDE)
    array = np.ones((SIDE, SIDE), np.float32)
    return 2 * SIDE**3 / min(_fastest(lambda: single @ single), _fastest(lambda: array @ array))


def bf16_peak() -> float | None:
    """Likewise with bfloat16; None on a CPU that only imitates it."""
    if openvino_bf16.obstacle():
        return None
    half = torch.ones(SIDE, SIDE, dtype=torch.bfloat16)
    return 2 * SIDE**3 / _fastest(lambda: half @ half)


def int8_peak(single: float, side: int = SIDE) -> float | None:
    """Likewise of int8 matrices, whose products are summed in int32; None on a CPU without such
    arithmetic, where they are slower than float32's: single, in FLOP a second."""
    ones = torch.ones(side, side, dtype=torch.int8)

    def multiply() -> Any:
        return torch._int_mm(ones, ones)

    work = 2 * side**3
    if work / _seconds(multiply) < single / 4:  # seven more would take a minute
        return None
    peak = work / _fastest(multiply)
    return peak if peak > single else None


def _fastest(run: Callable[[], Any]) -> float:
    """Seconds of the fastest run; the first ones warm up."""
    return min(_seconds(run) for _ in range(REPEATS))


def _seconds(run: Callable[[], Any]) -> float:
    _wait()
    started = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
