"""The shape of what a benchmark reports; never a time."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trt_pipeline import Bundle
from trt_pipeline.bench.candidate import CandidateSpec
from trt_pipeline.bench.command import bench
from trt_pipeline.bench.difference import difference
from trt_pipeline.bench.machine import describe_machine
from trt_pipeline.bench.ours import BackendCandidate, our_spec
from trt_pipeline.bench.report import Limit, Report, Row, read_report
from trt_pipeline.bench.rounds import Plan, measure
from trt_pipeline.bench.table import lines
from trt_pipeline.bench.usage import peak_host_bytes
from trt_pipeline.bench.verification import Verification
from trt_pipeline.bench.worker import worker_command
from trt_pipeline.bench.workload import Workload
from trt_pipeline.command_line import console

QUICK = Workload(batch=2, num_inference_steps=3)
BLACK = np.zeros((1, 8, 8, 3), np.uint8)


def test_bench_reports_every_backend_it_was_asked_for(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    backends = ("--backend", "onnxruntime", "--backend", "openvino")
    count = ("--num-inference-steps", "2", "--rounds", "2", "--cold-starts", "1", "--threads", "1")
    assert console.run(bench, [str(bundle.path), *backends, *count, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = report["rows"]
    assert report["verification"]["size"] == sum(file.size for file in bundle.files.values())
    assert 0 < report["verification"]["seconds"] < 1
    assert [row["name"] for row in rows] == ["onnxruntime", "openvino"]
    for row in rows:
        assert (row["error"], row["arithmetic"]) == (None, "fp32")
        assert (len(row["seconds"]), len(row["cold_seconds"])) == (2, 1)
        assert row["host_bytes"] > 2**20
    assert rows[0]["difference"] is None
    assert rows[1]["difference"]["largest"] <= 1


def test_parts_cover_the_whole_call(bundle: Bundle) -> None:
    candidate = BackendCandidate(str(bundle.path), "onnxruntime", 1)
    parts = candidate.parts(QUICK, QUICK.prompts(0))
    assert {name: len(seconds) for name, seconds in parts.items()} == {
        "tokenize": 1,
        "text_encoder": 3,  # the empty text and two prompts
        "time_embedding": 1,
        "denoiser": 3,
        "decoder": 1,
        "copy": 1,
        "png": 1,
        "total": 1,
    }


@pytest.mark.parametrize("alone", [False, True])
def test_a_candidate_that_fails_does_not_stop_the_others(
    bundle: Bundle, tmp_path: Path, alone: bool
) -> None:
    broken = CandidateSpec("broken", worker_command("trt_pipeline.bench.ours:nothing", {}))
    specs = [our_spec(str(bundle.path), "onnxruntime", 1), broken]
    turns: list[str] = []
    rows = measure(specs, Plan([QUICK], 2, 0, alone), tmp_path, turns.append)
    assert [len(row.seconds) for row in rows] == [2, 0]
    assert rows[1].error == (
        "broken: AttributeError: module 'trt_pipeline.bench.ours' has no attribute 'nothing'"
    )
    assert turns == [
        "batch 2, round 1 of 2: onnxruntime",
        "batch 2, round 1 of 2: broken",
        "batch 2, round 2 of 2: onnxruntime",
    ]


COUNTING = """
import numpy as np

class Counting:
    device = arithmetic = ""
    def __init__(self, log):
        self.log = log
    def generate(self, workload, prompts):
        with open(self.log, "a") as stream:
            print(workload.num_inference_steps, file=stream)
        return np.zeros((len(prompts), 8, 8, 3), np.uint8)
    def parts(self, workload, prompts):
        return {}
"""


def test_calls_before_the_timed_ones_may_take_fewer_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    log = tmp_path / "steps"
    counting = CandidateSpec("counting", worker_command("counting:Counting", {"log": str(log)}))
    plan = Plan([QUICK], 2, 1, False, warm_up_calls=2, warm_up_steps=1)
    (row,) = measure([counting], plan, tmp_path, print)
    assert row.error is None
    assert log.read_text().split() == ["1", "1", "3", "3", "3"]  # the last one from cold


def test_the_first_that_runs_is_what_the_others_are_compared_with(
    bundle: Bundle, tmp_path: Path
) -> None:
    broken = CandidateSpec("broken", worker_command("trt_pipeline.bench.ours:nothing", {}))
    turns: list[str] = []
    backends = [our_spec(str(bundle.path), name, 1) for name in ("onnxruntime", "openvino")]
    rows = measure([broken, *backends], Plan([QUICK], 1, 0, False), tmp_path, turns.append)
    assert [row.difference is None for row in rows] == [True, True, False]
    printed = list(lines(Report("tiny", describe_machine(), rows)))
    assert [line[:20].strip() for line in printed if "the reference" in line] == ["onnxruntime"]
    assert next(line for line in printed if line.startswith("onnxruntime")).split()[4] == "1.00×"


def test_a_bench_without_any_measurement_fails(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--backend", "onnxruntime", "--rounds", "1", "--cold-starts", "0")
    command = [str(bundle.path), *few, "--guidance-scale", "nan"]
    assert console.run(bench, command) == 1
    captured = capsys.readouterr()
    assert "error: onnxruntime: InvalidInputError: guidance_scale must be" in captured.err
    assert "onnxruntime          onnxruntime: InvalidInputError" in captured.out
    assert console.run(bench, [str(bundle.path), "--num-inference-steps", "0"]) == 2


def test_a_bench_without_any_measurement_still_prints_its_document(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--backend", "onnxruntime", "--rounds", "1", "--cold-starts", "0", "--json")
    assert console.run(bench, [str(bundle.path), *few, "--guidance-scale", "1e9"]) == 1
    captured = capsys.readouterr()
    (row,) = json.loads(captured.out)["rows"]
    assert row["error"].startswith("onnxruntime: InvalidInputError: guidance_scale must be")
    assert captured.err.splitlines()[-1].startswith("error: onnxruntime: InvalidInputError")


def test_a_named_backend_that_fails_beside_another_gives_status_1(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ("--rounds", "1", "--cold-starts", "0", "--num-inference-steps", "2")
    named = ("--backend", "onnxruntime", "--backend", "openvino_int8")
    assert console.run(bench, [str(bundle.path), *quick, *named]) == 1
    first, second = capsys.readouterr().out.splitlines()[4:6]
    assert first.startswith("onnxruntime")
    assert "the reference" in first
    assert second.startswith("openvino_int8")
    assert "is not quantized" in second


def test_a_process_that_ends_says_where_its_last_words_are(tmp_path: Path) -> None:
    ending = CandidateSpec("ending", worker_command("os:_exit", {"status": 3}))
    (row,) = measure([ending], Plan([QUICK], 1, 0, False), tmp_path, print)
    assert row.error == f"ending: it ended; {tmp_path / 'ending.log'} says why"


def test_a_process_is_not_charged_for_its_parents_memory() -> None:
    held = np.ones(2**28, np.uint8)
    code = "from trt_pipeline.bench.usage import peak_host_bytes; print(peak_host_bytes())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 2**20 < int(child.stdout) < held.nbytes < peak_host_bytes()


def test_prompts_differ_between_turns() -> None:
    assert QUICK.prompts(0) == ["a red circle", "a green circle"]
    assert QUICK.prompts(1) == ["a blue circle", "a yellow circle"]


def test_equal_pictures_have_no_difference() -> None:
    equal = difference(BLACK, BLACK)
    assert (equal.within_one, equal.largest, equal.agrees) == (1.0, 0, True)


def test_other_pictures_do_not_agree() -> None:
    found = difference(BLACK + np.uint8(51), BLACK)
    assert (found.within_one, found.largest, found.agrees) == (0.0, 51, False)
    assert found.psnr == pytest.approx(20 * np.log10(5))


def test_the_table_marks_pictures_that_are_off() -> None:
    first = Row("ours", QUICK, seconds=[1.0], parts={"denoiser": [0.5]})
    other = Row("other", QUICK, seconds=[0.5], difference=difference(BLACK + np.uint8(51), BLACK))
    limit = Limit(1e9, 1e9, {2: 1e8}, 1e6)
    verification = Verification(12_000_000, 0.0123)
    report = Report("tiny", describe_machine(), [first, other], limit, verification)
    table = list(lines(report))
    assert "1.00×" in table[4]
    assert "20%" in table[4]
    assert "NOT THE SAME" in table[5]
    assert "×" not in table[5]
    assert "at least 0.1000 s" in table[6]
    assert table[8] == "opening begins by hashing 12.0 MB, which took 0.012 s"


def test_narrow_arithmetic_has_a_roofline_of_its_own() -> None:
    limit = Limit(1e9, 1e9, {2: 1e8}, 1e6, bf16_flop_per_second=4e9, int8_flop_per_second=8e9)
    names = ("fp32", "bf16", "int8")
    assert [limit.step_seconds(2, name) for name in names] == [0.1, 0.025, 0.0125]
    memory_bound = replace(limit, step_bytes=1e9)
    assert [memory_bound.step_seconds(2, name) for name in names] == [1.0, 0.5, 0.25]
    assert replace(limit, bf16_flop_per_second=None).step_seconds(2, "bf16") == 0.1
    row = Row("ours", QUICK, arithmetic="bf16", seconds=[1.0], parts={"denoiser": [0.05]})
    table = list(lines(Report("tiny", describe_machine(), [row], limit)))
    assert "50%" in table[4]
    assert "with bf16 4 GFLOP/s and half the bytes: at least 0.0250 s" in table[6]
    assert "with int8 8 GFLOP/s and a quarter of the bytes: at least 0.0125 s" in table[7]


def test_a_report_survives_json(tmp_path: Path) -> None:
    row = Row("ours", QUICK, seconds=[1.0, 2.0], difference=difference(BLACK, BLACK))
    limit = Limit(1e9, 1e9, {1: 1e8, 2: 2e8}, 1e6, bf16_flop_per_second=2e9)
    rows, verification = [row, replace(row, name="b")], Verification(12, 0.5)
    report = Report("tiny", describe_machine(), rows, limit, verification)
    report.write(tmp_path / "results" / "report.json")
    assert read_report(tmp_path / "results" / "report.json") == report


def test_the_machine_names_its_packages() -> None:
    machine = describe_machine()
    assert machine.packages["numpy"] == np.__version__
    assert machine.python == sys.version.split()[0]
