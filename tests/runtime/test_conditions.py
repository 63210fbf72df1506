"""What a call needs and may say for models that see an image: those that change or repaint one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trt_pipeline import Bundle, InvalidInputError, Request
from trt_pipeline.bundle.manifest import Condition
from trt_pipeline.pipelines.checks import Call, check

IMAGE = Image.new("RGB", (64, 48))
MASK = Image.new("L", (64, 48), 255)


def checked(bundle: Bundle, condition: Condition | None, **settings: Any) -> Call:
    """What a request asks of a bundle with this condition."""
    model = replace(bundle.model, condition=condition)
    return check(replace(bundle, model=model), Request("red", **settings))


@pytest.mark.parametrize(
    ("condition", "settings", "message"),
    [
        ("image", {}, "image is missing; this model changes one as the prompt says"),
        ("image", {"image": IMAGE, "strength": 0.5}, "strength is 0.5, but this model changes all"),
        ("image", {"image": IMAGE, "mask_image": MASK}, "mask_image is .*, but this model changes"),
        ("masked_image", {}, "image is missing; this model paints a part of image again"),
        ("masked_image", {"image": IMAGE}, "mask_image is missing; this model paints a part"),
        ("masked_image", {"mask_image": MASK}, "image is missing"),
        (None, {"image_guidance_scale": 2}, "image_guidance_scale is 2, but this model is not one"),
        ("image", {"image": IMAGE, "image_guidance_scale": "2"}, "image_guidance_scale must be"),
        ("image", {"image": IMAGE, "image_guidance_scale": [1, 2]}, "has 2 entries, expected 1"),
        (
            "masked_image",
            {"image": IMAGE, "mask_image": MASK, "strength": 0.8, "latents": np.ones((1, 4, 8, 8))},
            "latents and image both say",
        ),
    ],
)
def test_what_a_condition_needs_is_said(
    bundle: Bundle, condition: Condition | None, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        checked(bundle, condition, **settings)


def test_a_changed_image_gives_the_size_and_a_masked_one_does_not(bundle: Bundle) -> None:
    assert checked(bundle, "image", image=IMAGE).shape == (4, 6, 8)
    assert checked(bundle, "masked_image", image=IMAGE, mask_image=MASK).shape == (4, 8, 8)


def test_an_image_that_is_changed_skips_no_step(bundle: Bundle) -> None:
    call = checked(bundle, "image", image=IMAGE, num_inference_steps=10)
    assert (len(call.table.timesteps), call.from_noise) == (10, True)


def test_each_picture_may_have_its_own_image_guidance_scale(bundle: Bundle) -> None:
    settings = {"image": IMAGE, "num_images_per_prompt": 2}
    own = checked(bundle, "image", image_guidance_scale=[1, 2.5], **settings).pictures
    assert [picture.image_scale for picture in own] == [1, 2.5]
    usual = checked(bundle, "image", **settings).pictures
    assert [picture.image_scale for picture in usual] == [1.5, 1.5]


def test_pictures_of_one_image_share_its_pixels(bundle: Bundle) -> None:
    first, second = checked(bundle, None, image=[IMAGE], num_images_per_prompt=2).pictures
    assert first.image is second.image
