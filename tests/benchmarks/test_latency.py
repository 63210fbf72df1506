"""The latency script's output on a small checkpoint: its shape, never a time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from graph_cost import step_bytes, step_flop
from peers import default_peers, peer_specs
from roofline import int8_peak
from safetensors.torch import load_file, save_file

from tests.stable_diffusion import make_stable_diffusion
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint
from trt_pipeline import load_bundle
from trt_pipeline.bench.rounds import Plan, measure
from trt_pipeline.bench.workload import Workload

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = (sys.executable, str(BENCHMARKS / "latency.py"))
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


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of Stable Diffusion 1.x, its bundle beside it."""
    checkpoint = make_stable_diffusion(tmp_path_factory.mktemp("peers") / "checkpoint")
    _name_as_published(checkpoint / "text_encoder" / "model.safetensors")
    opened = open_checkpoint(str(checkpoint))
    export_checkpoint(opened, checkpoint.with_name("bundle"), ExportOptions("fp32"))
    return checkpoint


def _name_as_published(weights: Path) -> None:
    """As transformers before 5.6 reads CLIP's weights, which optimum-onnx asks for."""
    named = {
        f"text_model.{name.removeprefix('text_model.')}": weight
        for name, weight in load_file(weights).items()
    }
    save_file(named, weights, {"format": "pt"})


def rows_of(checkpoint: Path, *peers: str) -> dict[str, Any]:
    """Name → row of the report on peers and ONNX Runtime's backend."""
    report = checkpoint.with_name("report.json")
    work = checkpoint.with_name("work")
    command = [*SCRIPT, str(checkpoint.with_name("bundle")), "--checkpoint", str(checkpoint)]
    kept = ["--work", str(work), "--warm-up-calls", "0", "--json", str(report)]
    chosen = ["--peers", *peers, "--backends", "onnxruntime"]
    subprocess.run([*command, *QUICK, *kept, *chosen], capture_output=True, check=True)
    return {row["name"]: row for row in json.loads(report.read_text())["rows"]}


def test_peers_of_stable_diffusion_draw_the_same_pictures(stable_diffusion: Path) -> None:
    pytest.importorskip("openvino_genai")
    _, *rows = rows_of(stable_diffusion, "diffusers", "openvino-genai", "diffusers-onnx").values()
    for row in rows:
        assert row["error"] is None
        assert row["difference"]["largest"] <= 1
        assert row["parts"]["denoiser"]
        assert row["cpu_seconds"][0] > 0
    weights = sum(path.stat().st_size for path in stable_diffusion.rglob("*.safetensors"))
    assert all(row["disk_bytes"] > weights / 2 for row in rows)


@pytest.mark.network
def test_peers_with_an_environment_of_their_own_run_there(stable_diffusion: Path) -> None:
    rows = rows_of(stable_diffusion, "diffusers", "optimum-onnx", "stable-diffusion.cpp")
    assert rows["optimum-onnx"]["error"] is None
    assert rows["optimum-onnx"]["difference"]["largest"] <= 1
    refused = rows["stable-diffusion.cpp"]["error"]
    assert "Failed to create Stable Diffusion context" in refused  # it knows no other shapes


def test_a_peer_that_cannot_be_set_up_says_so_in_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS), prepend=":")
    specs = peer_specs(["diffusers-onnx"], tmp_path / "none", tmp_path, 1)
    (row,) = measure(specs, Plan([Workload()], 1, 0, False), tmp_path, print)
    assert row.error
    assert row.error.startswith("diffusers-onnx: BackendError: it could not be set up")


def test_only_stable_diffusion_has_peers_that_know_nothing_else(
    stable_diffusion: Path, plain_checkpoint: Path
) -> None:
    assert set(default_peers(stable_diffusion)) - set(default_peers(plain_checkpoint)) == {
        "openvino-genai",
        "diffusers-onnx",
        "optimum-onnx",
        "stable-diffusion.cpp",
    }


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
