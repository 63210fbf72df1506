from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trt_pipeline import InvalidInputError
from trt_pipeline.pictures.images import Encoding, save_numbered, save_picture, to_pil
from trt_pipeline.pictures.metadata import read_settings
from trt_pipeline.settings import Settings

SETTINGS = Settings(
    prompt="ein roter Kreis ○",
    seed=2**64 - 1,
    num_inference_steps=50,
    guidance_scale=6.0,
    negative_prompt="blurred",
    eta=0.3,
    sampler="ddim",
    schedule="trained",
    height=16,
    width=24,
    model="tiny",
)
PIXELS = np.arange(16 * 24 * 3, dtype=np.uint8).reshape(1, 16, 24, 3)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


def test_a_picture_is_marked_as_generated_unless_asked_otherwise(tmp_path: Path) -> None:
    marked = save_picture(NOISE, str(tmp_path / "a.png"))
    plain = save_picture(NOISE, tmp_path / "b.png", encoding=Encoding(ai_mark=False))
    assert [b"trainedAlgorithmicMedia" in path.read_bytes() for path in (marked, plain)] == [
        True,
        False,
    ]


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg", "a.jpeg", "A.PNG"])
def test_every_format_keeps_the_settings(name: str, tmp_path: Path) -> None:
    path = save_picture(to_pil(PIXELS)[0], tmp_path / name, SETTINGS)
    assert read_settings(path) == SETTINGS


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("a.webp", "WEBP"), ("a.jpg", "JPEG"), ("a.jpeg", "JPEG")]
)
def test_the_suffix_chooses_the_format(name: str, kind: str, tmp_path: Path) -> None:
    with Image.open(save_picture(to_pil(PIXELS)[0], tmp_path / name, SETTINGS)) as image:
        assert image.format == kind


def test_what_is_no_picture_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="image is a ndarray, expected a Pillow image"):
        save_picture(PIXELS[0], tmp_path / "a.png")


def test_an_error_names_the_picture_and_not_what_is_written_aside(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.png"
    with pytest.raises(FileNotFoundError) as caught:
        save_picture(to_pil(PIXELS)[0], path)
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt"])
def test_an_unknown_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"ends in \.png, \.webp, \.jpg, \.jpeg"):
        save_picture(to_pil(PIXELS)[0], tmp_path / name, SETTINGS)


@pytest.mark.parametrize("name", ["a.png", "lossless.webp"])
def test_a_png_and_a_lossless_webp_keep_every_pixel(name: str, tmp_path: Path) -> None:
    path = save_picture(to_pil(PIXELS)[0], tmp_path / name, SETTINGS, Encoding(lossless=True))
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), PIXELS[0])


@pytest.mark.parametrize("suffix", [".webp", ".jpg"])
def test_a_lower_quality_makes_a_smaller_file(suffix: str, tmp_path: Path) -> None:
    sizes = [
        save_picture(NOISE, tmp_path / f"{quality}{suffix}", None, Encoding(quality)).stat().st_size
        for quality in (10, 50, 95)
    ]
    assert sizes == sorted(sizes)
    assert sizes[2] > 2 * sizes[0]


def test_a_jpeg_keeps_colours_at_full_resolution(tmp_path: Path) -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 255, 255
    path = save_picture(Image.fromarray(stripes), tmp_path / "a.jpg", None)
    with Image.open(path) as image:
        assert np.abs(np.asarray(image).astype(int) - stripes).max() < 32


@pytest.mark.parametrize("quality", [0, 101, True])
def test_a_quality_outside_1_to_100_is_refused(quality: int) -> None:
    with pytest.raises(InvalidInputError, match="quality must be an integer from 1 to 100"):
        Encoding(quality)


def test_sides_that_a_format_has_no_room_for_are_refused(tmp_path: Path) -> None:
    wide = Image.new("RGB", (16384, 1))
    with pytest.raises(InvalidInputError, match="up to 16383 pixels, got 16384 × 1"):
        save_picture(wide, tmp_path / "a.webp", None)
    save_picture(wide, tmp_path / "a.png", None)


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    save_picture(to_pil(PIXELS)[0], tmp_path / "a.png", SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Image.Image, stream: object, *args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        save_picture(to_pil(PIXELS)[0], tmp_path / "a.png", SETTINGS)
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("mine")
    image = to_pil(PIXELS)[0]
    with pytest.raises(FileExistsError):
        save_picture(image, path, SETTINGS)
    assert path.read_text() == "mine"
    save_picture(image, path, SETTINGS, overwrite=True)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_file_system_without_hard_links_serves_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(self: Path, target: Path) -> None:
        raise PermissionError("no hard links")

    monkeypatch.setattr(Path, "hardlink_to", unsupported)
    path = save_picture(to_pil(PIXELS)[0], tmp_path / "a.png", SETTINGS)
    with pytest.raises(FileExistsError, match=r"a\.png"):
        save_picture(to_pil(PIXELS)[0], path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_numbers_continue_after_the_highest(tmp_path: Path) -> None:
    (tmp_path / "00041.png").touch()
    (tmp_path / "notes.png").touch()
    paths = [save_numbered(to_pil(PIXELS)[0], tmp_path, SETTINGS) for _ in range(2)]
    assert [path.name for path in paths] == ["00042.png", "00043.png"]


def test_numbers_are_shared_by_all_formats(tmp_path: Path) -> None:
    save_numbered(to_pil(PIXELS)[0], tmp_path, SETTINGS)
    for kind, name in (("webp", "00001.webp"), ("jpeg", "00002.jpg")):
        path = save_numbered(to_pil(PIXELS)[0], tmp_path, SETTINGS, kind=kind)  # type: ignore[arg-type]
        assert path.name == name
