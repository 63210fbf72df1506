"""Checks of single arguments; the error names the argument, its value and what is allowed."""

import math
import operator
from collections.abc import Sequence
from typing import TypeGuard

from trt_pipeline.errors import InvalidInputError


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether an argument holds one value a picture; a NumPy array of no dimension does not."""
    return isinstance(value, list | tuple | range) or getattr(value, "ndim", 0) > 0


def shown(value: object) -> str:
    """A value as errors quote it: short, even where Python refuses to write an integer out."""
    try:
        return f"{value!r:.80}"
    except ValueError:
        return "an integer of thousands of digits"


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
