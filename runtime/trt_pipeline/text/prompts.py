"""Prompts as users give them: a string, a list, weighted mixtures."""

from collections.abc import Sequence
from typing import TypeAlias, TypeGuard

from trt_pipeline import arguments
from trt_pipeline.errors import InvalidInputError

Mixture: TypeAlias = Sequence[tuple[str, float]]
"""Texts with the weights of their predictions; the weights sum to 1."""
Prompt: TypeAlias = str | Mixture

SUM_TOLERANCE = 1e-6
MAX_WEIGHT = 1e6
"""Largest weight either way; far beyond any use, well within float32."""


def as_mixtures(prompt: object) -> list[Mixture]:
    """One mixture for each picture, of a `prompt` argument: a prompt or a list of prompts.

    A prompt is a string or a mixture such as [("a red circle", 0.6), ("a blue circle", 0.4)].
    InvalidInputError names the prompt that is neither, or whose weights don't sum to 1.
    """
    if isinstance(prompt, str) or (_is_pairs(prompt) and prompt):
        return [_as_mixture(0, prompt)]
    if not isinstance(prompt, list | tuple):
        raise InvalidInputError(
            f"prompt must be a string or a list of strings, got {type(prompt).__name__}."
        )
    if not prompt:
        raise InvalidInputError("prompt is an empty list, expected at least one string.")
    return [_as_mixture(index, one) for index, one in enumerate(prompt)]


def as_negatives(negative_prompt: object, count: int, copies: int = 1) -> list[str | None]:
    """One negative prompt for each of `count` pictures; None where it is not given.

    copies: pictures of each prompt, for a list with one a prompt.
    """
    if negative_prompt is None:
        return [None] * count
    if isinstance(negative_prompt, str):
        return [arguments.text("negative_prompt", negative_prompt)] * count
    if not isinstance(negative_prompt, list | tuple):
        raise InvalidInputError(
            "negative_prompt must be a string or a list of strings, "
            f"got {arguments.quoted(negative_prompt)}."
        )
    texts = [
        None if one is None else arguments.text(f"negative_prompt {i}", one)
        for i, one in enumerate(negative_prompt)
    ]
    return arguments.per_picture("negative_prompt", texts, count, copies)


def _as_mixture(index: int, prompt: object) -> Mixture:
    if isinstance(prompt, list | tuple) and not _is_pairs(prompt):
        raise InvalidInputError(
            f"prompt {index} must be a string or a mixture, a list of tuples of a text and its "
            f"weight, got {arguments.quoted(prompt)}."
        )
    if not _is_pairs(prompt):
        return [(arguments.text(f"prompt {index}", prompt), 1.0)]
    mixture = [
        (
            arguments.text(f"prompt {index}", text),
            arguments.real(f"prompt {index}: weight", weight, -MAX_WEIGHT, MAX_WEIGHT),
        )
        for text, weight in prompt
    ]
    total = sum(weight for _, weight in mixture)
    if abs(total - 1) > SUM_TOLERANCE:
        raise InvalidInputError(f"prompt {index}: its weights sum to {total:g}, expected 1.")
    return mixture


def _is_pairs(prompt: object) -> TypeGuard[Sequence[tuple[object, object]]]:
    return isinstance(prompt, list | tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and not isinstance(pair[1], str)
        for pair in prompt
    )
