"""The program beside `trt-pipeline generate`: each goes on where the other ended."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cpp.build import Build, pixels
from trt_pipeline import read_settings, save_picture
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli

pytestmark = pytest.mark.slow  # the build takes minutes

QUICK = ("--threads=2", "--no-progress")
SPECIAL = (
    *("--steps=3", "--guidance-scale=5.5", "--guidance-interval", "0.2", "0.9", "--eta=0.7"),
    *("--negative-prompt=blue circle", "--schedule=trained", "--timestep-spacing=trailing"),
    *("--height=40", "--width=72", "--seed=11"),
)
LINES = (
    {"prompt": "a red circle", "guidance_scale": 6, "count": 2},
    {"prompt": "Café, étoile!", "eta": 0.5, "negative_prompt": "blue", "seed": 2**64 - 1},
    {"prompt": "a star", "width": 40, "vae_tile_size": 64, "cache_interval": 2, "sampler": "unipc"},
)
NAMES = ("00001-1.png", "00001-2.png", "00002-1.png", "00003-1.png")


def made_by_cpp(build: Build, *arguments: str | Path) -> list[str]:
    """The paths that it prints."""
    done = build.run(build.bundle, *QUICK, f"--backend={build.backends()[0]}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


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


def prompt_file(folder: Path, lines: Sequence[object] = LINES) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_each_program_repeats_the_others_picture(build: Build, tmp_path: Path, suffix: str) -> None:
    theirs, ours, exact = (tmp_path / f"{name}{suffix}" for name in ("theirs", "ours", "exact"))
    made_by_python(build, "étoile ○", *SPECIAL, "-o", theirs)
    assert made_by_cpp(build, "--from", theirs, "-o", ours) == [str(ours)]
    assert read_settings(ours) == read_settings(theirs)
    assert difference(ours, theirs) <= (1 if suffix == ".png" else 8)
    made_by_python(build, "--from", ours, "-o", exact)
    assert read_settings(exact) == read_settings(theirs)


def test_a_jpeg_holds_what_makes_the_exact_picture(build: Build, tmp_path: Path) -> None:
    photo, exact, again = tmp_path / "a.jpg", tmp_path / "a.png", tmp_path / "again.png"
    made_by_cpp(build, "a star", *SPECIAL, "-o", photo)
    made_by_cpp(build, "a star", *SPECIAL, "-o", exact)
    made_by_cpp(build, "--from", photo, "-o", again)
    assert again.read_bytes() == exact.read_bytes()


def test_an_explicit_option_overrides_the_pictures_own(build: Build, tmp_path: Path) -> None:
    first, out = tmp_path / "first.png", tmp_path / "out"
    made_by_cpp(build, "a star", *SPECIAL, "-o", first)
    changed = ("a ring", "--eta=0", "--width=64", "--count=2")
    paths = made_by_cpp(build, "--from", first, *changed, "-o", out)
    expected = replace(read_settings(first), prompt="a ring", eta=0.0, width=64)
    assert [read_settings(path) for path in paths] == [expected, replace(expected, seed=12)]


def test_another_models_picture_is_one_warning(build: Build, tmp_path: Path) -> None:
    made, other, again = (tmp_path / name for name in ("made.png", "other.png", "again.png"))
    made_by_cpp(build, "a star", *SPECIAL, "-o", made)
    with Image.open(made) as image:
        save_picture(image, other, replace(read_settings(made), model="huge"))
    done = build.run(build.bundle, *QUICK, "--from", other, "-o", again)
    model = read_settings(again).model
    assert done.stderr == f"warning: {other} was made with 'huge'; {model} makes another picture.\n"


def test_a_picture_from_a_picture_needs_it_again(build: Build, tmp_path: Path) -> None:
    photo, first, again = (tmp_path / name for name in ("photo.png", "first.png", "again.png"))
    Image.new("RGB", (64, 64), "red").save(photo)
    made_by_cpp(build, "a star", f"--image={photo}", "--steps=3", "--seed=1", "-o", first)
    assert "give its file with --image." in refused(build, "--from", first, "-o", again)
    made_by_cpp(build, "--from", first, f"--image={photo}", "-o", again)
    assert again.read_bytes() == first.read_bytes()


def test_a_picture_without_settings_cannot_be_repeated(build: Build, tmp_path: Path) -> None:
    for suffix in (".png", ".webp", ".jpg"):
        path = tmp_path / f"a{suffix}"
        Image.new("RGB", (8, 8)).save(path)
        assert f"{path} carries no settings of trt-pipeline." in refused(build, "--from", path)
    path.write_bytes(path.read_bytes()[:100])
    assert f"{path} is damaged (" in refused(build, "--from", path)


def test_each_program_keeps_what_the_other_made(build: Build, tmp_path: Path) -> None:
    given = ("--prompts", prompt_file(tmp_path), "--seed=5", "--steps=2")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    paths = made_by_cpp(build, *given, "-o", ours)
    assert sorted(Path(path).name for path in paths) == list(NAMES)
    made_by_python(build, *given, "-o", theirs)
    for name in NAMES:
        assert read_settings(ours / name) == read_settings(theirs / name)
        assert difference(ours / name, theirs / name) <= 1
    written = {path: path.stat().st_mtime_ns for path in [*ours.iterdir(), *theirs.iterdir()]}
    made_by_python(build, *given, "--resume", "-o", ours)
    made_by_cpp(build, *given, "--resume", "-o", theirs)
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_resume_makes_what_is_missing_and_refuses_other_settings(
    build: Build, tmp_path: Path
) -> None:
    file, out = prompt_file(tmp_path), tmp_path / "out"
    given = ("--prompts", file, "--seed=5", "--steps=2", "--format=webp", "-o", out)
    made_by_cpp(build, *given)
    second = out / "00001-2.webp"
    whole = second.read_bytes()
    assert "exists; --resume keeps pictures that are as wanted" in refused(build, *given)
    second.unlink()
    assert f"{out / '00001-1.webp'} has negative_prompt '', not 'green'; --force" in refused(
        build, *given, "--resume", "--negative-prompt=green"
    )
    assert not second.exists()
    assert len(made_by_cpp(build, *given, "--resume")) == len(NAMES)
    assert second.read_bytes() == whole


def test_a_bad_line_is_named_before_any_work(build: Build, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for entry, message in (
        ({"height": 60}, "height must be a multiple of 8 from "),
        ({"eta": 2}, "eta must be a finite number from 0 to 1, got 2."),
        ({"sampler": ""}, "sampler must be"),
        ({"num_inference_steps": 0}, "num_inference_steps must be an integer from 1, got 0."),
        ({"prompt": "a\0b"}, "prompt has a zero character"),
    ):
        file = prompt_file(tmp_path, [{"prompt": "a star"}, {"prompt": "a ring", **entry}])
        error = refused(build, "--prompts", file, "-o", out)
        assert error.startswith(f"error: {file} line 2: {message}")
    assert not out.exists()


def test_a_grid_shows_all_pictures_and_kept_ones(build: Build, tmp_path: Path) -> None:
    file, out, grid = prompt_file(tmp_path), tmp_path / "out", tmp_path / "grid.png"
    given = ("--prompts", file, "--seed=5", "--steps=2", "-o", out)
    made_by_cpp(build, *given)
    (out / NAMES[1]).unlink()
    assert made_by_cpp(build, *given, "--resume", "--grid", grid)[-1] == str(grid)
    first, second, third, narrow = (pixels(out / name) for name in NAMES)
    white = np.full((narrow.shape[0], first.shape[1] - narrow.shape[1], 3), 255)
    expected = np.vstack([np.hstack([first, second]), np.hstack([third, narrow, white])])
    np.testing.assert_array_equal(pixels(grid), expected)


def test_a_grid_alone_leaves_no_other_file(build: Build, tmp_path: Path) -> None:
    grid = tmp_path / "grid.webp"
    given = ("a star", "--count=3", "--steps=1", "--grid-columns=3", "--json", "--grid", grid)
    entries = json.loads("\n".join(made_by_cpp(build, *given)))
    assert [(entry["row"], entry["column"]) for entry in entries] == [(0, 0), (0, 1), (0, 2)]
    assert "path" not in entries[0]
    assert [path.name for path in tmp_path.iterdir()] == ["grid.webp"]
    assert pixels(grid).shape == (64, 192, 3)


@pytest.mark.parametrize(("kind", "suffix"), [("png", "png"), ("webp", "webp"), ("jpeg", "jpg")])
def test_format_is_that_of_a_folders_pictures(
    build: Build, tmp_path: Path, kind: str, suffix: str
) -> None:
    paths = made_by_cpp(
        build, "a star", "--count=2", "--steps=1", f"--format={kind}", "-o", tmp_path
    )
    assert [Path(path).name for path in paths] == [f"00000.{suffix}", f"00001.{suffix}"]
    with Image.open(paths[0]) as image:
        assert image.format == kind.upper()
        assert b"trainedAlgorithmicMedia" in image.info["xmp"]


def test_quality_and_lossless_reach_the_file(build: Build, tmp_path: Path) -> None:
    given = ("a star", "--steps=1", "--seed=1")
    sizes = []
    for quality in (5, 100):
        path = tmp_path / f"{quality}.jpg"
        made_by_cpp(build, *given, f"--quality={quality}", "-o", path)
        sizes.append(path.stat().st_size)
    assert sizes[0] < sizes[1]
    for name in ("a.png", "a.webp"):
        made_by_cpp(build, *given, "--lossless", "-o", tmp_path / name)
    assert difference(tmp_path / "a.png", tmp_path / "a.webp") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument PROMPT, or --prompts FILE or --from PICTURE."),
        (["a star", "--prompts=a.txt"], "--prompts and PROMPT both say what to make"),
        (["--from=a.png", "--prompts=a.txt"], "--prompts and --from both say what to make"),
        (["a star", "--resume"], "--resume is for the pictures of --prompts."),
        (["--prompts=a.txt", "--resume", "--grid=g.png"], "--resume needs -o"),
        (["a star", "--grid-columns=2"], "--grid-columns is given without --grid."),
        (["a star", "--lossless", "--format=jpeg"], "lossless: a JPEG cannot be"),
        (["a star", "--format=webp", "-o", "a.png"], "a.png is no webp by its name; drop --format"),
        (["a star", "-o", ""], "output is an empty path"),
        (["a star", "--grid=g.png", "-o", "g.png"], "cannot be a picture's file and the grid's"),
        (["a star", "--count=2", "-o", "a.png"], "a.png is one file for 2 pictures"),
        (["--from=nowhere.png"], "nowhere.png cannot be read: No such file"),
        (["--from=pyproject.toml"], "pyproject.toml is no PNG, WebP or JPEG."),
        (["--prompts=pyproject.toml"], "a prompt file's name ends in .txt"),
    ],
)
def test_options_that_clash_are_refused(build: Build, arguments: list[str], message: str) -> None:
    assert message in refused(build, *arguments)


def test_numbers_are_those_that_python_reads(build: Build, tmp_path: Path) -> None:
    given = ("a star", "--steps=2", "--json")
    for text, seed in (("010", 10), ("1_000", 1000), (str(2**64 - 1), 2**64 - 1)):
        out = tmp_path / f"{text}.png"
        (made,) = json.loads("\n".join(made_by_cpp(build, *given, f"--seed={text}", "-o", out)))
        assert made["seed"] == seed
    for option in (f"--seed={2**64}", "--seed=0x10", "--steps=2.0", "--eta=0x1p-2", "--seed=1__0"):
        assert option.split("=")[0] in refused(build, "a star", option, "-o", tmp_path / "b.png")


def test_the_last_of_two_options_counts(build: Build, tmp_path: Path) -> None:
    given = ("a star", "--steps=2", "--json", "--seed=1", "--seed=2", "-o", tmp_path / "a.png")
    assert json.loads("\n".join(made_by_cpp(build, *given)))[0]["seed"] == 2
