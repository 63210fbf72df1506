"""The program beside `trt-pipeline generate`: the same settings, the same pictures and entries."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cpp.build import Build, pixels
from trt_export.export import ExportReport
from trt_pipeline import read_settings
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli
from trt_pipeline.settings import SETTINGS

pytestmark = pytest.mark.slow  # the build takes minutes

QUICK = ("--threads=2", "--no-progress")
SPECIAL = (
    *("--num-inference-steps=3", "--guidance-scale=5.5", "--guidance-interval", "0.2", "0.9"),
    *("--eta=0.7", "--negative-prompt=blue circle", "--schedule=trained"),
    *("--timestep-spacing=trailing", "--height=40", "--width=72", "--seed=11"),
)


def made_by_cpp(build: Build, *arguments: str | Path) -> list[Path]:
    """The paths that it prints."""
    backend = f"--backend={build.backends()[0]}"
    done = build.run(build.bundle, *QUICK, backend, *arguments)
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.splitlines()]


def made_by_python(build: Build, *arguments: str | Path) -> None:
    words = ["generate", f"--bundle={build.bundle}", f"--backend={build.backends()[0]}", *QUICK]
    assert console.run(cli, [*words, *map(str, arguments)]) == 0


def refused(build: Build, *arguments: str | Path) -> str:
    """The one line that says why."""
    done = build.run(build.bundle, *QUICK, *arguments)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def difference(one: Path, other: Path) -> int:
    return int(np.abs(pixels(one) - pixels(other)).max())


def test_it_has_an_option_for_every_setting(build: Build) -> None:
    text = build.run(build.bundle, "--help").stdout
    options = [one.option for one in SETTINGS.values() if one.name != "prompt"]
    assert [option for option in options if f"{option} " not in text] == []


def test_python_repeats_its_picture_from_the_entries(build: Build, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.png", tmp_path / "theirs.png"
    assert made_by_cpp(build, "étoile ○", *SPECIAL, "-o", ours) == [ours]
    made_by_python(build, "--from", ours, "-o", theirs)
    assert read_settings(ours) == read_settings(theirs)
    assert difference(ours, theirs) <= 1


def test_its_picture_carries_the_entries_that_pythons_does(build: Build, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.png", tmp_path / "theirs.png"
    made_by_cpp(build, "étoile ○", *SPECIAL, "-o", ours)
    made_by_python(build, "étoile ○", *SPECIAL, "-o", theirs)
    with Image.open(ours) as one, Image.open(theirs) as other:
        settings = json.loads(one.info["trt-pipeline"])
        assert [*settings.items()] == [*json.loads(other.info["trt-pipeline"]).items()]
        for name in ("Software", "Description", "XML:com.adobe.xmp"):
            assert one.info[name] == other.info[name]


def test_settings_that_are_left_out_are_recorded_as_the_bundles_own(
    build: Build, tmp_path: Path
) -> None:
    (path,) = made_by_cpp(build, "a star", "--num-inference-steps=1", "-o", tmp_path)
    settings = read_settings(path)
    assert (settings.sampler, settings.eta, settings.guidance_scale) == ("ddim", 0.0, 1.0)
    assert (settings.height, settings.width, settings.strength) == (64, 64, None)


def test_no_ai_mark_leaves_the_mark_out(build: Build, tmp_path: Path) -> None:
    paths = [tmp_path / "marked.png", tmp_path / "plain.png"]
    made_by_cpp(build, "a", "--num-inference-steps=1", "-o", paths[0])
    made_by_cpp(build, "a", "--num-inference-steps=1", "--no-ai-mark", "-o", paths[1])
    marks = [b"trainedAlgorithmicMedia" in path.read_bytes() for path in paths]
    assert marks == [True, False]


def test_pictures_of_a_folder_are_numbered(build: Build, tmp_path: Path) -> None:
    (tmp_path / "00006.png").write_bytes(b"mine")
    given = ("a star", "a ring", "--count=2", "--seed=5", "--num-inference-steps=1")
    paths = made_by_cpp(build, *given, "-o", tmp_path)
    assert [path.name for path in paths] == [f"0000{n}.png" for n in (7, 8, 9)] + ["00010.png"]
    settings = [read_settings(path) for path in paths]
    assert [one.seed for one in settings] == [5, 6, 7, 8]
    assert [one.prompt for one in settings] == ["a star", "a star", "a ring", "a ring"]
    assert not list(tmp_path.glob(".*"))


def test_a_version_at_the_end_of_a_name_makes_no_file(build: Build, tmp_path: Path) -> None:
    given = ("a star", "--num-inference-steps=1", "-o", tmp_path / "v1.5")
    assert made_by_cpp(build, *given) == [tmp_path / "v1.5" / "00000.png"]


def test_nothing_is_overwritten_without_force(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "star.png"
    path.write_bytes(b"mine")
    given = ("a star", "--num-inference-steps=1", "-o", path)
    assert f"{path} exists; --force replaces it." in refused(build, *given)
    assert path.read_bytes() == b"mine"
    assert made_by_cpp(build, *given, "--force") == [path]


def test_the_last_of_two_options_counts(build: Build, tmp_path: Path) -> None:
    given = ("a star", "--num-inference-steps=1", "--seed=1", "--seed=010")
    (path,) = made_by_cpp(build, *given, "-o", tmp_path)
    assert read_settings(path).seed == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--num-inference-steps=0"],
            "num_inference_steps must be an integer from 1 to 1000000, got 0.",
        ),
        (
            ["--num-inference-steps=2.0"],
            "num_inference_steps must be an integer from 1 to 1000000, got 2.0.",
        ),
        (["--eta=0x1p-2"], "eta must be a finite number from 0 to 1, got 0x1p-2."),
        (["--eta=1.5"], "eta must be a finite number from 0 to 1, got 1.5."),
        (["--guidance-scale=nan"], "guidance_scale must be a finite number from -1e+06 to 1e+06"),
        (["--seed=-1"], "seed must be an integer from 0 to 18446744073709551615, got -1."),
        ([f"--seed={2**64}"], f"seed must be an integer from 0 to {2**64 - 1}, got {2**64}."),
        (["--height=33"], "height must be a multiple of 8 from 32 to"),
        (
            ["--sampler=heun"],
            "sampler must be one of ddim, euler, euler_karras, euler_ancestral, pndm, ",
        ),
        (["--schedule=linear"], "schedule must be one of published, trained, got 'linear'."),
        (
            ["--guidance-interval", "0.9", "0.1"],
            "guidance_interval must not stop before it starts, got 0.9 to 0.1.",
        ),
        (["--cache-interval=0"], "cache_interval must be an integer from 1 to 1000, got 0."),
        (["--vae-tile-size=65"], "vae_tile_size must be a multiple of 8 from 64, got 65."),
        (["--strength=0.5"], "strength is given without image."),
        (["--image=pyproject.toml"], "image pyproject.toml is not a PNG."),
        (["--image=nowhere.png"], "image nowhere.png cannot be read: No such file"),
        (["--mask-image=docs/contact-sheet.png"], "mask_image is given without image."),
        (["--image=docs/contact-sheet.png"], "height must be a multiple of 8 from 32 to"),
        (["--output=picture.gif"], "picture.gif: a picture's name ends in .png"),
        (["-o", ""], "output is empty; name a folder or a picture."),
        (["--count=2", "-o", "a.png"], "a.png is one file for 2 pictures; name a folder."),
        (["--count=0"], "count must be an integer from 1 to 10000, got 0."),
        (["--backend=abacus"], "backend 'abacus' is unknown"),
        (["--unknown"], "--unknown"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    build: Build, arguments: list[str], message: str
) -> None:
    assert message in refused(build, "a star", *arguments)


def test_a_missing_prompt_is_asked_for(build: Build) -> None:
    assert "prompt is missing; this model makes pictures of prompts." in refused(build)


def test_a_folder_without_a_bundle_is_status_2(build: Build, tmp_path: Path) -> None:
    done = build.run(tmp_path, "a star", "--no-progress", "-o", tmp_path / "star.png")
    assert done.returncode == 2
    assert "is not a bundle: it has no bundle.json" in done.stderr


def test_a_decoder_beyond_float16_runs_in_float32(
    build: Build, wide_export: ExportReport, tmp_path: Path
) -> None:
    bundle = wide_export.bundle.path
    ours, theirs = tmp_path / "ours.png", tmp_path / "theirs.png"
    given = ("--num-inference-steps=3", "--seed=4", "--no-progress")
    done = build.run(bundle, *given, "-o", ours)
    assert done.returncode == 0, done.stderr
    words = ["generate", f"--bundle={bundle}", *given, "-o", str(theirs)]
    assert console.run(cli, words) == 0
    apart = np.abs(pixels(ours) - pixels(theirs))
    assert (apart <= 1).mean() >= 0.99
