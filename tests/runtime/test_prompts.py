from typing import Any

import pytest

from trt_pipeline import InvalidInputError
from trt_pipeline.text.prompts import as_mixtures, as_negatives

MIXTURE = [("a red circle", 0.6), ("a blue circle", 0.4)]


def test_a_string_is_one_picture() -> None:
    assert as_mixtures("red") == [[("red", 1.0)]]


def test_a_list_has_a_picture_for_each_string() -> None:
    assert as_mixtures(["red", "blue"]) == [[("red", 1.0)], [("blue", 1.0)]]


def test_a_mixture_is_one_picture() -> None:
    assert as_mixtures(MIXTURE) == [MIXTURE]


def test_a_list_may_hold_strings_and_mixtures() -> None:
    assert as_mixtures(["red", MIXTURE]) == [[("red", 1.0)], MIXTURE]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "prompt is an empty list"),
        ((), "prompt is an empty list"),
        (7, "prompt must be a string or a list of strings, got int"),
        (None, "prompt must be a string or a list of strings, got NoneType"),
        ({"a"}, "prompt must be a string or a list of strings, got set"),
        (["red", 7], "prompt 1 must be a string, got int 7"),
        (["red", b"blue"], "prompt 1 must be a string, got bytes"),
        ([("red", 0.6), ("blue", 0.6)], r"prompt 0: its weights sum to 1.2, expected 1"),
        ([("red", 0.5), ("blue", float("nan"))], "prompt 0: weight must be a finite number"),
        (["red", [("blue", True)]], "prompt 1: weight must be a finite number from .*, got True"),
        ("bad \ud800", r"prompt 0 holds '\\ud800' at position 4, half of a surrogate pair"),
        ([("bad \ud800", 1.0)], r"prompt 0 holds '\\ud800' at position 4"),
    ],
)
def test_what_is_no_prompt_is_named(prompt: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        as_mixtures(prompt)


def test_a_negative_prompt_is_for_every_picture() -> None:
    assert as_negatives("blurred", 2) == ["blurred", "blurred"]
    assert as_negatives("", 2) == ["", ""]
    assert as_negatives(["blurred", ""], 2) == ["blurred", ""]


def test_a_negative_prompt_that_is_not_given_is_not_the_empty_text() -> None:
    assert as_negatives(None, 2) == [None, None]
    assert as_negatives([None, ""], 2) == [None, ""]


@pytest.mark.parametrize("negative", [["one"], 7, [1, 2]])
def test_negative_prompts_that_do_not_fit_are_refused(negative: Any) -> None:
    with pytest.raises(InvalidInputError, match="negative_prompt"):
        as_negatives(negative, 2)
