"""The reader finds in a picture what was drawn, and judges no better than it is."""

from itertools import pairwise

import numpy as np
import pytest
from prompt_accuracy import drawn, random_cases, tally

from trt_export.shapes.judge import judge
from trt_export.shapes.reader import read_scene
from trt_export.shapes.scenes import BACKGROUNDS, COLORS, SHAPES, Scene, Shape

CIRCLE = Shape("circle", "red", "large", x=30, y=16, radius=14)
SQUARE = Shape("square", "blue", "small", x=34, y=46, radius=8)
ABOVE = Scene((CIRCLE, SQUARE), "white", relation="above")


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("color", COLORS)
def test_a_small_shape_is_recognized(name: str, color: str) -> None:
    scene = Scene((Shape(name, color, "small", x=20.3, y=40.6, radius=7.1),), "dotted")
    (shape,) = read_scene(scene.draw()).shapes
    assert (shape.name, shape.color, shape.size) == (name, color, "small")


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_background_is_recognized(background: str) -> None:
    assert read_scene(Scene((CIRCLE,), background).draw()).background == background


def test_an_empty_picture_shows_nothing() -> None:
    assert read_scene(np.full((64, 64, 3), 250, np.uint8)).shapes == ()


def test_touching_shapes_of_two_colors_are_two() -> None:
    touching = Shape("square", "blue", "medium", x=30, y=37, radius=11)
    found = read_scene(Scene((CIRCLE, touching), "white").draw()).shapes
    assert sorted((shape.color, shape.name) for shape in found) == [
        ("blue", "square"),
        ("red", "circle"),
    ]


def test_a_form_that_no_template_fits_has_no_name() -> None:
    picture = np.full((64, 64, 3), 250, np.uint8)
    picture[30:33, 4:60] = COLORS["red"]
    (shape,) = read_scene(picture).shapes
    assert shape.name is None


def test_a_picture_of_its_own_scene_is_right() -> None:
    assert judge(ABOVE, read_scene(ABOVE.draw()))["right"]


def test_a_picture_of_the_opposite_relation_is_wrong() -> None:
    verdict = judge(Scene((CIRCLE, SQUARE), "white", relation="below"), read_scene(ABOVE.draw()))
    assert not verdict["relation"]
    assert not verdict["right"]


def test_swapped_colors_are_wrong() -> None:
    swapped = Scene(
        (
            Shape("circle", "blue", "large", x=30, y=16, radius=14),
            Shape("square", "red", "small", x=34, y=46, radius=8),
        ),
        "white",
        relation="above",
    )
    assert not judge(swapped, read_scene(ABOVE.draw()))["right"]


def test_a_missing_shape_is_wrong() -> None:
    picture = Scene((CIRCLE,), "white").draw()
    assert judge(ABOVE, read_scene(picture)) == {"number of shapes": False, "right": False}


def test_another_size_is_noted_but_not_wrong() -> None:
    small = Scene((Shape("circle", "red", "small", x=30, y=30, radius=8),), "white")
    verdict = judge(Scene((CIRCLE,), "white"), read_scene(small.draw()))
    assert not verdict["sizes"]
    assert verdict["right"]


def test_ninety_nine_of_a_hundred_drawn_scenes_are_read_right() -> None:
    cases = random_cases(200, seed=11)
    report = tally(cases, drawn(cases))
    assert report["right"]["single"]["right"] + report["right"]["double"]["right"] >= 198


def test_pictures_of_other_prompts_are_mostly_wrong() -> None:
    cases = random_cases(101, seed=12)
    report = tally(cases[1:], drawn([first for first, _ in pairwise(cases)]))
    assert report["right"]["single"]["right"] + report["right"]["double"]["right"] <= 5
