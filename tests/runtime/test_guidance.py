from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import Bundle, InvalidInputError, Request
from trt_pipeline.pipelines.checks import check
from trt_pipeline.sampling.guidance import guide, guided_steps
from trt_pipeline.sampling.samples import Rows, join
from trt_pipeline.text.prompts import Mixture, as_negatives

RED = [("red", 1.0)]
BLUE = [("blue", 1.0)]


def rows(*guided: Mixture) -> Mapping[str, NDArray[Any]]:
    """The rows of samples in one denoiser call."""
    weights = [np.array([weight for _, weight in one], np.float32) for one in guided]
    parts = [Rows(one, {}, np.empty((1, len(one), 0))) for one in weights]
    return join(tuple(parts)).tensors


def test_the_unconditional_row_comes_first() -> None:
    assert guide(RED, "", 6) == [("", -5), ("red", 6)]


def test_the_rows_of_a_sample_lie_side_by_side() -> None:
    tensors = rows(guide(RED, "", 6), guide(BLUE, "", 6))
    assert tensors["rows"].tolist() == [0, 0, 1, 1]
    assert tensors["guidance"].tolist() == [[-5, 6, 0, 0], [0, 0, -5, 6]]


def test_scale_one_is_the_identity_with_half_the_rows() -> None:
    assert guide(RED, "", 1.0) == [("red", 1.0)]
    tensors = rows(guide(RED, "", 1.0), guide(BLUE, "", 1.0), guide(RED, "", 1.0))
    assert tensors["rows"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(tensors["guidance"], np.eye(3))


def test_each_picture_may_have_its_own_scale() -> None:
    tensors = rows(guide(RED, "", 1), guide(BLUE, "", 3))
    assert tensors["rows"].tolist() == [0, 1, 1]
    assert tensors["guidance"].tolist() == [[1, 0, 0], [0, -2, 3]]


def test_a_negative_prompt_stands_in_the_unconditional_row() -> None:
    assert guide(RED, "blurred", 6) == [("blurred", -5), ("red", 6)]


def test_a_mixture_has_a_row_for_each_text() -> None:
    mixture = [("red", 0.75), ("blue", 0.25)]
    assert guide(mixture, "", 2) == [("", -1), ("red", 1.5), ("blue", 0.5)]


@pytest.mark.parametrize("scale", [0, 0.5, -1, 7.5])
def test_any_other_scale_mixes_both_predictions(scale: float) -> None:
    predictions = {"": 2.0, "red": 3.0}
    mixed = sum(weight * predictions[text] for text, weight in guide(RED, "", scale))
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
