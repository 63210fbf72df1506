"""Candidate: something that makes pictures and can be timed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bench.workload import Workload

Parts: TypeAlias = dict[str, list[float]]
"""Part of a call → seconds of each of its runs, in order."""


class Candidate(Protocol):
    """One way from prompts to pictures."""

    device: str
    """What it runs on, in words."""
    arithmetic: str
    """fp32, fp16, bf16, int8 or fp8, of the denoiser."""

    def generate(self, workload: Workload, prompts: Sequence[str]) -> NDArray[np.uint8]:
        """Pixels [B, H, W, 3] of a picture for each prompt."""

    def parts(self, workload: Workload, prompts: Sequence[str]) -> Parts:
        """Seconds that each part of one call takes, caches empty; "total" is the whole call."""


@dataclass(frozen=True, slots=True)
class CandidateSpec:
    """A candidate by name, and the process that answers for it."""

    name: str
    command: tuple[str, ...]
    """A program that answers requests as trt_pipeline.bench.worker does."""
    opens: Path | None = None
    """The folder of its model, for the size on disk."""
