"""Scenes say what they draw and draw what they say."""

import numpy as np
import pytest

from trt_export.shapes.model import VOCABULARY
from trt_export.shapes.scenes import (
    ALL_PAIRS,
    COLORS,
    HELD_OUT,
    RADII,
    SHAPES,
    Scene,
    Shape,
    random_double,
    random_scene,
    random_single,
    shape_mask,
)

CIRCLE = Shape("circle", "red", "large", x=20, y=16, radius=14)
SQUARE = Shape("square", "orange", "medium", x=24, y=46, radius=11)


def test_the_plainest_caption_names_color_and_shape_only() -> None:
    circle = Shape("circle", "red", "medium", x=30, y=30, radius=11)
    assert Scene((circle,), "white").caption() == "a red circle"


def test_a_caption_names_sizes_relation_and_background() -> None:
    scene = Scene((CIRCLE, SQUARE), "striped", relation="above", names_background=True)
    assert scene.caption() == "a large red circle above an orange square on a striped background"


def test_a_caption_without_relation_lists_the_shapes() -> None:
    assert Scene((CIRCLE, SQUARE), "white").caption() == "a large red circle and an orange square"


def test_a_corner_is_named_as_one() -> None:
    scene = Scene((CIRCLE,), "white", position="top left")
    assert scene.caption() == "a large red circle in the top left corner"


def test_a_picture_has_the_shape_on_the_background() -> None:
    picture = Scene((CIRCLE,), "beige").draw()
    assert picture.shape == (64, 64, 3)
    assert picture[16, 20].tolist() == [215, 35, 40]
    assert picture[60, 60].tolist() == [240, 225, 195]


def test_edges_are_smooth() -> None:
    mask = shape_mask("circle", 32, 32, 10)
    assert np.count_nonzero((mask > 0.1) & (mask < 0.9)) > 20


def test_a_ring_has_a_hole() -> None:
    assert shape_mask("ring", 32, 32, 10)[32, 32] == 0
    assert shape_mask("circle", 32, 32, 10)[32, 32] == 1


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_stays_within_its_box(name: str) -> None:
    rows, columns = np.nonzero(shape_mask(name, 32, 32, 12) > 0.05)
    assert rows.min() >= 19
    assert rows.max() <= 44
    assert columns.min() >= 19
    assert columns.max() <= 44


def test_the_same_seed_draws_the_same_scenes() -> None:
    first, second = (random_scene(np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert np.array_equal(first.draw(), second.draw())


def test_held_out_pairs_leave_every_color_and_shape_in_seven_others() -> None:
    assert len(HELD_OUT) == 8
    assert {color for color, _ in HELD_OUT} == set(COLORS)
    assert {shape for _, shape in HELD_OUT} == set(SHAPES)


def test_training_scenes_show_every_pair_but_those_held_out() -> None:
    rng = np.random.default_rng(0)
    scenes = [random_scene(rng) for _ in range(2000)]
    pairs = {(shape.color, shape.name) for scene in scenes for shape in scene.shapes}
    assert pairs == set(ALL_PAIRS) - HELD_OUT


def test_related_shapes_lie_as_said_and_do_not_touch() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        scene = random_double(rng)
        first, second = scene.shapes
        reach = first.radius + second.radius
        apart = {
            "above": second.y - first.y,
            "below": first.y - second.y,
            "left of": second.x - first.x,
            "right of": first.x - second.x,
            None: max(abs(second.x - first.x), abs(second.y - first.y)),
        }
        assert apart[scene.relation] > reach


def test_shapes_stay_within_the_picture() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        for shape in random_scene(rng).shapes:
            assert shape.radius < shape.x < 64 - shape.radius
            assert shape.radius < shape.y < 64 - shape.radius


def test_a_size_in_words_is_a_range_of_radii() -> None:
    rng = np.random.default_rng(3)
    for _ in range(100):
        (shape,) = random_single(rng).shapes
        smallest, largest = RADII[shape.size]
        assert smallest <= shape.radius <= largest


def test_every_word_of_the_captions_is_in_the_vocabulary() -> None:
    known = set(VOCABULARY.read_text(encoding="utf-8").split("\n"))
    rng = np.random.default_rng(4)
    words = {word for _ in range(5000) for word in random_scene(rng).caption(rng).split()}
    assert words - known == set()
