"""Image-to-image and inpainting on the tiny bundle, whose encoder and decoder are inverse."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trt_pipeline import InvalidInputError, Pipeline, TorchGenerator
from trt_pipeline.sampling.samplers import SAMPLERS

QUICK: dict[str, Any] = {"num_inference_steps": 10, "progress_bar": False, "seed": 0}
GREY = Image.new("RGB", (64, 64), (64, 64, 64))
LEFT = Image.fromarray(np.repeat(np.arange(64) < 24, 64).reshape(64, 64).T)


def pixels(pipe: Pipeline, **settings: Any) -> NDArray[np.int64]:
    images = pipe("red", **{**QUICK, **settings}).images
    return np.stack([np.asarray(image) for image in images]).astype(int)


def test_little_strength_keeps_more_of_the_image(pipe: Pipeline) -> None:
    weak, strong = (abs(pixels(pipe, image=GREY, strength=s) - 64).mean() for s in (0.1, 0.9))
    assert weak < 8
    assert strong > 3 * weak


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_begins_in_the_middle(pipe: Pipeline, sampler: str) -> None:
    steps: list[int] = []
    pixels(pipe, image=GREY, strength=0.3, sampler=sampler, progress_bar=_noted(steps))
    assert len(steps) == 3 + (sampler == "pndm")


def _noted(steps: list[int]) -> Any:
    def wrap(given: range) -> range:
        steps.extend(given)
        return given

    return wrap


def test_full_strength_with_a_mask_of_white_is_text_to_image(pipe: Pipeline) -> None:
    everywhere = Image.new("L", (64, 64), 255)
    noise = np.random.default_rng(0).standard_normal((1, 4, 8, 8), np.float32)
    painted = pixels(pipe, image=GREY, mask_image=everywhere, latents=noise)
    np.testing.assert_array_equal(painted, pixels(pipe, latents=noise))


def test_the_image_s_own_noise_is_drawn_before_the_first(pipe: Pipeline) -> None:
    stream = TorchGenerator(3)
    stream.draw((1, 4, 8, 8))
    white = Image.new("L", (64, 64), 255)
    painted = pixels(pipe, image=GREY, mask_image=white, seed=None, generator=TorchGenerator(3))
    plain = pixels(pipe, latents=stream.draw((1, 4, 8, 8)))
    np.testing.assert_array_equal(painted, plain)


def test_a_mask_has_the_bundle_s_size_and_not_the_image_s(pipe: Pipeline) -> None:
    small = GREY.resize((48, 40))
    mask = Image.new("L", small.size, 255)
    assert pipe("red", image=small, mask_image=mask, **QUICK).images[0].size == (64, 64)


def test_known_pixels_are_those_of_the_decoder(pipe: Pipeline) -> None:
    even = Image.fromarray(np.full((64, 64, 3), (10, 90, 200), np.uint8))
    painted = pixels(pipe, image=even, mask_image=LEFT)[0]
    np.testing.assert_array_equal(painted[:, 24:], np.broadcast_to((10, 90, 200), (64, 40, 3)))


def test_seamless_leaves_known_pixels_exactly(pipe: Pipeline) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    painted = pixels(pipe, image=noise, mask_image=LEFT, overlay="seamless")[0]
    np.testing.assert_array_equal(painted[:, 24:], noise[:, 24:])
    assert abs(painted[:, :24] - noise[:, :24]).mean() > 20


def test_the_size_is_the_image_s_own(pipe: Pipeline) -> None:
    assert pipe("red", image=GREY.resize((101, 40)), **QUICK).images[0].size == (96, 40)
    resized = pipe("red", image=GREY, height=32, width=48, **QUICK).images[0]
    assert resized.size == (48, 32)


def test_each_prompt_may_have_its_own_image(pipe: Pipeline) -> None:
    both = [GREY, Image.new("RGB", (64, 64), "white")]
    images = pipe(["red", "red"], image=both, strength=0.1, **{**QUICK, "seed": [0, 0]}).images
    first, second = (np.asarray(image).mean() for image in images)
    assert second - first > 50


def test_a_path_is_an_image(pipe: Pipeline, tmp_path: Path) -> None:
    GREY.save(tmp_path / "grey.png")
    by_path = pixels(pipe, image=tmp_path / "grey.png")
    np.testing.assert_array_equal(by_path, pixels(pipe, image=GREY))


def test_a_picture_does_not_depend_on_what_shares_its_batch(pipe: Pipeline) -> None:
    both = pipe(["blue", "red"], image=GREY, mask_image=LEFT, **{**QUICK, "seed": [7, 0]}).images
    alone = pixels(pipe, image=GREY, mask_image=LEFT)[0]
    assert abs(np.asarray(both[1]).astype(int) - alone).max() <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": 0.5}, "strength is given without image"),
        ({"mask_image": LEFT}, "mask_image is given without image"),
        ({"image": GREY, "overlay": "seamless"}, "overlay is given without mask_image"),
        ({"image": GREY, "strength": 1.5}, "strength must be a finite number from 0 to 1, got 1.5"),
        (
            {"image": GREY, "strength": 0.05},
            "strength 0.05 of 10 steps leaves none; use more steps, or a strength of 0.1 or more",
        ),
        ({"image": GREY, "mask_image": LEFT.resize((8, 8))}, "mask_image is 8x8 pixels, but image"),
        ({"image": GREY, "latents": np.zeros((1, 4, 8, 8))}, "latents and image both say"),
        (
            {"image": GREY.resize((16, 16))},
            "height of image, unless given .*, must be a multiple of 8 from 32 to 128, got 16",
        ),
        ({"image": [GREY, GREY]}, "image has 2 entries, expected 1"),
    ],
)
def test_what_cannot_be_is_refused(pipe: Pipeline, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        pipe("red", **{**QUICK, **settings})
