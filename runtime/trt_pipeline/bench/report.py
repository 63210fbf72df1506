"""Report: what a benchmark measured, as it is written to JSON and read again."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trt_pipeline.bench.candidate import Parts
from trt_pipeline.bench.difference import Difference
from trt_pipeline.bench.machine import Machine
from trt_pipeline.bench.verification import Verification
from trt_pipeline.bench.workload import Workload

STEP = "denoiser"
"""The part that runs once a step."""


@dataclass(slots=True)
class Row:
    """One candidate under one workload."""

    name: str
    workload: Workload
    device: str = ""
    arithmetic: str = ""
    """fp32, fp16, bf16, int8 or fp8, of the denoiser; reports of earlier releases do not say."""
    seconds: list[float] = field(default_factory=list)
    """Of each timed call, warm."""
    cpu_seconds: list[float] = field(default_factory=list)
    """That all threads of the process computed in each of these calls: unlike the time of day, it
    hardly grows on a busy machine."""
    cold_seconds: list[float] = field(default_factory=list)
    """From the start of a process to its first pictures."""
    parts: Parts = field(default_factory=dict)
    """Part → seconds of its runs in one warm call with empty caches."""
    host_bytes: int | None = None
    """Resident memory of the process at most."""
    device_bytes: int | None = None
    """GPU memory that the process held."""
    disk_bytes: int | None = None
    """Files in the folder of its model."""
    joules: float | None = None
    """GPU energy of a call, at the median."""
    difference: Difference | None = None
    """From the pictures of the first candidate that ran, at worst; None for itself."""
    error: str | None = None
    """Why there is no measurement, or no further one."""

    def percentile(self, percent: float) -> float:
        """Seconds within which this percentage of the timed calls ended."""
        return float(np.percentile(self.seconds, percent))

    @property
    def step_seconds(self) -> float | None:
        """Median of one step; None where the parts were not timed."""
        return float(np.median(self.parts[STEP])) if self.parts.get(STEP) else None

    @property
    def believed(self) -> bool:
        """Whether its pictures are those of the first candidate that ran."""
        return bool(self.seconds) and (self.difference is None or self.difference.agrees)


@dataclass(frozen=True, slots=True)
class Limit:
    """What the machine and one denoiser step allow: the roofline."""

    copy_bytes_per_second: float
    """Measured: bytes read plus bytes written by a copy."""
    flop_per_second: float
    """Measured: float32 matrix product, or float16 on a GPU."""
    step_flop: dict[int, float]
    """Batch → multiplications and additions of one step with guidance."""
    step_bytes: float
    """Weights, each read once a step."""
    bf16_flop_per_second: float | None = None
    """Measured: bfloat16 matrix product on a CPU that has such arithmetic."""
    int8_flop_per_second: float | None = None
    """Measured: product of int8 matrices on a CPU."""

    def step_seconds(self, batch: int, arithmetic: str = "") -> float:
        """The least that a step could take; on CPUs bf16 and int8 have peaks of their own."""
        flop_per_second, step_bytes = self.flop_per_second, self.step_bytes
        narrow = {"bf16": (self.bf16_flop_per_second, 2), "int8": (self.int8_flop_per_second, 4)}
        peak, part = narrow.get(arithmetic, (None, 1))
        if peak:
            flop_per_second, step_bytes = peak, step_bytes / part
        computing = self.step_flop[batch] / flop_per_second
        return max(computing, step_bytes / self.copy_bytes_per_second)


@dataclass(frozen=True, slots=True)
class Report:
    """One run."""

    model: str
    machine: Machine
    rows: list[Row]
    limit: Limit | None = None
    verification: Verification | None = None
    """Of the bundle; reports of earlier releases have none."""

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def read_report(path: Path) -> Report:
    """What write() wrote."""
    content = json.loads(path.read_text())
    limit = content["limit"]
    if limit is not None:
        by_batch = {int(batch): flop for batch, flop in limit["step_flop"].items()}
        limit = Limit(**{**limit, "step_flop": by_batch})
    rows = [_row(**row) for row in content["rows"]]
    verification = content.get("verification")
    return Report(
        content["model"],
        Machine(**content["machine"]),
        rows,
        limit,
        Verification(**verification) if verification else None,
    )


def _row(workload: dict[str, Any], difference: dict[str, Any] | None, **others: Any) -> Row:
    return Row(
        workload=Workload(**workload),
        difference=Difference(**difference) if difference else None,
        **others,
    )
