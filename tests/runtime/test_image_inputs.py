import os
import struct
import zlib
from pathlib import Path
from typing import Any

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
        ("I;16B", 65535, [255, 255, 255]),
        ("I;16", 0, [0, 0, 0]),
        ("I", 257 * 90, [90, 90, 90]),
        ("I", 257 * 90 + 128, [90, 90, 90]),
        ("I", 257 * 90 + 129, [91, 91, 91]),
        ("PA", (0, 0), [255, 255, 255]),
        ("RGBa", (0, 0, 0, 0), [255, 255, 255]),
        ("RGBX", (*RED, 0), [255, 0, 0]),
        ("YCbCr", (255, 128, 128), [255, 255, 255]),
        ("HSV", (0, 255, 255), [255, 0, 0]),
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
        (Image.new("I", (2, 2), -1), "image has greys from -1 to -1, expected 0 to 65535"),
        (
            Image.new("L", (2, 2), 255).convert("I"),
            r"in Pillow's mode I, where 255 may be white .* Give greys of 8 bits as uint8: "
            r"numpy.asarray\(image\).astype\(numpy.uint8\). Give really dark greys as floats: "
            r"numpy.asarray\(image\) / 65535",
        ),
        (
            Image.new("L", (2, 2), 1).convert("I;16"),
            r"greys from 1 to 1 in Pillow's mode I;16, .* as bools: .*astype\(bool\)",
        ),
        (Image.new("L", (2, 2), 2).convert("F"), "image has numbers from 2 to 2, expected 0 to 1"),
        (Image.new("L", (0, 2)), "image is 0x2 pixels, expected some"),
        (np.zeros((2, 2), np.int64), "image is an array of int64"),
    ],
)
def test_what_is_no_picture_is_refused(given: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        open_picture("image", given)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_an_opaque_picture_is_what_diffusers_loader_makes_of_it(mode: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    given = Image.fromarray(colours).convert(mode)
    expected = np.asarray(given.convert("RGB"))
    np.testing.assert_array_equal(rgb_pixels(open_picture("image", given), 8, 8), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "gif", "webp", "bmp", "jp2", "ppm"])
def test_a_file_s_first_frame_is_what_diffusers_loader_makes_of_it(
    tmp_path: Path, suffix: str
) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    first, second = map(Image.fromarray, colours)
    frames: dict[str, Any] = (
        {"save_all": True, "append_images": [second]} if suffix in ("gif", "webp") else {}
    )
    path = tmp_path / f"picture.{suffix}"
    first.save(path, **frames)
    with Image.open(path) as file:
        expected = np.asarray(file.convert("RGB"))
    np.testing.assert_array_equal(rgb_pixels(open_picture("image", path), 8, 8), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "jp2", "ppm"])
def test_a_file_of_16_bit_greys_is_scaled(tmp_path: Path, suffix: str) -> None:
    ramp = np.arange(0, 256, 16, dtype=np.uint16) * 257
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(ramp[None]).save(path)
    expected = np.arange(0, 256, 16)
    assert rgb_pixels(open_picture("image", path), 1, 16)[0, :, 0].tolist() == expected.tolist()


def png_of_16_bits(path: Path, samples: NDArray[np.uint16], colour_type: int) -> Path:
    """A PNG of [H, W, C] samples, which Pillow does not write."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )
    return path


COLOUR_TYPES = pytest.mark.parametrize(
    ("colour_type", "channels"), [(2, 3), (6, 4), (4, 2)], ids=["RGB", "RGBA", "LA"]
)


@COLOUR_TYPES
@pytest.mark.parametrize("opened", [False, True])
def test_8_bit_colours_in_16_bit_samples_are_refused(
    tmp_path: Path, colour_type: int, channels: int, opened: bool
) -> None:
    samples = np.full((2, 2, channels), 255, np.uint16)
    if channels != 3:
        samples[..., -1] = 65535
    path = png_of_16_bits(tmp_path / "dark.png", samples, colour_type)
    with pytest.raises(InvalidInputError, match=r"all below 256: it is black, .* Save them as uin"):
        open_picture("image", Image.open(path) if opened else path)


@COLOUR_TYPES
def test_colours_of_16_bits_have_their_upper_bytes(
    tmp_path: Path, colour_type: int, channels: int
) -> None:
    samples = np.full((2, 2, channels), 65535, np.uint16)
    samples[..., 0] = 0x5AFF
    path = png_of_16_bits(tmp_path / "colour.png", samples, colour_type)
    expected = [90, 255, 255] if channels > 2 else [90, 90, 90]
    assert first_pixel(open_picture("image", path)) == expected


@pytest.mark.parametrize(("sample", "accepted"), [(255, False), (0x5AFF, True)])
def test_a_tiff_of_16_bit_colours_is_read_alike(
    tmp_path: Path, sample: int, accepted: bool
) -> None:
    pixel = struct.pack("<3H", sample, sample, sample)
    bits = struct.pack("<3H", 16, 16, 16)
    entries = [(256, 1, 1), (257, 1, 1), (258, 3, 14), (259, 1, 1), (262, 1, 2), (273, 1, 8)]
    entries += [(277, 1, 3), (278, 1, 1), (279, 1, 6)]
    directory = b"".join(
        struct.pack("<HHII", tag, 3 if count == 3 else 4, count, value)
        for tag, count, value in entries
    )
    path = tmp_path / "colour.tif"
    head = struct.pack("<2sHI", b"II", 42, 20) + pixel + bits
    path.write_bytes(head + struct.pack("<H", len(entries)) + directory + bytes(4))
    if accepted:
        assert first_pixel(open_picture("image", path)) == [90, 90, 90]
    else:
        with pytest.raises(InvalidInputError, match="image has colours of 16 bits that are all"):
            open_picture("image", path)


def test_a_black_bitmap_of_16_bits_a_pixel_is_one(tmp_path: Path) -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 0, 4, 0, 0, 0, 0)
    path = tmp_path / "black.bmp"
    path.write_bytes(struct.pack("<2sIHHI", b"BM", 58, 0, 0, 54) + header + bytes(4))
    assert first_pixel(open_picture("image", path)) == [0, 0, 0]


def test_a_black_picture_of_8_bits_is_one(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "black.png")
    assert first_pixel(open_picture("image", tmp_path / "black.png")) == [0, 0, 0]


def test_a_tiff_of_12_bit_greys_is_scaled(tmp_path: Path) -> None:
    """Two pixels, black and white, which Pillow gives as 0 and 4095; it writes no such file."""
    entries = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (278, 1), (279, 3)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    path = tmp_path / "grey.tif"
    head = struct.pack("<2sHI", b"II", 42, 12) + b"\x00\x0f\xff\x00"
    path.write_bytes(head + struct.pack("<H", len(entries)) + directory + bytes(4))
    assert rgb_pixels(open_picture("image", path), 1, 2)[0, :, 0].tolist() == [0, 255]


def test_the_transparent_grey_of_a_16_bit_png_becomes_white(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[0, 30000]], np.uint16))
    grey.save(tmp_path / "grey.png", transparency=0)
    assert rgb_pixels(open_picture("image", tmp_path / "grey.png"), 1, 2)[0, :, 0].tolist() == [
        255,
        117,
    ]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"])
def test_a_mask_may_have_any_mode(mode: str) -> None:
    black_and_white = np.array([[0, 255]], np.uint8)
    if mode in ("I", "I;16"):
        wide = black_and_white.astype(np.int32 if mode == "I" else np.uint16) * 257
        mask = Image.fromarray(wide)
    elif mode == "F":
        mask = Image.fromarray(black_and_white.astype(np.float32) / 255)
    else:
        mask = Image.fromarray(black_and_white).convert(mode)
    assert mask.mode == mode
    assert mask_pixels(open_picture("mask_image", mask), 1, 2).tolist() == [[False, True]]


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
    grey = Image.fromarray(np.array([[20000, 32767, 32768]], np.uint16))
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
    with pytest.raises(InvalidInputError, match="image has 1 entry, expected 2, one a picture"):
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
