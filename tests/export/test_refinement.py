"""The refinement stage tells right pictures from wrong ones, and learns from both."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from tests.export.test_train import TINY
from trt_export.shapes.model import build_scheduler, build_unet
from trt_export.shapes.reader import read_scene, redrawn
from trt_export.shapes.refinement import Paintings, is_right, random_prompts, refinement_loss
from trt_export.shapes.scenes import HELD_OUT, Scene, Shape

CIRCLE = Shape("circle", "red", "large", x=30, y=16, radius=14)
SQUARE = Shape("square", "blue", "small", x=34, y=46, radius=8)
ABOVE = Scene((CIRCLE, SQUARE), "white", relation="above")


def paintings(right: list[bool]) -> Paintings:
    count = len(right)
    generator = torch.Generator().manual_seed(0)
    return Paintings(
        latents=torch.randn((count, 4, 8, 8), generator=generator),
        states=torch.randn((count, 77, TINY.text_width), generator=generator),
        guidance_scales=torch.linspace(1, 3, count)[:, None, None, None],
        right=torch.tensor(right),
    )


def test_a_drawn_scene_is_right() -> None:
    assert is_right(ABOVE, ABOVE.draw())


def test_another_relation_is_wrong() -> None:
    assert not is_right(replace(ABOVE, relation="below"), ABOVE.draw())


def test_a_named_background_must_be_there() -> None:
    assert not is_right(replace(ABOVE, background="gray", names_background=True), ABOVE.draw())


def test_a_shape_too_pale_to_be_read_makes_a_picture_wrong() -> None:
    picture = ABOVE.draw()
    picture[30:62, 2:22, 1] -= 60
    assert len(read_scene(picture).shapes) == 2
    assert not is_right(ABOVE, picture)


def test_a_reading_of_a_drawn_scene_redraws_it() -> None:
    picture = ABOVE.draw()
    error = np.square(picture - redrawn(read_scene(picture))).mean() ** 0.5
    assert error < 5


def test_a_form_without_a_name_cannot_be_redrawn() -> None:
    picture = np.full((64, 64, 3), 250, np.uint8)
    picture[30:33, 4:60] = (215, 35, 40)
    with pytest.raises(ValueError, match="not a known shape"):
        redrawn(read_scene(picture))


def test_prompts_never_name_a_held_out_combination() -> None:
    scenes = random_prompts(np.random.default_rng(0), 300)
    named = {(shape.color, shape.name) for scene in scenes for shape in scene.shapes}
    assert len(named) == 64 - len(HELD_OUT)
    assert not named & HELD_OUT


def test_as_many_right_as_wrong_pictures_are_kept() -> None:
    kept = paintings([True] * 7 + [False] * 3).balanced(torch.Generator().manual_seed(0))
    assert kept.right.tolist() == [True] * 3 + [False] * 3
    assert kept.latents.shape == (6, 4, 8, 8)


def test_pictures_that_are_all_right_leave_nothing_to_learn() -> None:
    assert len(paintings([True] * 4).balanced(torch.Generator()).right) == 0


@pytest.mark.parametrize("right", [True, False])
def test_the_prediction_moves_towards_right_pictures_and_away_from_wrong_ones(right: bool) -> None:
    torch.manual_seed(0)
    former = build_unet(TINY)
    for parameter in former.parameters():  # its branches start at zero
        torch.nn.init.normal_(parameter, std=0.05)
    unet = copy.deepcopy(former)
    pictures = paintings([right] * 4)

    def loss_of(unet: UNet2DConditionModel, paintings: Paintings) -> Tensor:
        no_text = torch.zeros(1, 77, TINY.text_width)
        generator = torch.Generator().manual_seed(0)
        alphas_cumprod = build_scheduler().alphas_cumprod
        return refinement_loss(unet, former, paintings, no_text, alphas_cumprod, generator)

    optimizer = torch.optim.SGD(unet.parameters(), lr=1e-4)
    loss = loss_of(unet, pictures)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    with torch.no_grad():  # of right pictures, the loss is the distance from their own noise
        distance_before = loss_of(former, paintings([True] * 4)).item()
        distance_after = loss_of(unet, paintings([True] * 4)).item()
    assert (distance_after < distance_before) == right
