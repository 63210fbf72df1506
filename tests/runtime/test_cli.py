import json
import os
import pty
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from trt_pipeline import Bundle
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli

QUICK = ("--num-inference-steps", "2", "--threads", "1", "--no-progress")


def generate(bundle: Bundle, *args: object) -> int:
    return console.run(cli, ["generate", "--bundle", str(bundle.path), *QUICK, *map(str, args)])


def settings(path: str | Path) -> dict[str, object]:
    with Image.open(path) as image:
        loaded: dict[str, object] = json.loads(image.info["trt-pipeline"])
        return loaded


def test_generate_prints_the_paths_of_numbered_pictures(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pictures"
    assert generate(bundle, "red", "blue", "--count", 3, "--seed", 5, "-o", out) == 0
    captured = capsys.readouterr()
    paths = captured.out.splitlines()
    assert captured.err == ""
    assert paths == [str(out / f"0000{number}.png") for number in range(6)]
    assert [settings(path)["prompt"] for path in paths] == ["red"] * 3 + ["blue"] * 3
    assert [settings(path)["seed"] for path in paths] == [5, 6, 7, 8, 9, 10]


def test_generate_writes_all_settings(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    options = ["--guidance-scale", 6, "--eta", 0.3, "--height", 32, "--width", 96, "--seed", 0]
    assert generate(bundle, "red", *options, "-o", out) == 0
    assert settings(out) == {
        "prompt": "red",
        "seed": 0,
        "num_inference_steps": 2,
        "guidance_scale": 6.0,
        "negative_prompt": None,
        "image_guidance_scale": 1.5,
        "sampler": "ddim",
        "schedule": "published",
        "timestep_spacing": None,
        "eta": 0.3,
        "height": 32,
        "width": 96,
        "model": "tiny",
        "guidance_interval": [0.0, 1.0],
        "image": None,
        "mask_image": None,
        "overlay": "none",
        "original_size": None,
        "crops_coords_top_left": [0, 0],
        "target_size": None,
        "strength": None,
        "decoder": "full",
        "vae_tile_size": None,
        "cache_interval": 1,
    }


def test_the_same_seed_gives_the_same_file(bundle: Bundle, tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        generate(bundle, "red", "--seed", 3, "-o", file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_json_is_one_document(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(bundle, "red", "--seed", 3, "-o", tmp_path, "--json") == 0
    (picture,) = json.loads(capsys.readouterr().out)
    assert picture["path"] == str(tmp_path / "00000.png")
    assert picture["seed"] == 3


def test_progress_goes_to_stderr(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [
        "generate",
        "red",
        "--bundle",
        bundle.path,
        "--num-inference-steps",
        2,
        "-o",
        tmp_path / "a.png",
    ]
    assert console.run(cli, [str(arg) for arg in args]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'a.png'}\n"
    assert "generating 1 picture: 2/2" in captured.err


def test_a_file_is_replaced_only_by_force(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.png"
    out.write_text("mine")
    assert generate(bundle, "red", "-o", out) == 2
    assert capsys.readouterr().err == f"error: output {out} exists; --force replaces it.\n"
    assert out.read_text() == "mine"
    assert generate(bundle, "red", "-o", out, "--force") == 0


def test_a_version_at_the_end_of_a_name_makes_no_file(bundle: Bundle, tmp_path: Path) -> None:
    assert generate(bundle, "red", "-o", tmp_path / "v1.5") == 0
    assert [path.name for path in (tmp_path / "v1.5").iterdir()] == ["00000.png"]


def test_quality_may_be_the_grid_s(bundle: Bundle, tmp_path: Path) -> None:
    grid = tmp_path / "grid.jpg"
    assert generate(bundle, "red", "-o", tmp_path, "--grid", grid, "--quality", "5") == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["red", "-o", "a.gif"], "a picture's name ends in .png, .webp, .jpg, .jpeg"),
        (["red", "-o", "missing/a.png"], "the folder missing does not exist"),
        (["red", "blue", "-o", "a.png"], "is one file for 2 pictures"),
        (["red", "-o", ""], "it is empty; name a folder or a picture"),
        (["red", "--num-inference-steps", "0"], "num_inference_steps must be"),
        (["red", "--num-inference-steps", "1001"], "num_inference_steps must be"),
        (["red", "--height", "60"], "height must be a multiple of 8"),
        (["red", "--eta", "2"], "eta must be"),
        (["red", "--seed", "-1"], "seed must be"),
        (["red", "--guidance-scale", "nan"], "guidance_scale must be"),
        (["red", "--backend", "cuda"], "'cuda' is unknown"),
        (["red", "--count", "0"], "--count"),
        (["red\udc80"], "not valid Unicode"),
        (["red", "--guidance-interval", "0.5", "0.2"], "guidance_interval must not stop before"),
        (["red", "--guidance-interval", "0.5"], "--guidance-interval"),
        (["red", "--quality", "0"], "--quality"),
        (["red", "-o", "a.jpg", "--lossless"], "lossless: a JPEG always loses some"),
        (["red", "--format", "jpeg", "--lossless"], "lossless: a JPEG always loses some"),
        (["red", "-o", "a.png", "--format", "webp"], "a.png has another suffix than webp"),
        (["red", "--grid", "grid.gif"], "a picture's name ends in"),
        (["red", "-o", "bundle.v2"], "If it shall be a folder, make it first"),
        (["red", "-o", "a.png", "--quality", "5"], "--quality is for WebP and JPEG"),
        (["red", "--grid", "a.png", "--quality", "5"], "--quality is for WebP and JPEG"),
        (["red", "--grid", "a.png", "--format", "webp"], "--format is for pictures in a folder"),
        (["red", "--grid", "missing/grid.png"], "the folder missing does not exist"),
        (["red", "--grid-columns", "2"], "--grid-columns is given without --grid"),
        (["red", "-o", "a.png", "--grid", "a.png"], "cannot be a picture's file and the grid's"),
        (["red", "-o", ".", "--grid", "00000.png"], "cannot be a picture's file and the grid's"),
        (["red", "--count", "300", "--grid", "a.webp", "--grid-columns", "300"], "up to 16383"),
        (["r" * 70_000, "-o", "a.jpg"], "more than a jpeg picture can carry"),
        (["red", "--resume"], "--resume is for the pictures of --prompts"),
        (["red", "--from", "missing.png"], "'missing.png' does not exist"),
        (["red", "--prompts", "missing.txt"], "'missing.txt' does not exist"),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_line_status_2_and_no_file(
    bundle: Bundle,
    args: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert generate(bundle, *args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_inspect_names_graphs_shapes_and_provenance(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.run(cli, ["inspect", str(bundle.path)]) == 0
    printed = capsys.readouterr().out
    assert "denoiser fp32, 0.0 MB" in printed
    assert "  in   latents float32 [batch, 4, latent_height, latent_width]" in printed
    assert '"source": "tests"' in printed


def test_inspect_json_is_the_manifest(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(cli, ["inspect", str(bundle.path), "--json"]) == 0
    assert capsys.readouterr().out == (bundle.path / "bundle.json").read_text()


def test_verify_counts_what_it_checked(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(cli, ["verify", str(bundle.path)]) == 0
    assert capsys.readouterr().out == f"{bundle.path}: 13 files, 0.0 MB, all as listed\n"
    assert console.run(cli, ["verify", str(bundle.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 13


def test_verify_finds_a_damaged_file(
    own_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_bundle.path / "vocab.txt").write_text("x")
    assert console.run(cli, ["verify", str(own_bundle.path)]) == 2
    assert "vocab.txt has 1 byte" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(cli, ["completion", shell]) == 0
    assert "_TRT_PIPELINE_COMPLETE" in capsys.readouterr().out


def test_the_module_runs_as_a_command(bundle: Bundle) -> None:
    command = [sys.executable, "-m", "trt_pipeline", "verify", str(bundle.path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_paths_go_to_stdout_while_a_terminal_shows_the_bar(bundle: Bundle, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    args = [
        "generate",
        "red",
        "--bundle",
        bundle.path,
        "--num-inference-steps",
        2,
        "-o",
        tmp_path / "a.png",
    ]
    command = [sys.executable, "-m", "trt_pipeline", *map(str, args)]
    printed = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=True).stdout
    assert printed.decode() == f"{tmp_path / 'a.png'}\n"
    assert b"generating" in os.read(ours, 65536)
    os.close(theirs)
    os.close(ours)


def test_ctrl_c_ends_with_130_and_leaves_whole_pictures(bundle: Bundle, tmp_path: Path) -> None:
    args = ["generate", "red", "--count", "10000", "--bundle", str(bundle.path), "-o", tmp_path]
    command = [sys.executable, "-m", "trt_pipeline", *map(str, args), *QUICK]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A test run in the background of a shell ignores SIGINT, and its children would as well.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, preexec_fn=heed, **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.decode().strip() == "error: interrupted"
    for path in tmp_path.iterdir():
        settings(path)


def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert generate(bundle, "red", "-o", tmp_path / "file" / "pictures") == 2
    assert "must be a folder that can be written to" in capsys.readouterr().err
