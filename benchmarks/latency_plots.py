"""Charts of a latency report: bars with spread, throughput against batch, a picture's time.

python benchmarks/latency_plots.py REPORT.json FOLDER
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trt_pipeline.bench.report import Report, Row, read_report


def draw_all(report: Report, folder: Path) -> None:
    """Write latency.png, throughput.png and waterfall.png."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (("latency", bars), ("throughput", throughput), ("waterfall", waterfall)):
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        draw(axes, [row for row in report.rows if row.believed])
        axes.set_title(f"{report.model}, {report.machine.gpu or report.machine.cpu}")
        figure.savefig(folder / f"{name}.png", dpi=100)


def bars(axes: Any, rows: Sequence[Row]) -> None:
    """Median of a call at the smallest batch, with its 5th and 95th percentile."""
    rows = _smallest_batch(rows)
    middle = [row.percentile(50) for row in rows]
    below = [row.percentile(50) - row.percentile(5) for row in rows]
    above = [row.percentile(95) - row.percentile(50) for row in rows]
    axes.barh([row.name for row in rows], middle, xerr=(below, above), capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel("seconds, text to pictures; whiskers: 5th and 95th percentile")


def throughput(axes: Any, rows: Sequence[Row]) -> None:
    """Pictures a second against batch size."""
    for name in dict.fromkeys(row.name for row in rows):
        own = [row for row in rows if row.name == name]
        batches = [row.workload.batch for row in own]
        axes.plot(batches, [row.workload.batch / row.percentile(50) for row in own], "o-")
        axes.lines[-1].set_label(name)
    axes.set(xlabel="pictures in a batch", ylabel="pictures a second", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()


def waterfall(axes: Any, rows: Sequence[Row]) -> None:
    """Where the time of one call goes, with empty caches."""
    rows = [row for row in _smallest_batch(rows) if row.parts]
    names = [row.name for row in rows]
    spent = dict.fromkeys(names, 0.0)
    for part in dict.fromkeys(part for row in rows for part in row.parts if part != "total"):
        widths = [sum(row.parts.get(part, ())) for row in rows]
        axes.barh(names, widths, left=[spent[name] for name in names], label=part)
        spent = {name: spent[name] + width for name, width in zip(names, widths, strict=True)}
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend()


def _smallest_batch(rows: Sequence[Row]) -> list[Row]:
    least = min(row.workload.batch for row in rows)
    return [row for row in rows if row.workload.batch == least]


def main() -> None:
    """Draw a report that was written before."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    draw_all(read_report(arguments.report), arguments.folder)


if __name__ == "__main__":
    main()
