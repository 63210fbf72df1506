"""The table that a benchmark prints."""

from collections.abc import Iterator

import numpy as np

from trt_pipeline.arguments import counted
from trt_pipeline.bench.report import Limit, Report, Row

COLUMNS = (
    f"{'candidate':<20} {'p50':>8} {'p95':>8} {'p99':>8} {'ratio':>7} {'pictures/s':>10} "
    f"{'step':>8} {'limit':>6} {'cold':>7} {'cpu':>8} {'host':>8} {'device':>8} "
    f"{'disk':>8}  pictures"
)


def lines(report: Report) -> Iterator[str]:
    """One table for each batch size, then what the columns say."""
    machine = report.machine
    cores = counted(machine.cores, "core")
    yield f"{report.model} on {machine.cpu}, {cores}, {machine.gpu or 'no GPU'}"
    for workload in dict.fromkeys(row.workload for row in report.rows):
        rows = [row for row in report.rows if row.workload == workload]
        yield ""
        yield (
            f"batch {workload.batch}, {counted(workload.num_inference_steps, 'step')}, "
            f"guidance {workload.guidance_scale:g}, eta {workload.eta:g}, "
            f"{counted(max(len(row.seconds) for row in rows), 'round')}"
        )
        yield COLUMNS
        first = next((row for row in rows if row.seconds), rows[0])
        yield from (_line(row, first, report.limit) for row in rows)
        if report.limit:
            yield from _roofline(report.limit, workload.batch)
    yield ""
    if report.verification:
        size, seconds = report.verification.size, report.verification.seconds
        yield f"opening begins by hashing {size / 1e6:.1f} MB, which took {seconds:.3f} s"
    yield (
        "seconds; ratio: how many times as fast as the first that ran; limit: part of the roofline "
        "that a step reaches; cold: process start to first pictures; cpu: seconds of all threads; "
        "disk: files of the model; pictures: difference from the first's that ran"
    )


def _line(row: Row, first: Row, limit: Limit | None) -> str:
    if not row.seconds:
        return f"{row.name:<20} {row.error}"
    step = row.step_seconds
    least = limit.step_seconds(row.workload.batch, row.arithmetic) if limit else None
    cells = (
        f"{row.name:<20}",
        *(f"{row.percentile(percent):8.3f}" for percent in (50, 95, 99)),
        _ratio(row, first),
        f"{row.workload.batch / row.percentile(50):10.2f}",
        f"{'' if step is None else f'{step:.4f}':>8}",
        f"{f'{least / step:.0%}' if least and step else '':>6}",
        f"{f'{np.median(row.cold_seconds):.2f}' if row.cold_seconds else '':>7}",
        f"{f'{np.median(row.cpu_seconds):.3f}' if row.cpu_seconds else '':>8}",
        *(f"{_mebibytes(size):>8}" for size in (row.host_bytes, row.device_bytes, row.disk_bytes)),
        f" {_agreement(row)}",
    )
    return " ".join(cells)


def _ratio(row: Row, first: Row) -> str:
    if not (row.believed and first.seconds):
        return f"{'':7}"
    return f"{first.percentile(50) / row.percentile(50):6.2f}×"


def _agreement(row: Row) -> str:
    if row.error:
        return f"failed later: {row.error}"
    if row.difference is None:
        return "the reference"
    found = f"{row.difference.psnr:.0f} dB, at most {row.difference.largest} of 255"
    return found if row.difference.agrees else f"NOT THE SAME: {found}"


def _mebibytes(size: int | None) -> str:
    return "" if size is None else f"{size / 2**20:.0f} MiB"


def _roofline(limit: Limit, batch: int) -> Iterator[str]:
    yield (
        f"{'roofline':<20} a step needs {limit.step_flop[batch] / 1e9:.2f} GFLOP and "
        f"{limit.step_bytes / 1e6:.1f} MB of weights; measured {limit.flop_per_second / 1e9:.0f} "
        f"GFLOP/s and {limit.copy_bytes_per_second / 1e9:.1f} GB/s: at least "
        f"{limit.step_seconds(batch):.4f} s"
    )
    for arithmetic, peak, part in (
        ("bf16", limit.bf16_flop_per_second, "half"),
        ("int8", limit.int8_flop_per_second, "a quarter of"),
    ):
        if peak:
            yield (
                f"{'':<20} with {arithmetic} {peak / 1e9:.0f} GFLOP/s and {part} the bytes: "
                f"at least {limit.step_seconds(batch, arithmetic):.4f} s"
            )
