import json
import struct
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from trt_pipeline import InvalidInputError, Settings, read_settings
from trt_pipeline.pictures.images import Encoding, save_picture

SETTINGS = Settings(
    prompt="ein roter Kreis ○",
    seed=2**64 - 1,
    num_inference_steps=50,
    guidance_scale=6.0,
    eta=0.3,
    height=16,
    width=24,
    model="tiny",
    negative_prompt="blurred",
    sampler="unipc",
    schedule="trained",
    guidance_interval=(0.1, 0.9),
)
IMAGE = Image.new("RGB", (24, 16), "red")
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SUFFIXES = [".png", ".webp", ".jpg"]


def written(path: Path, settings: Settings = SETTINGS, ai_mark: bool = True) -> Path:
    return save_picture(IMAGE, path, settings, Encoding(ai_mark=ai_mark))


def png_with(path: Path, text: str, image: Image.Image = IMAGE, zip_text: bool = False) -> Path:
    chunks = PngInfo()
    chunks.add_text("trt-pipeline", text, zip=zip_text)
    image.save(path, pnginfo=chunks)
    return path


def picture_with_comment(path: Path, comment: bytes) -> Path:
    tags = Image.Exif()
    tags[0x8769] = {0x9286: comment}
    IMAGE.save(path, exif=tags)
    return path


def entries(**changed: Any) -> str:
    return json.dumps({**asdict(SETTINGS), **changed})


def xmp(path: Path) -> bytes:
    with Image.open(path) as image:
        packet = image.info["xmp"]
        assert isinstance(packet, bytes)
        return packet


def test_a_png_has_the_settings_in_text_chunks(tmp_path: Path) -> None:
    with Image.open(written(tmp_path / "a.png")) as image:
        assert json.loads(image.info["trt-pipeline"])["prompt"] == "ein roter Kreis ○"
        assert image.info["Description"] == "ein roter Kreis ○"
        assert image.info["Software"].startswith("trt-pipeline")


@pytest.mark.parametrize("suffix", [".webp", ".jpg"])
def test_webp_and_jpeg_have_the_settings_in_exif(suffix: str, tmp_path: Path) -> None:
    with Image.open(written(tmp_path / f"a{suffix}")) as image:
        tags = image.getexif()
    comment = tags.get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"ASCII\0\0\0"
    assert json.loads(comment[8:])["prompt"] == "ein roter Kreis ○"
    assert tags[0x010E].encode("latin-1").decode() == "ein roter Kreis ○"
    assert tags[0x0131].startswith("trt-pipeline")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_picture_says_in_xmp_that_a_model_made_it(suffix: str, tmp_path: Path) -> None:
    root = ET.fromstring(xmp(written(tmp_path / f"a{suffix}")))
    (description,) = root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert description.attrib[name] == TRAINED


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_mark_can_be_left_out(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"a{suffix}", ai_mark=False)
    assert b"trainedAlgorithmicMedia" not in path.read_bytes()
    assert read_settings(path) == SETTINGS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_back(suffix: str, tmp_path: Path) -> None:
    for number, prompt in enumerate(["", "a\nb", "\0", "\U0001f600", "x" * 30_000, '"}{\\']):
        settings = replace(SETTINGS, prompt=prompt)
        assert read_settings(written(tmp_path / f"{number}{suffix}", settings)) == settings


def test_entries_that_are_left_out_have_their_defaults(tmp_path: Path) -> None:
    plain = ("negative_prompt", "schedule", "guidance_interval")
    few = {name: value for name, value in asdict(SETTINGS).items() if name not in plain}
    settings = read_settings(png_with(tmp_path / "a.png", json.dumps(few)))
    assert settings.sampler == "unipc"
    assert settings.schedule == "published"
    assert settings.negative_prompt is None
    assert settings.guidance_interval == (0.0, 1.0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_without_settings_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    IMAGE.save(path)
    with pytest.raises(InvalidInputError, match=r"a\.\w+ carries no settings of trt-pipeline"):
        read_settings(path)


def test_another_programs_comment_is_no_settings(tmp_path: Path) -> None:
    path = picture_with_comment(tmp_path / "a.jpg", b"JIS\0\0\0\0\0holiday")
    with pytest.raises(InvalidInputError, match="carries no settings"):
        read_settings(path)
    path = picture_with_comment(tmp_path / "b.jpg", b"ASCII\0\0\0holiday")
    with pytest.raises(InvalidInputError, match=r"b\.jpg: not valid JSON: Expecting value"):
        read_settings(path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_a_comment_rewritten_in_unicode_is_read(encoding: str, tmp_path: Path) -> None:
    text = json.dumps(asdict(SETTINGS), ensure_ascii=False)
    path = picture_with_comment(tmp_path / "a.jpg", b"UNICODE\0" + text.encode(encoding))
    assert read_settings(path) == SETTINGS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "settings is .*expected an object"),
        ('{"prompt": "red"}', "settings.model is missing"),
        (entries(sampler=None), "settings.sampler is missing"),
        (entries(surprise=1), "unknown entry 'surprise'"),
        (entries(prompt=5), "settings.prompt is 5, expected a string"),
        (entries(seed="1"), "settings.seed is '1', expected an integer"),
        (entries(seed=True), "settings.seed is True, expected an integer"),
        (entries(eta=float("nan")), "NaN for a number"),
        (entries(guidance_interval=[0.5]), "has 1 entry, expected 2"),
        (entries()[:-1] + ', "seed": 1}', "entry 'seed' appears twice"),
        (entries(width=32), "is 24 × 16 pixels, but its settings .* 32 × 16"),
        (entries(height="1" * 2**20), "settings take .* bytes, expected at most 1048576"),
    ],
)
def test_settings_that_are_none_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=f"a.png.*{message}"):
        read_settings(png_with(tmp_path / "a.png", text))


def test_a_small_chunk_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    path = png_with(tmp_path / "a.png", "x" * 2**24, zip_text=True)
    assert path.stat().st_size < 2**15
    with pytest.raises(InvalidInputError, match=r"a\.png is damaged .*too large"):
        read_settings(path)


def test_a_webp_with_an_endless_comment_is_refused(tmp_path: Path) -> None:
    path = picture_with_comment(tmp_path / "a.webp", b"ASCII\0\0\0" + b" " * (2**21 + 1))
    with pytest.raises(InvalidInputError, match="takes 2097153 bytes, too many"):
        read_settings(path)


def test_settings_too_long_for_a_format_are_not_written(tmp_path: Path) -> None:
    long = replace(SETTINGS, prompt="x" * 40_000)
    with pytest.raises(InvalidInputError, match="a jpeg picture can carry"):
        written(tmp_path / "a.jpg", long)
    with pytest.raises(InvalidInputError, match="more than a png picture can carry"):
        written(tmp_path / "a.png", replace(SETTINGS, prompt="x" * 2**20))
    assert not list(tmp_path.iterdir())


def test_the_longest_settings_fit_into_a_jpeg(tmp_path: Path) -> None:
    spare = 65_000 - len(entries(prompt=""))
    settings = replace(SETTINGS, prompt="x" * (spare // 2))
    assert read_settings(written(tmp_path / "a.jpg", settings)) == settings


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(InvalidInputError, match=r"a\.png is not a PNG, WebP or JPEG"):
        read_settings(tmp_path / "a.png")
    IMAGE.save(tmp_path / "b.png", "GIF")
    with pytest.raises(InvalidInputError, match=r"b\.png is not a PNG, WebP or JPEG"):
        read_settings(tmp_path / "b.png")


def test_a_missing_file_is_an_operating_system_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        read_settings(tmp_path / "missing.png")


def test_pillows_limit_of_pixels_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    content = written(path).read_bytes()
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + content[24:29]
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    with pytest.raises(InvalidInputError, match=r"a\.png is refused: .*3600000000 pixels"):
        read_settings(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_picture_is_refused_or_read_and_nothing_else(suffix: str, tmp_path: Path) -> None:
    content = np.frombuffer(written(tmp_path / f"a{suffix}").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = content.copy()
        damaged[rng.integers(0, len(content), 3)] = rng.integers(0, 256, 3)
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(damaged[: rng.integers(len(content) // 2, len(content))].tobytes())
        try:
            assert isinstance(read_settings(path), Settings)
        except InvalidInputError:
            refused += 1
    assert refused > 0
