"""What a bundle may have besides the model's own parts: a second text encoder, a tiny decoder and a
safety checker."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cpp.build import Build, pixels
from tests.runtime.tiny_bundle import (
    write_bundle_with_additions,
    write_pair_bundle,
    write_tiny_bundle,
)
from trt_pipeline import read_settings, trt_pipeline

pytestmark = pytest.mark.slow  # the build takes minutes

BRIGHT = 80
"""The mean from which the bundle's checker finds a picture unsafe."""


def drawn(build: Build, bundle: Path, folder: Path, *options: str) -> tuple[list[Any], str]:
    """Pictures of a prompt, and what the program said."""
    fixed = ("--num-inference-steps=4", "--seed=5", "--no-progress")
    done = build.run(bundle, "a red circle", *fixed, *options, "-o", folder)
    assert done.returncode == 0, done.stderr
    return [pixels(Path(path)) for path in done.stdout.split()], done.stderr


@pytest.mark.parametrize("settings", [{}, {"negative_prompt": ""}, {"negative_prompt": "blue"}])
@pytest.mark.parametrize("zeros", [False, True])
def test_two_texts_and_sizes_give_pythons_pictures(
    build: Build, tmp_path: Path, zeros: bool, settings: dict[str, Any]
) -> None:
    model = {"guides_above_1_only": True, "zeros_for_empty_prompt": zeros}
    bundle = write_pair_bundle(tmp_path / "bundle", **model).path
    sizes: dict[str, Any] = {
        "original_size": (32, 48),
        "crops_coords_top_left": (8, 0),
        "target_size": (96, 64),
    }
    pairs = [(f"--{name.replace('_', '-')}", *map(str, size)) for name, size in sizes.items()]
    texts = [f"--negative-prompt={text}" for text in settings.values()]
    options = ("--guidance-scale=3", *texts, *(one for pair in pairs for one in pair))
    (made,), _ = drawn(build, bundle, tmp_path / "made", *options)
    with trt_pipeline(bundle, backend=build.backends(bundle)[0]) as pipe:
        call: dict[str, Any] = {"num_inference_steps": 4, "seed": 5, "progress_bar": False}
        wanted = pipe("a red circle", guidance_scale=3.0, **call, **sizes, **settings)
    assert np.abs(made - np.asarray(wanted.images[0], np.int32)).max() <= 1
    (path,) = (tmp_path / "made").iterdir()
    assert read_settings(path).target_size == (96, 64)


def test_the_tiny_decoder_makes_the_pixels_if_it_is_asked_to(build: Build, tmp_path: Path) -> None:
    bundle = write_bundle_with_additions(tmp_path / "bundle").path
    (full,), _ = drawn(build, bundle, tmp_path / "full")
    (tiny,), _ = drawn(build, bundle, tmp_path / "tiny", "--decoder=tiny")
    in_range = (full > 0) & (full < 255)
    assert in_range.any()
    assert np.abs(2 * tiny - full)[in_range].max() <= 2
    with trt_pipeline(bundle, backend=build.backends(bundle)[0]) as pipe:
        made = pipe(
            "a red circle", num_inference_steps=4, seed=5, decoder="tiny", progress_bar=False
        )
    assert np.abs(tiny - np.asarray(made.images[0], np.int32)).max() <= 1


def test_the_safety_checker_makes_the_pictures_black_that_it_finds_unsafe(
    build: Build, tmp_path: Path
) -> None:
    bundle = write_bundle_with_additions(tmp_path / "bundle").path
    shown, _ = drawn(build, bundle, tmp_path / "shown", "--count=6")
    unsafe = [picture.mean() > BRIGHT for picture in shown]
    assert 0 < sum(unsafe) < 6
    checked, said = drawn(build, bundle, tmp_path / "b", "--count=6", "--safety-checker=bundle")
    for before, after, is_unsafe in zip(shown, checked, unsafe, strict=True):
        assert np.array_equal(after, np.zeros_like(before) if is_unsafe else before)
    assert f"the safety checker made {sum(unsafe)} picture" in said


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--decoder=tiny",
            'decoder is "tiny", but this bundle has no tiny_decoder. ',
        ),
        ("--safety-checker=bundle", 'safety_checker is "bundle", but '),
        ("--safety-checker=other", "safety_checker must be one of bundle, got 'other'."),
        ("--target-size=0", ""),
        ("--crops-coords-top-left=3", ""),
    ],
)
def test_what_a_bundle_lacks_is_refused(
    build: Build, tmp_path: Path, option: str, message: str
) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle").path
    done = build.run(bundle, "a", option, "--no-progress", "-o", tmp_path / "a.png")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "a.png").exists()
