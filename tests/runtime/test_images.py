import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trt_pipeline.images import SETTINGS_CHUNK, Settings, save_numbered, save_png, to_pil

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


def test_a_png_keeps_pixels_and_settings(tmp_path: Path) -> None:
    path = save_png(to_pil(PIXELS)[0], tmp_path / "a.png", SETTINGS)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), PIXELS[0])
        assert json.loads(image.info[SETTINGS_CHUNK]) == asdict(SETTINGS)
        assert image.info["Description"] == SETTINGS.prompt
        assert image.info["Software"].startswith("trt-pipeline")


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    save_png(to_pil(PIXELS)[0], tmp_path / "a.png", SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Image.Image, stream: object, *args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        save_png(to_pil(PIXELS)[0], tmp_path / "a.png", SETTINGS)
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("mine")
    image = to_pil(PIXELS)[0]
    with pytest.raises(FileExistsError):
        save_png(image, path, SETTINGS)
    assert path.read_text() == "mine"
    save_png(image, path, SETTINGS, overwrite=True)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_file_system_without_hard_links_serves_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(self: Path, target: Path) -> None:
        raise PermissionError("no hard links")

    monkeypatch.setattr(Path, "hardlink_to", unsupported)
    path = save_png(to_pil(PIXELS)[0], tmp_path / "a.png", SETTINGS)
    with pytest.raises(FileExistsError, match=r"a\.png"):
        save_png(to_pil(PIXELS)[0], path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_numbers_continue_after_the_highest(tmp_path: Path) -> None:
    (tmp_path / "00041.png").touch()
    (tmp_path / "notes.png").touch()
    paths = [save_numbered(to_pil(PIXELS)[0], tmp_path, SETTINGS) for _ in range(2)]
    assert [path.name for path in paths] == ["00042.png", "00043.png"]
