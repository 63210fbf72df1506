import numpy as np
import pytest

from trt_pipeline import InvalidInputError
from trt_pipeline.guidance import guide


def test_unconditional_rows_come_first() -> None:
    guidance = guide(2, 6)
    assert guidance.rows.tolist() == [0, 1, 0, 1]
    assert guidance.conditional.tolist() == [False, False, True, True]
    assert guidance.matrix.tolist() == [[-5, 0, 6, 0], [0, -5, 0, 6]]


def test_scale_one_is_the_identity_with_half_the_rows() -> None:
    guidance = guide(3, 1.0)
    assert guidance.rows.tolist() == [0, 1, 2]
    assert guidance.conditional.all()
    np.testing.assert_array_equal(guidance.matrix, np.eye(3))


@pytest.mark.parametrize("scale", [0, 0.5, -1, 7.5])
def test_any_other_scale_mixes_both_predictions(scale: float) -> None:
    unconditional, conditional = 2.0, 3.0
    mixed = guide(1, scale).matrix @ [unconditional, conditional]
    assert mixed == pytest.approx(unconditional + scale * (conditional - unconditional))


def test_the_arrays_have_the_graph_s_dtypes() -> None:
    guidance = guide(1, 6)
    assert guidance.rows.dtype == np.int32
    assert guidance.matrix.dtype == np.float32


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e7, "6", True, None])
def test_a_scale_that_is_no_sensible_number_is_refused(scale: float) -> None:
    with pytest.raises(InvalidInputError, match=r"guidance_scale must be a finite number .* got"):
        guide(1, scale)
