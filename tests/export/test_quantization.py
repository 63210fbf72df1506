"""Quantization of a bundle: calibrated once, listed in the manifest, whole or absent."""

import shutil
from pathlib import Path

import click.testing
import pytest

from tests.checkpoints import make_super_resolution
from tests.conftest import CALIBRATION_PROMPTS
from trt_export.cli import command
from trt_export.publishing.target import refuse_foreign
from trt_export.quantization.bundles import PROMPTS, quantize_bundle, read_prompts
from trt_pipeline import InvalidInputError, ParityError, load_bundle, trt_pipeline
from trt_pipeline.bundle import verify_files


@pytest.fixture
def folder(quantized_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(quantized_bundle, tmp_path / "bundle"))


def int8_files(folder: Path) -> list[str]:
    return sorted(f"onnx/{path.name}" for path in (folder / "onnx").glob("*int8*"))


def test_the_manifest_lists_the_graph_beside_the_others(quantized_bundle: Path) -> None:
    bundle = load_bundle(quantized_bundle)
    graph, exact = bundle.graph("denoiser", "int8"), bundle.graph("denoiser", "fp32")
    assert [graph.path, graph.weights] == int8_files(quantized_bundle)
    assert (graph.inputs, graph.outputs) == (exact.inputs, exact.outputs)
    assert bundle.files[graph.weights].size < 0.7 * bundle.files[exact.weights].size
    assert bundle.provenance["calibration"]["prompts"] == 1


def test_a_step_is_near_float32s_and_the_graph_is_the_same_again(
    quantized_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(other_bundle, tmp_path / "bundle"))
    (row,) = quantize_bundle(folder, CALIBRATION_PROMPTS).parity
    assert row.output == "next_latents"
    assert 1e-6 < row.difference < 0.05
    assert int8_files(folder) == int8_files(quantized_bundle)


def test_what_is_calibrated_stays_unless_other_prompts_are_given(folder: Path) -> None:
    before = int8_files(folder)
    assert not quantize_bundle(folder, CALIBRATION_PROMPTS).quantized
    assert not quantize_bundle(folder).quantized
    assert quantize_bundle(folder, ["a blue square", "a green star"]).quantized
    graph = load_bundle(folder).graph("denoiser", "int8")
    assert [graph.path, graph.weights] == int8_files(folder)
    assert graph.path not in before


def test_a_graph_that_8_bits_spoil_is_refused_and_the_bundle_stays(
    other_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(other_bundle, tmp_path / "bundle"))
    manifest = (folder / "bundle.json").read_bytes()
    monkeypatch.setattr("trt_export.onnx_graphs.parity.TOLERANCE", {"int8": 1e-9})
    with pytest.raises(ParityError, match=r"denoiser \(int8\): next_latents is .* off, but 1e-09"):
        quantize_bundle(folder, CALIBRATION_PROMPTS)
    assert (folder / "bundle.json").read_bytes() == manifest
    assert int8_files(folder) == []


def test_what_a_killed_run_left_is_removed(folder: Path) -> None:
    left = folder / "onnx" / "denoiser.int8-0123456789ab.onnx"
    left.touch()
    refuse_foreign(folder)
    quantize_bundle(folder, ["a blue square"])
    assert not left.exists()
    bundle = load_bundle(folder)
    verify_files(folder, bundle.files)


def test_a_model_without_prompts_is_calibrated_from_noise(
    unconditional_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(unconditional_bundle, tmp_path / "bundle"))
    assert quantize_bundle(folder, CALIBRATION_PROMPTS).quantized
    with trt_pipeline(folder, backend="openvino_int8") as pipe:
        assert pipe.info.arithmetic == "int8"
        pipe(num_inference_steps=2, seed=0, progress_bar=False)


def test_a_model_that_enlarges_pictures_is_refused_before_the_export(tmp_path: Path) -> None:
    checkpoint = make_super_resolution(tmp_path / "checkpoint")
    with pytest.raises(
        InvalidInputError, match=r"checkpoint cannot be quantized: it needs a picture \(low_res"
    ):
        command.main(
            [str(checkpoint), "--quantize", "--out", str(tmp_path / "out")], standalone_mode=False
        )
    assert not (tmp_path / "out").exists()


def test_eight_prompts_calibrate_unless_others_are_given() -> None:
    assert len(read_prompts(PROMPTS)) == 8


def test_a_calibration_prompt_must_be_a_text(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": {"a": 1}}\n')
    with pytest.raises(InvalidInputError, match="line 1: a calibration prompt must be a text"):
        read_prompts(path)


def test_the_command_says_what_it_would_do_does_it_and_finds_it_done(
    other_checkpoint: Path, other_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(other_bundle, tmp_path / "bundle"))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\n")
    words = [str(other_checkpoint), "--out", str(folder), "--max-batch=3"]
    words += ["--quantize", f"--calibration-prompts={prompts}"]

    def run(*more: str) -> str:
        done = click.testing.CliRunner().invoke(command, [*words, *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "would calibrate and quantize the denoiser" in run("--dry-run")
    assert "denoiser with 8 bits: a step's latents within 0.0" in run()
    assert "is up to date; nothing to do" in run()
    assert "would" not in run("--dry-run")


def test_calibration_prompts_without_quantization_are_refused(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.touch()
    with pytest.raises(click.UsageError, match="--calibration-prompts needs --quantize"):
        command.main(["--calibration-prompts", str(prompts)], standalone_mode=False)
