"""What changed between two runs of a benchmark, beyond their spread.

    python benchmarks/compare.py OLD.json NEW.json

A time has changed if each run's median lies outside all that the other run measured. What a run
measured only once has no spread, and is printed without a verdict. Exit status 1 if something
became slower or is missing, 2 if a file is not a report, so that a script can tell.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from trt_pipeline.bench.report import Report, Row, read_report
from trt_pipeline.bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Change:
    """One time in two runs."""

    what: str
    old: Sequence[float]
    """Seconds."""
    new: Sequence[float]

    @property
    def ratio(self) -> float:
        """New median over old: above 1 is slower."""
        return median(self.new) / median(self.old)

    @property
    def beyond_spread(self) -> bool:
        """Whether neither run ever measured what is typical of the other."""
        return not (_covers(self.old, median(self.new)) or _covers(self.new, median(self.old)))

    @property
    def verdict(self) -> str:
        """In a word."""
        if min(len(self.old), len(self.new)) == 1:
            return "once"
        if not self.beyond_spread:
            return "same"
        return "SLOWER" if self.ratio > 1 else "faster"


def _covers(samples: Sequence[float], value: float) -> bool:
    return min(samples) <= value <= max(samples)


def changes(old: Report, new: Report) -> Iterator[Change]:
    """Every time that both runs measured."""
    before = _by_candidate(old)
    for candidate, row in _by_candidate(new).items():
        if candidate in before:
            yield from _row_changes(before[candidate], row)


def _by_candidate(report: Report) -> dict[tuple[str, Workload], Row]:
    return {(row.name, row.workload): row for row in report.rows}


def _row_changes(old: Row, new: Row) -> Iterator[Change]:
    where = f"{new.name}, batch {new.workload.batch}"
    times = {"warm": (old.seconds, new.seconds), "cold": (old.cold_seconds, new.cold_seconds)}
    times |= {part: (old.parts.get(part, []), new.parts[part]) for part in new.parts}
    for what, (first, second) in times.items():
        if first and second:
            yield Change(f"{where}: {what}", first, second)


def missing(old: Report, new: Report) -> Iterator[str]:
    """What the old run timed and the new one did not, and why."""
    now = _by_candidate(new)
    for candidate, row in _by_candidate(old).items():
        found = now.get(candidate)
        if row.seconds and not (found and found.seconds):
            reason = (found and found.error) or "not measured"
            yield f"{row.name}, batch {row.workload.batch}: {reason}"


def differing_conditions(old: Report, new: Report) -> Iterator[str]:
    """What else than the code may explain a change: the model, hardware and versions."""
    if old.model != new.model:
        yield f"model: {old.model} → {new.model}"
    for name in ("cpu", "cores", "gpu", "system", "python"):
        before, now = getattr(old.machine, name), getattr(new.machine, name)
        if before != now:
            yield f"{name}: {before} → {now}"
    packages = old.machine.packages.keys() | new.machine.packages.keys()
    for name in sorted(packages):
        before, now = (one.machine.packages.get(name, "absent") for one in (old, new))
        if before != now:
            yield f"{name}: {before} → {now}"


def main() -> None:
    """Print a line for each time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    arguments = parser.parse_args()
    old, new = (_read(parser, path) for path in (arguments.old, arguments.new))
    for line in differing_conditions(old, new):
        print(f"differs: {line}")
    found = list(changes(old, new))
    for change in found:
        before, now = median(change.old), median(change.new)
        times = f"{before:9.4f} s → {now:9.4f} s {change.ratio:6.2f}×"
        print(f"{change.verdict:<7} {times}  {change.what}")
    gone = list(missing(old, new))
    for what in gone:
        print(f"MISSING {what}")
    sys.exit(bool(gone) or any(change.verdict == "SLOWER" for change in found))


def _read(parser: argparse.ArgumentParser, path: Path) -> Report:
    try:
        return read_report(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        parser.error(f"{path} is not a report of a benchmark: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
