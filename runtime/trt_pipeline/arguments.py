"""Checks of single arguments; the error names the argument, its value and what is allowed."""

import math
import operator
import os
from collections.abc import Sequence
from typing import TypeGuard, TypeVar

from trt_pipeline.errors import InvalidInputError

T = TypeVar("T")

MAX_TEXT = 2**17
"""Characters; a text encoder reads some 77 words."""


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether an argument holds one value a picture; a NumPy array of no dimension does not."""
    return isinstance(value, list | tuple | range) or getattr(value, "ndim", 0) > 0


def quoted(value: object) -> str:
    """A value as errors quote it: short, even where Python refuses to write an integer out."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    try:
        return " ".join(f"{value!r:.80}".split())
    except ValueError:
        return "an integer of thousands of digits"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number and what it counts, such as 1 thread or 2 threads."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def text(name: str, value: object) -> str:
    """A string of valid Unicode, of at most MAX_TEXT characters."""
    if not isinstance(value, str):
        raise InvalidInputError(
            f"{name} must be a string, got {type(value).__name__} {quoted(value)}."
        )
    if len(value) > MAX_TEXT:
        raise InvalidInputError(
            f"{name} has {len(value)} characters, expected at most {MAX_TEXT}. Shorten it."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{name} holds {value[error.start]!r} at position {error.start}, half of a "
            "surrogate pair, which is not valid Unicode. Read the text with its true encoding."
        ) from None
    return value


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
        f"{name} has {counted(len(values), 'entry', 'entries')}, expected {count}, "
        f"one a picture{prompts}."
    )


def integer(name: str, value: object, low: int, high: int) -> int:
    """An int in low..high; NumPy integers count, bools and floats don't."""
    allowed = f"{name} must be an integer from {low} to {high}"
    if isinstance(value, bool):
        raise InvalidInputError(f"{allowed}, got {quoted(value)}.")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidInputError(f"{allowed}, got {quoted(value)}.") from None
    if not low <= number <= high:
        raise InvalidInputError(f"{allowed}, got {quoted(number)}.")
    return number


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in low..high; NumPy scalars count, bools and strings don't."""
    bounds = "" if math.isinf(low) else f" from {low:g} to {high:g}"
    allowed = f"{name} must be a finite number{bounds}"
    if isinstance(value, bool | str | bytes):
        raise InvalidInputError(f"{allowed}, got {quoted(value)}.")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError(f"{allowed}, got {quoted(value)}.") from None
    if not (math.isfinite(number) and low <= number <= high):
        raise InvalidInputError(f"{allowed}, got {number:g}.")
    return number


def interval(name: str, value: object, low: float, high: float) -> tuple[float, float]:
    """Two finite numbers (start, stop) in low..high, of which the second is not smaller."""
    if not is_list(value) or len(value) != 2:
        raise InvalidInputError(
            f"{name} must be (start, stop) within {low:g}..{high:g}, got {quoted(value)}."
        )
    start, stop = (real(name, end, low, high) for end in value)
    if start > stop:
        raise InvalidInputError(
            f"{name} must not stop before it starts, got {start:g} to {stop:g}."
        )
    return start, stop


def pair(name: str, value: object, low: int, high: int) -> tuple[int, int]:
    """Two integers in low..high."""
    if not is_list(value) or len(value) != 2:
        raise InvalidInputError(
            f"{name} must be two integers from {low} to {high}, got {quoted(value)}."
        )
    first, second = (integer(name, one, low, high) for one in value)
    return first, second
