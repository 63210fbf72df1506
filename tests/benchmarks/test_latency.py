"""The latency script's output on a small checkpoint: its shape, never a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from graph_cost import step_bytes, step_flop
from roofline import int8_peak

from trt_pipeline import load_bundle

SCRIPT = (sys.executable, str(Path(__file__).parents[2] / "benchmarks" / "latency.py"))
pytestmark = pytest.mark.slow  # torch and diffusers start in several processes

QUICK = ("--steps", "2", "--rounds", "1", "--cold-starts", "0", "--threads", "1")


def test_ours_and_diffusers_are_timed_and_agree(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    command = [*SCRIPT, str(plain_bundle), "--checkpoint", str(plain_checkpoint), *QUICK]
    peers = ["--peers", "diffusers", "--backends", "onnxruntime", "--json", str(report)]
    result = subprocess.run([*command, *peers], capture_output=True, text=True, check=True)
    assert "roofline" in result.stdout
    theirs, ours = json.loads(report.read_text())["rows"]
    assert (theirs["name"], theirs["error"]) == ("diffusers", None)
    assert (ours["name"], ours["error"]) == ("onnxruntime", None)
    assert ours["difference"]["largest"] <= 1
    assert {"tokenize", "denoiser", "decoder", "png"} <= theirs["parts"].keys() & ours["parts"]
    assert len(theirs["parts"]["denoiser"]) == len(ours["parts"]["denoiser"]) == 2


def test_flop_grow_with_the_batch(plain_bundle: Path) -> None:
    bundle = load_bundle(plain_bundle)
    assert step_flop(bundle, 2) == 2 * step_flop(bundle, 1) > 0


def test_a_step_reads_every_weight_once(plain_bundle: Path) -> None:
    bundle = load_bundle(plain_bundle)
    size = bundle.files[bundle.graph("denoiser", "fp32").weights].size
    assert (step_bytes(bundle, 4), step_bytes(bundle, 2)) == (size, size / 2)


@pytest.mark.parametrize("steps", ["0", "2000"])
def test_steps_out_of_range_end_with_the_reason(
    plain_bundle: Path, tmp_path: Path, steps: str
) -> None:
    command = [*SCRIPT, str(plain_bundle), "--steps", steps, *QUICK[2:], "--peers"]
    backends = ["--backends", "onnxruntime", "--json", str(tmp_path / "report.json")]
    result = subprocess.run([*command, *backends], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.splitlines()[-1]) == (
        1,
        "error: nothing could be measured",
    )
    assert "num_inference_steps must be an integer" in result.stdout
    (row,) = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert "num_inference_steps must be an integer" in row["error"]


def test_int8_without_arithmetic_of_its_own_has_no_roofline() -> None:
    assert int8_peak(single=1e18, side=64) is None
    peak = int8_peak(single=1.0, side=64)
    assert peak is not None
    assert peak > 1
