import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trt_pipeline import Bundle, read_settings
from trt_pipeline.bundle import manifest_json
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli
from trt_pipeline.pictures.images import save_picture

QUICK = ("--threads", "1", "--no-progress")
SPECIAL = (
    *("--num-inference-steps", "3", "--guidance-scale", "5.5", "--guidance-interval", "0.2", "0.9"),
    *("--negative-prompt", "blue circle", "--eta", "0.7", "--schedule", "trained"),
    *("--timestep-spacing", "trailing"),
    *("--height", "40", "--width", "72", "--seed", "11"),
)


def generate(bundle: Bundle, *args: object) -> int:
    return console.run(cli, ["generate", "--bundle", str(bundle.path), *QUICK, *map(str, args)])


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_a_picture_repeats_itself_exactly(suffix: str, bundle: Bundle, tmp_path: Path) -> None:
    first, again = tmp_path / f"first{suffix}", tmp_path / f"again{suffix}"
    assert generate(bundle, "a red circle", *SPECIAL, "-o", first) == 0
    assert generate(bundle, "--from", first, "-o", again) == 0
    np.testing.assert_array_equal(pixels(again), pixels(first))
    assert again.read_bytes() == first.read_bytes()


def test_a_jpeg_holds_what_makes_the_exact_picture(bundle: Bundle, tmp_path: Path) -> None:
    assert generate(bundle, "a red circle", *SPECIAL, "-o", tmp_path / "a.png") == 0
    assert generate(bundle, "a red circle", *SPECIAL, "-o", tmp_path / "a.jpg") == 0
    assert generate(bundle, "--from", tmp_path / "a.jpg", "-o", tmp_path / "b.png") == 0
    np.testing.assert_array_equal(pixels(tmp_path / "b.png"), pixels(tmp_path / "a.png"))


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmsolver++_karras"])
def test_a_sampler_repeats_as_well(sampler: str, bundle: Bundle, tmp_path: Path) -> None:
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    assert (
        generate(bundle, "red", "--num-inference-steps", 4, "--sampler", sampler, "-o", first) == 0
    )
    assert generate(bundle, "--from", first, "-o", again) == 0
    assert again.read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    ("args", "changed"),
    [
        (["--seed", 12], {"seed": 12}),
        (["--num-inference-steps", 50], {"num_inference_steps": 50}),
        (["--guidance-scale", 1], {"guidance_scale": 1.0}),
        (["--guidance-interval", 0, 1], {"guidance_interval": (0.0, 1.0)}),
        (["--negative-prompt", ""], {"negative_prompt": ""}),
        (["--sampler", "euler", "--eta", 0], {"sampler": "euler", "eta": 0.0}),
        (["--width", 64], {"width": 64}),
        (["blue"], {"prompt": "blue"}),
    ],
)
def test_an_explicit_option_overrides_the_pictures_own(
    args: list[object], changed: dict[str, Any], bundle: Bundle, tmp_path: Path
) -> None:
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    assert generate(bundle, "a red circle", *SPECIAL, "-o", first) == 0
    assert generate(bundle, *args, "--from", first, "-o", again) == 0
    assert read_settings(again) == replace(read_settings(first), **changed)


def test_more_pictures_continue_from_the_pictures_seed(bundle: Bundle, tmp_path: Path) -> None:
    first = tmp_path / "first.png"
    assert generate(bundle, "red", *SPECIAL, "-o", first) == 0
    assert generate(bundle, "--from", first, "--count", 3, "-o", tmp_path / "out") == 0
    seeds = [read_settings(path).seed for path in sorted((tmp_path / "out").iterdir())]
    assert seeds == [11, 12, 13]
    assert (tmp_path / "out" / "00000.png").read_bytes() == first.read_bytes()


def test_another_models_picture_is_one_warning(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, other, again = (tmp_path / name for name in ("made.png", "other.png", "again.png"))
    assert generate(bundle, "red", "--num-inference-steps", 2, "-o", made) == 0
    with Image.open(made) as image:
        save_picture(image, other, replace(read_settings(made), model="huge"))
    assert generate(bundle, "--from", other, "-o", again) == 0
    assert capsys.readouterr().err == (
        f"warning: {other} was made with 'huge'; tiny makes another picture.\n"
    )
    assert read_settings(again).model == "tiny"


def test_the_sampler_is_the_checkpoints_own_and_written_by_name(
    own_bundle: Bundle, tmp_path: Path
) -> None:
    changed = replace(own_bundle, defaults=replace(own_bundle.defaults, sampler="euler"))
    (own_bundle.path / "bundle.json").write_text(manifest_json(changed))
    assert generate(own_bundle, "red", "--num-inference-steps", 2, "-o", tmp_path / "a.png") == 0
    assert read_settings(tmp_path / "a.png").sampler == "euler"


def test_a_picture_without_settings_cannot_be_repeated(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert generate(bundle, "--from", tmp_path / "a.png", "-o", tmp_path / "b.png") == 2
    assert "carries no settings of trt-pipeline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("png", ["00000.png", "00001.png"]),
        ("webp", ["00000.webp", "00001.webp"]),
        ("jpeg", ["00000.jpg", "00001.jpg"]),
    ],
)
def test_format_is_that_of_a_folders_pictures(
    kind: str, names: list[str], bundle: Bundle, tmp_path: Path
) -> None:
    assert generate(bundle, "red", "--count", 2, "--format", kind, "-o", tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    with Image.open(tmp_path / names[0]) as image:
        assert image.format == kind.upper()


def test_quality_reaches_the_file(bundle: Bundle, tmp_path: Path) -> None:
    sizes = []
    for quality in (5, 100):
        path = tmp_path / f"{quality}.jpg"
        assert generate(bundle, "red", "--seed", 1, "--quality", quality, "-o", path) == 0
        sizes.append(path.stat().st_size)
    assert sizes[0] < sizes[1]


def test_a_lossless_webp_has_the_pixels_of_the_png(bundle: Bundle, tmp_path: Path) -> None:
    for name in ("a.png", "a.webp"):
        assert generate(bundle, "red", "--seed", 1, "--lossless", "-o", tmp_path / name) == 0
    np.testing.assert_array_equal(pixels(tmp_path / "a.webp"), pixels(tmp_path / "a.png"))


def test_the_ai_mark_is_there_unless_it_is_unwanted(bundle: Bundle, tmp_path: Path) -> None:
    assert generate(bundle, "red", "-o", tmp_path / "a.png") == 0
    assert generate(bundle, "red", "-o", tmp_path / "b.png", "--no-ai-mark") == 0
    assert b"trainedAlgorithmicMedia" in (tmp_path / "a.png").read_bytes()
    assert b"trainedAlgorithmicMedia" not in (tmp_path / "b.png").read_bytes()


def test_a_grid_alone_is_one_file(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert generate(bundle, "red", "--count", 5, "--grid", "grid.png") == 0
    assert capsys.readouterr().out == "grid.png\n"
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]
    assert pixels(tmp_path / "grid.png").shape == (2 * 64, 3 * 64, 3)


def test_a_grid_shows_the_single_pictures_row_by_row(bundle: Bundle, tmp_path: Path) -> None:
    grid, out = tmp_path / "grid.png", tmp_path / "out"
    args = [
        "--count",
        3,
        "--seed",
        0,
        "--num-inference-steps",
        2,
        "--grid",
        grid,
        "--grid-columns",
        2,
    ]
    assert generate(bundle, "red", *args, "-o", out) == 0
    singles = [pixels(path) for path in sorted(out.iterdir())]
    blank = np.full((64, 64, 3), 255, np.uint8)
    rows = [np.hstack(singles[:2]), np.hstack([singles[2], blank])]
    np.testing.assert_array_equal(pixels(grid), np.vstack(rows))


def test_json_says_where_in_the_grid_a_picture_is(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "grid.webp"
    assert (
        generate(bundle, "red", "blue", "--grid", grid, "--json", "--num-inference-steps", 2) == 0
    )
    entries = json.loads(capsys.readouterr().out)
    assert [(one["prompt"], one["row"], one["column"]) for one in entries] == [
        ("red", 0, 0),
        ("blue", 0, 1),
    ]
    assert entries[0]["grid"] == str(grid)
    assert "path" not in entries[0]


def test_a_grid_is_replaced_only_by_force(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "grid.png"
    grid.write_text("mine")
    assert generate(bundle, "red", "--grid", grid) == 2
    assert capsys.readouterr().err == f"error: output {grid} exists; --force replaces it.\n"
    assert generate(bundle, "red", "--grid", grid, "--force", "--num-inference-steps", 2) == 0
    assert pixels(grid).shape == (64, 64, 3)


def test_a_grid_has_the_mark_but_no_settings(bundle: Bundle, tmp_path: Path) -> None:
    grid = tmp_path / "grid.png"
    assert generate(bundle, "red", "--grid", grid, "--num-inference-steps", 2) == 0
    assert b"trainedAlgorithmicMedia" in grid.read_bytes()
    assert b"guidance_scale" not in grid.read_bytes()
