import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trt_pipeline import InvalidInputError
from trt_pipeline.pictures.image_inputs import (
    common_size,
    mask_pixels,
    open_picture,
    open_pictures,
    rgb_pixels,
)

RED = (255, 0, 0)


def first_pixel(image: Image.Image) -> list[int]:
    pixels = rgb_pixels(image, image.height, image.width)
    assert pixels.dtype == np.uint8
    return [int(channel) for channel in pixels[0, 0]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", RED, [255, 0, 0]),
        ("L", 7, [7, 7, 7]),
        ("1", 1, [255, 255, 255]),
        ("RGBA", (0, 0, 0, 0), [255, 255, 255]),
        ("RGBA", (*RED, 255), [255, 0, 0]),
        ("LA", (0, 0), [255, 255, 255]),
        ("CMYK", (0, 0, 0, 255), [0, 0, 0]),
        ("I;16", 65535, [255, 255, 255]),
        ("I", 257 * 90, [90, 90, 90]),
        ("F", 0.5, [128, 128, 128]),
        ("P", 0, [0, 0, 0]),
    ],
)
def test_every_mode_becomes_rgb_over_white(
    mode: str, colour: float | tuple[int, ...], expected: list[int]
) -> None:
    assert first_pixel(open_picture("image", Image.new(mode, (2, 2), colour))) == expected


def test_an_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (4, 2)).save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture("image", tmp_path / "turned.jpg").size == (2, 4)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((2, 2, 3), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 2), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 2, 1), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 2, 3), 0.5), [128, 128, 128]),
        (np.ones((2, 2), np.bool_), [255, 255, 255]),
    ],
)
def test_arrays_are_pictures(array: NDArray[np.generic], expected: list[int]) -> None:
    assert first_pixel(open_picture("image", array)) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.png", "image cannot be read"),
        (7, "image is a int, expected a path"),
        (np.zeros((2, 2, 2), np.uint8), r"image has shape \(2, 2, 2\)"),
        (np.zeros((0, 2), np.uint8), r"image has shape \(0, 2\)"),
        (np.full((2, 2), 2.0), "image has numbers from 2 to 2, expected 0 to 1"),
        (np.full((2, 2), np.nan), "image has numbers from nan to nan, expected 0 to 1"),
        (Image.new("I", (2, 2), 65536), "image has greys from 65536 to 65536, expected 0 to 65535"),
        (np.zeros((2, 2), np.int64), "image is an array of int64"),
    ],
)
def test_what_is_no_picture_is_refused(given: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        open_picture("image", given)  # type: ignore[arg-type]


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(InvalidInputError, match="image cannot be read: cannot identify"):
        open_picture("image", tmp_path / "notes.png")


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InvalidInputError, match="exceeds limit"):
        open_picture("image", tmp_path / "large.png")


def test_a_mask_is_white_from_the_middle_grey() -> None:
    grey = Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8))
    assert mask_pixels(grey, 1, 4).tolist() == [[False, False, True, True]]


def test_a_mask_of_16_bits_has_its_middle_grey_at_32768() -> None:
    grey = Image.fromarray(np.array([[20000, 32000, 33000]], np.uint16))
    mask = mask_pixels(open_picture("mask_image", grey), 1, 3)
    assert mask.tolist() == [[False, False, True]]


def test_pictures_of_several_sizes_need_height_and_width() -> None:
    images = [Image.new("L", (70, 40)), Image.new("L", (70, 40))]
    assert common_size(images, 8) == (40, 64)
    with pytest.raises(InvalidInputError, match="its pictures are 8x8, 70x40; give height"):
        common_size([*images, Image.new("L", (8, 8))], 8)
    with pytest.raises(InvalidInputError, match="image is 70x5 pixels, expected 8x8 at least"):
        common_size([Image.new("L", (70, 5))], 8)


def test_one_picture_serves_all_and_a_list_has_one_each() -> None:
    grey, white = Image.new("L", (8, 8)), np.ones((2, 8, 8, 3))
    assert len(open_pictures("image", grey, 2)) == len(open_pictures("image", white, 2)) == 2
    with pytest.raises(InvalidInputError, match="image has 1 entries, expected 2, one a picture"):
        open_pictures("image", [grey], 2)
    assert len(open_pictures("image", [grey], 2, copies=2)) == 2


def test_a_mask_with_transparent_parts_is_refused() -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    with pytest.raises(InvalidInputError, match="mask_image has transparent parts"):
        mask_pixels(clear, 8, 8)
    assert mask_pixels(Image.new("RGBA", (8, 8), "white"), 8, 8).all()


def test_an_empty_path_is_no_picture() -> None:
    with pytest.raises(InvalidInputError, match="image is an empty path"):
        open_picture("image", "")


def test_a_mask_of_zeros_and_ones_is_no_mask() -> None:
    with pytest.raises(InvalidInputError, match="its greys are 0 and 1 of 255"):
        mask_pixels(Image.new("L", (8, 8), 1), 8, 8)


def test_premultiplied_grey_is_taken_and_lab_refused() -> None:
    assert open_picture("image", Image.new("La", (8, 8))).mode == "LA"
    with pytest.raises(InvalidInputError, match="image has colours in LAB, expected RGB"):
        open_picture("image", Image.new("LAB", (8, 8)))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InvalidInputError, match=r"pipe.png is not a file"):
        open_picture("image", tmp_path / "pipe.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_more_pixels_than_pillow_warns_of_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (40, 30)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InvalidInputError, match="40x30 pixels, more than Pillow's limit of 1000"):
        open_picture("image", tmp_path / "large.png")
