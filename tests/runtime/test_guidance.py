import numpy as np
import pytest

from trt_pipeline import InvalidInputError
from trt_pipeline.pipelines.prompts import as_negatives
from trt_pipeline.sampling.guidance import guidance_scales, guide, guided_steps

RED = [("red", 1.0)]
BLUE = [("blue", 1.0)]


def test_unconditional_rows_come_first() -> None:
    guidance = guide([RED, BLUE], ["", ""], [6, 6])
    assert guidance.rows.tolist() == [0, 1, 0, 1]
    assert guidance.texts == ("", "", "red", "blue")
    assert guidance.matrix.tolist() == [[-5, 0, 6, 0], [0, -5, 0, 6]]


def test_scale_one_is_the_identity_with_half_the_rows() -> None:
    guidance = guide([RED, BLUE, RED], ["", "", ""], [1.0, 1.0, 1.0])
    assert guidance.rows.tolist() == [0, 1, 2]
    assert guidance.texts == ("red", "blue", "red")
    np.testing.assert_array_equal(guidance.matrix, np.eye(3))


def test_each_picture_may_have_its_own_scale() -> None:
    guidance = guide([RED, BLUE], ["", ""], [1, 3])
    assert guidance.rows.tolist() == [1, 0, 1]
    assert guidance.matrix.tolist() == [[0, 1, 0], [-2, 0, 3]]


def test_a_negative_prompt_stands_in_the_unconditional_row() -> None:
    assert guide([RED], ["blurred"], [6]).texts == ("blurred", "red")


def test_a_mixture_has_a_row_for_each_text() -> None:
    guidance = guide([[("red", 0.75), ("blue", 0.25)]], [""], [2])
    assert guidance.texts == ("", "red", "blue")
    assert guidance.matrix.tolist() == [[-1, 1.5, 0.5]]


@pytest.mark.parametrize("scale", [0, 0.5, -1, 7.5])
def test_any_other_scale_mixes_both_predictions(scale: float) -> None:
    unconditional, conditional = 2.0, 3.0
    mixed = guide([RED], [""], [scale]).matrix @ [unconditional, conditional]
    assert mixed == pytest.approx(unconditional + scale * (conditional - unconditional))


def test_the_arrays_have_the_graph_s_dtypes() -> None:
    guidance = guide([RED], [""], [6])
    assert guidance.rows.dtype == np.int32
    assert guidance.matrix.dtype == np.float32


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e7, "6", True, None])
def test_a_scale_that_is_no_sensible_number_is_refused(scale: object) -> None:
    with pytest.raises(InvalidInputError, match=r"guidance_scale must be a finite number .* got"):
        guidance_scales(scale, 1)


def test_a_numpy_number_is_one_scale_and_an_array_is_many() -> None:
    assert guidance_scales(np.array(6), 2) == [6, 6]
    assert guidance_scales(np.array([6, 1]), 2) == [6, 1]


def test_a_list_of_scales_has_one_for_each_picture() -> None:
    assert guidance_scales([1, 2.5], 2) == [1, 2.5]
    with pytest.raises(
        InvalidInputError, match="guidance_scale has 2 entries, expected 3, one a picture"
    ):
        guidance_scales([1, 2], 3)


def test_a_list_may_have_one_for_each_prompt() -> None:
    assert guidance_scales([1, 2], 4, copies=2) == [1, 1, 2, 2]
    assert as_negatives(["red", "blue"], 6, copies=3) == ["red"] * 3 + ["blue"] * 3
    with pytest.raises(InvalidInputError, match="expected 4, one a picture or 2, one a prompt"):
        guidance_scales([1, 2, 3], 4, copies=2)


def test_the_interval_is_a_part_of_the_steps() -> None:
    assert guided_steps((0.0, 1.0), 4) == [True] * 4
    assert guided_steps((0.25, 0.75), 4) == [False, True, True, False]
    assert guided_steps((0.5, 0.5), 4) == [False] * 4


@pytest.mark.parametrize("interval", [(0.5, 0.2), (0, 1.1), 0.5, (0, 0.5, 1), (float("nan"), 1)])
def test_an_interval_that_is_none_is_refused(interval: object) -> None:
    with pytest.raises(InvalidInputError, match="guidance_interval"):
        guided_steps(interval, 10)
