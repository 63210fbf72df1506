"""Rounds: all candidates take turns, A B C, A B C, so that drift of the machine hits all alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from trt_pipeline.bench.candidate import CandidateSpec
from trt_pipeline.bench.difference import difference, worst
from trt_pipeline.bench.process import CandidateProcess
from trt_pipeline.bench.report import Row
from trt_pipeline.bench.workload import Workload
from trt_pipeline.closing import Closing
from trt_pipeline.errors import BackendError


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure."""

    workloads: Sequence[Workload]
    rounds: int
    """Timed calls of each candidate under each workload."""
    cold_starts: int
    """New processes of each candidate, for the time to the first picture."""
    alone: bool
    """Start a candidate again for each of its turns, where not all fit in memory together."""
    warm_up_calls: int = 2
    """Before the first timed one: a GPU backend captures its loop in the second."""
    warm_up_steps: int | None = None
    """Of a call before the first timed one; None for as many as timed."""


@dataclass(slots=True)
class Roster(Closing):
    """The candidates' processes."""

    work: Path
    """Folder for pictures and logs."""
    plan: Plan
    _running: dict[str, CandidateProcess] = field(default_factory=dict)
    _warm: set[tuple[str, Workload]] = field(default_factory=set)

    def start(self, spec: CandidateSpec) -> CandidateProcess:
        """A new process."""
        return CandidateProcess(spec, self.work / f"{spec.name}.log")

    def warm(self, spec: CandidateSpec, workload: Workload) -> CandidateProcess:
        """The candidate's process, after calls like the workload."""
        if self.plan.alone and spec.name not in self._running:
            self.close()
        if spec.name not in self._running:
            self._running[spec.name] = self.start(spec)
        process = self._running[spec.name]
        if (spec.name, workload) not in self._warm:
            steps = self.plan.warm_up_steps or workload.num_inference_steps
            shorter = replace(workload, num_inference_steps=steps)
            for _ in range(self.plan.warm_up_calls):
                process.generate(shorter, 0, self.work / "warm-up.npy")
            self._warm.add((spec.name, workload))
        return process

    def close(self) -> None:
        """End every process."""
        for process in self._running.values():
            process.close()
        self._running.clear()
        self._warm.clear()


def measure(
    specs: Sequence[CandidateSpec], plan: Plan, work: Path, watch: Callable[[str], None]
) -> list[Row]:
    """A row for each candidate and workload; pictures are compared with those of the first
    candidate that makes any.

    A candidate that fails keeps its error and takes no further turn. watch: told each turn.
    """
    rows: list[Row] = []
    with Roster(work, plan) as roster:
        for workload in plan.workloads:
            table = {
                spec.name: Row(spec.name, workload, disk_bytes=_size(spec.opens)) for spec in specs
            }
            _take_turns(specs, table, workload, plan, roster, watch)
            rows += table.values()
    cold = {row.name: row for row in reversed(rows)}
    with Roster(work, plan) as roster:
        for number in range(plan.cold_starts):
            for spec in specs:
                if cold[spec.name].error:
                    continue
                watch(f"cold start {number + 1} of {plan.cold_starts}: {spec.name}")
                _start_cold(spec, cold[spec.name], roster)
    return rows


def _take_turns(
    specs: Sequence[CandidateSpec],
    table: dict[str, Row],
    workload: Workload,
    plan: Plan,
    roster: Roster,
    watch: Callable[[str], None],
) -> None:
    for turn in range(1, plan.rounds + 1):
        for spec in specs:
            if table[spec.name].error:
                continue
            watch(f"batch {workload.batch}, round {turn} of {plan.rounds}: {spec.name}")
            _take_turn(spec, table[spec.name], turn, roster, _reference(table))


def _reference(table: Mapping[str, Row]) -> str:
    """The first candidate that made pictures, or still may; empty if none does."""
    return next((name for name, row in table.items() if row.seconds or not row.error), "")


def _take_turn(spec: CandidateSpec, row: Row, turn: int, roster: Roster, reference: str) -> None:
    pictures = roster.work / f"{row.workload.batch}-{turn}-{spec.name}.npy"
    try:
        process = roster.warm(spec, row.workload)
        answer = process.generate(row.workload, turn, pictures)
        if turn == 1:
            row.parts = process.parts(row.workload, turn)
    except BackendError as error:
        row.error = str(error)
        return
    row.seconds.append(answer["seconds"])
    row.cpu_seconds.append(answer["cpu_seconds"])
    row.device, row.arithmetic = answer["device"], answer.get("arithmetic", "")
    row.joules = answer["joules"]
    row.host_bytes, row.device_bytes = answer["host_bytes"], answer["device_bytes"]
    expected = pictures.with_name(f"{row.workload.batch}-{turn}-{reference}.npy")
    if spec.name != reference and expected.exists():
        now = difference(np.load(pictures), np.load(expected))
        row.difference = worst([one for one in (row.difference, now) if one])


def _size(folder: Path | None) -> int | None:
    """Bytes of the files in a folder, whatever they are for."""
    if folder is None:
        return None
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _start_cold(spec: CandidateSpec, row: Row, roster: Roster) -> None:
    try:
        with roster.start(spec) as process:
            process.generate(row.workload, 0, roster.work / "cold.npy")
            row.cold_seconds.append(process.age)
    except BackendError as error:
        row.error = str(error)
