"""Which changes between two runs count."""

import sys
from pathlib import Path

import pytest
from compare import Change, changes, differing_conditions, main, missing

from trt_pipeline.bench.machine import Machine
from trt_pipeline.bench.report import Report, Row
from trt_pipeline.bench.workload import Workload

MACHINE = Machine("a CPU", 2, None, "an OS", "3.11", {"numpy": "2.0"}, "2026-01-01T00:00:00+00:00")


def report(seconds: list[float], **machine: object) -> Report:
    changed = Machine(**{**_fields(MACHINE), **machine})  # type: ignore[arg-type]
    return Report("tiny", changed, [Row("ours", Workload(), seconds=seconds)])


def _fields(machine: Machine) -> dict[str, object]:
    return {name: getattr(machine, name) for name in Machine.__dataclass_fields__}


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        ([3.0, 3.1, 3.2], "SLOWER"),
        ([0.5, 0.6], "faster"),
        ([1.05, 2.0, 2.1], "same"),
        ([3.0], "once"),
    ],
)
def test_a_change_counts_beyond_both_runs_spread(new: list[float], verdict: str) -> None:
    assert Change("ours", [1.0, 1.1, 2.0], new).verdict == verdict


def test_only_what_both_runs_measured_is_compared() -> None:
    (change,) = changes(report([1.0]), report([2.0]))
    assert (change.what, change.ratio) == ("ours, batch 1: warm", 2.0)


def test_other_hardware_and_versions_are_named() -> None:
    new = report([1.0], cores=4, packages={"numpy": "2.1", "torch": "2.13"})
    assert list(differing_conditions(report([1.0]), new)) == [
        "cores: 2 → 4",
        "numpy: 2.0 → 2.1",
        "torch: absent → 2.13",
    ]


def test_what_only_the_old_run_measured_is_named() -> None:
    new = report([])
    new.rows[0].error = "ours: it ended"
    assert list(missing(report([1.0]), new)) == ["ours, batch 1: ours: it ended"]
    assert list(missing(report([1.0]), Report("tiny", MACHINE, []))) == [
        "ours, batch 1: not measured"
    ]
    assert list(missing(report([1.0]), report([2.0]))) == []
    assert list(differing_conditions(report([1.0]), Report("large", MACHINE, []))) == [
        "model: tiny → large"
    ]


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"{}", b"\x89PNG\r\n"])
def test_a_file_that_is_no_report_is_a_usage_error(
    tmp_path: Path,
    content: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    genuine, other = tmp_path / "genuine.json", tmp_path / "other.json"
    report([1.0, 2.0]).write(genuine)
    if content is not None:
        other.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["compare.py", str(genuine), str(other)])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert f"{other} is not a report of a benchmark" in capsys.readouterr().err
