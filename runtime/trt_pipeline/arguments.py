"""Checks of single arguments; the error names the argument, its value and what is allowed."""

import math
import operator
from collections.abc import Sequence
from typing import TypeGuard, TypeVar

from trt_pipeline.errors import InvalidInputError

T = TypeVar("T")


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether an argument holds one value a picture; a NumPy array of no dimension does not."""
    return isinstance(value, list | tuple | range) or getattr(value, "ndim", 0) > 0


def shown(value: object) -> str:
    """A value as errors quote it: short, even where Python refuses to write an integer out."""
    try:
        return f"{value!r:.80}"
    except ValueError:
        return "an integer of thousands of digits"


def per_picture(name: str, values: Sequence[T], count: int, copies: int) -> list[T]:
    """One value for each of `count` pictures, of a list with one a picture or one a prompt.

    copies: pictures of each prompt, which follow each other.
    """
    if len(values) == count:
        return list(values)
    if len(values) * copies == count:
        return [value for value in values for _ in range(copies)]
    prompts = f" or {count // copies}, one a prompt" if copies > 1 else ""
    raise InvalidInputError(
        f"{name} has {len(values)} entries, expected {count}, one a picture{prompts}."
    )


def integer(name: str, value: object, low: int, high: int) -> int:
    """An int in low..high; NumPy integers count, bools and floats don't."""
    allowed = f"{name} must be an integer from {low} to {high}"
    if isinstance(value, bool):
        raise InvalidInputError(f"{allowed}, got {shown(value)}.")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidInputError(f"{allowed}, got {shown(value)}.") from None
    if not low <= number <= high:
        raise InvalidInputError(f"{allowed}, got {shown(number)}.")
    return number


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in low..high; NumPy scalars count, bools and strings don't."""
    bounds = "" if math.isinf(low) else f" from {low:g} to {high:g}"
    allowed = f"{name} must be a finite number{bounds}"
    if isinstance(value, bool | str | bytes):
        raise InvalidInputError(f"{allowed}, got {shown(value)}.")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError(f"{allowed}, got {shown(value)}.") from None
    if not (math.isfinite(number) and low <= number <= high):
        raise InvalidInputError(f"{allowed}, got {number:g}.")
    return number
