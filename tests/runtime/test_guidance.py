from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import Bundle, InvalidInputError, Request
from trt_pipeline.pipelines.checks import check
from trt_pipeline.sampling.guidance import GuidedRow, guide, guided_steps, guides, unguided
from trt_pipeline.sampling.samples import Rows, join
from trt_pipeline.text.prompts import as_negatives

RED = [("red", 1.0)]
BLUE = [("blue", 1.0)]


def rows(*guided: Sequence[GuidedRow]) -> Mapping[str, NDArray[Any]]:
    """The rows of samples in one denoiser call."""
    weights = [np.array([row.weight for row in one], np.float32) for one in guided]
    parts = [Rows(one, {}, np.empty((1, len(one), 0))) for one in weights]
    return join(tuple(parts)).tensors


def weighted(seen: Sequence[GuidedRow]) -> list[tuple[str | None, float]]:
    return [(row.text, row.weight) for row in seen]


def test_the_unconditional_row_comes_first() -> None:
    assert weighted(guide(RED, "", 6)) == [("", -5), ("red", 6)]


def test_the_rows_of_a_sample_lie_side_by_side() -> None:
    tensors = rows(guide(RED, "", 6), guide(BLUE, "", 6))
    assert tensors["rows"].tolist() == [0, 0, 1, 1]
    assert tensors["guidance"].tolist() == [[-5, 6, 0, 0], [0, 0, -5, 6]]


def test_without_guidance_there_are_half_the_rows() -> None:
    tensors = rows(unguided(RED), unguided(BLUE), unguided(RED))
    assert tensors["rows"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(tensors["guidance"], np.eye(3))


def test_each_picture_may_have_its_own_scale() -> None:
    tensors = rows(unguided(RED), guide(BLUE, "", 3))
    assert tensors["rows"].tolist() == [0, 1, 1]
    assert tensors["guidance"].tolist() == [[1, 0, 0], [0, -2, 3]]


def test_a_negative_prompt_stands_in_the_unconditional_row() -> None:
    assert weighted(guide(RED, "blurred", 6)) == [("blurred", -5), ("red", 6)]


def test_a_negative_prompt_that_is_not_given_is_not_the_empty_text() -> None:
    assert weighted(guide(RED, None, 6)) == [(None, -5), ("red", 6)]


def test_a_mixture_has_a_row_for_each_text() -> None:
    mixture = [("red", 0.75), ("blue", 0.25)]
    assert weighted(guide(mixture, "", 2)) == [("", -1), ("red", 1.5), ("blue", 0.5)]


def test_a_changed_image_has_three_rows_of_which_the_first_does_not_see_it() -> None:
    assert guide(RED, "dark", 7, 1.5) == [
        ("dark", -0.5, False),
        ("dark", -5.5, True),
        ("red", 7, True),
    ]


def test_three_rows_are_guided_by_the_image_and_by_the_prompt() -> None:
    u, i, c = 2.0, 5.0, 11.0
    mixed = sum(
        row.weight * seen for row, seen in zip(guide(RED, "", 7, 1.5), (u, i, c), strict=True)
    )
    assert mixed == pytest.approx(u + 1.5 * (i - u) + 7 * (c - i))


@pytest.mark.parametrize(
    ("scale", "image_scale", "above_1_only", "guided"),
    [
        (1.0, None, False, False),
        (0.5, None, False, True),
        (-1.0, None, False, True),
        (1.0, None, True, False),
        (0.5, None, True, False),
        (1.01, None, True, True),
        (7.0, 1.0, True, True),
        (7.0, 0.99, True, False),
        (1.0, 1.5, True, False),
    ],
)
def test_which_scales_guide(
    scale: float, image_scale: float | None, above_1_only: bool, guided: bool
) -> None:
    assert guides(scale, image_scale, above_1_only=above_1_only) == guided


@pytest.mark.parametrize("scale", [0, 0.5, -1, 7.5])
def test_any_other_scale_mixes_both_predictions(scale: float) -> None:
    predictions: dict[str | None, float] = {"": 2.0, "red": 3.0}
    mixed = sum(row.weight * predictions[row.text] for row in guide(RED, "", scale))
    assert mixed == pytest.approx(2.0 + scale * (3.0 - 2.0))


def test_the_arrays_have_the_graph_s_dtypes() -> None:
    tensors = rows(guide(RED, "", 6))
    assert tensors["rows"].dtype == np.int32
    assert tensors["guidance"].dtype == np.float32


def scales(bundle: Bundle, given: Any, prompts: int = 1, copies: int = 1) -> list[float]:
    """The guidance scale of each picture that a request asks for."""
    request = Request(["red"] * prompts, guidance_scale=given, num_images_per_prompt=copies)
    return [picture.scale for picture in check(bundle, request).pictures]


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e7, "6", True])
def test_a_scale_that_is_not_a_sensible_number_is_refused(bundle: Bundle, scale: object) -> None:
    with pytest.raises(InvalidInputError, match=r"guidance_scale must be a finite number .* got"):
        scales(bundle, scale)


def test_without_a_scale_the_bundle_has_its_own(bundle: Bundle) -> None:
    guided = replace(bundle, defaults=replace(bundle.defaults, guidance_scale=5.0))
    assert scales(guided, None) == [5]
    assert scales(guided, [None, 2], 2) == [5, 2]


def test_a_numpy_number_is_one_scale_and_an_array_is_many(bundle: Bundle) -> None:
    assert scales(bundle, np.array(6), 2) == [6, 6]
    assert scales(bundle, np.array([6, 1]), 2) == [6, 1]


def test_a_list_of_scales_has_one_for_each_picture(bundle: Bundle) -> None:
    assert scales(bundle, [1, 2.5], 2) == [1, 2.5]
    with pytest.raises(
        InvalidInputError, match="guidance_scale has 2 entries, expected 3, one a picture"
    ):
        scales(bundle, [1, 2], 3)


def test_a_list_may_have_one_for_each_prompt(bundle: Bundle) -> None:
    assert scales(bundle, [1, 2], 2, copies=2) == [1, 1, 2, 2]
    assert as_negatives(["red", "blue"], 6, copies=3) == ["red"] * 3 + ["blue"] * 3
    with pytest.raises(InvalidInputError, match="expected 4, one a picture or 2, one a prompt"):
        scales(bundle, [1, 2, 3], 2, copies=2)


def test_the_interval_is_a_part_of_the_steps() -> None:
    assert guided_steps((0.0, 1.0), 4) == (True, True, True, True)
    assert guided_steps((0.25, 0.75), 4) == (False, True, True, False)
    assert guided_steps((0.5, 0.5), 4) == (False, False, False, False)


@pytest.mark.parametrize("interval", [(0.5, 0.2), (0, 1.1), 0.5, (0, 0.5, 1), (float("nan"), 1)])
def test_an_interval_that_is_not_one_is_refused(bundle: Bundle, interval: Any) -> None:
    with pytest.raises(InvalidInputError, match="guidance_interval"):
        check(bundle, Request("red", guidance_interval=interval))
