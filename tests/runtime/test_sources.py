import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.test_generate import generate, pixels
from trt_pipeline import Bundle, Pipeline, read_settings


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.effect_noise((72, 41), 90).save(path)
    return path


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "mask.png"
    half = np.zeros((41, 72), np.uint8)
    half[:, 40:] = 255
    Image.fromarray(half).save(path)
    return path


def test_the_command_makes_the_pipelines_picture_of_an_image(
    bundle: Bundle, pipe: Pipeline, image: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    options = ("--image", image, "--strength", 0.5, "--num-inference-steps", 4, "--seed", 3)
    assert generate(bundle, "red", *options, "-o", out) == 0
    expected = pipe("red", image=image, strength=0.5, num_inference_steps=4, seed=3).images[0]
    assert expected.size == (72, 40)
    np.testing.assert_array_equal(pixels(out), np.asarray(expected))


def test_settings_name_the_files_that_a_picture_began_with(
    bundle: Bundle, image: Path, mask: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    options = (
        "--image",
        image,
        "--mask-image",
        mask,
        "--num-inference-steps",
        2,
        "--vae-tile-size",
        64,
    )
    assert generate(bundle, "red", *options, "-o", out) == 0
    settings = read_settings(out)
    assert settings.image == hashlib.sha256(image.read_bytes()).hexdigest()
    assert settings.mask_image == hashlib.sha256(mask.read_bytes()).hexdigest()
    assert (settings.strength, settings.vae_tile_size) == (None, 64)


def test_an_image_to_image_picture_repeats_itself_with_its_image(
    bundle: Bundle, image: Path, mask: Path, tmp_path: Path
) -> None:
    first, again = tmp_path / "first.webp", tmp_path / "again.webp"
    files = ("--image", image, "--mask-image", mask)
    assert (
        generate(bundle, "red", *files, "--num-inference-steps", 3, "--strength", 1, "-o", first)
        == 0
    )
    assert generate(bundle, "--from", first, *files, "-o", again) == 0
    assert again.read_bytes() == first.read_bytes()


def test_an_image_to_image_picture_is_not_repeated_without_its_image(
    bundle: Bundle, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    assert generate(bundle, "red", "--image", image, "--num-inference-steps", 2, "-o", first) == 0
    capsys.readouterr()
    assert generate(bundle, "--from", first, "-o", again) == 2
    assert "give its file with --image" in capsys.readouterr().err
    other = tmp_path / "other.png"
    Image.new("RGB", (72, 40)).save(other)
    assert generate(bundle, "--from", first, "--image", other, "-o", again) == 0
    assert f"{first} was not made with this --image" in capsys.readouterr().err


def test_a_line_of_a_prompt_file_may_have_an_image_beside_the_file(
    bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    lines = [{"prompt": "red"}, {"prompt": "red", "image": image.name, "strength": 1}]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(map(json.dumps, lines)))
    out = tmp_path / "out"
    options = ("--prompts", prompts, "--seed", 0, "--num-inference-steps", 2, "-o", out)
    assert generate(bundle, *options) == 0
    assert [pixels(path).shape for path in sorted(out.iterdir())] == [(64, 64, 3), (40, 72, 3)]
    assert generate(bundle, *options, "--resume") == 0
    Image.new("RGB", (72, 40)).save(image)
    assert generate(bundle, *options, "--resume") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strength", 0.5], "strength is given without image"),
        (["--image", "{notes}"], "image cannot be read"),
        (["--image", "{image}", "--strength", 2], "strength must be"),
        (["--image", "{image}", "--vae-tile-size", 9], "vae_tile_size must be"),
        (["--prompts", "{missing}"], "line 1: image cannot be read.*missing"),
    ],
)
def test_bad_sources_are_one_line(
    options: list[object],
    message: str,
    bundle: Bundle,
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {"image": image, "notes": tmp_path / "notes.png", "missing": tmp_path / "m.jsonl"}
    files["notes"].write_text("no picture")
    files["missing"].write_text('{"prompt": "red", "image": "missing.png"}')
    words = [str(option).format(**files) for option in options]
    prompt = [] if "--prompts" in words else ["red"]
    assert generate(bundle, *prompt, *words, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)


def test_a_line_of_a_prompt_file_may_do_without_the_commands_image(
    bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out"
    prompts.write_text('{"prompt": "red"}\n{"prompt": "red", "image": null}\n')
    assert (
        generate(
            bundle, "--prompts", prompts, "--image", image, "--num-inference-steps", 2, "-o", out
        )
        == 0
    )
    began = [read_settings(path).image for path in sorted(out.iterdir())]
    assert began == [hashlib.sha256(image.read_bytes()).hexdigest(), None]
