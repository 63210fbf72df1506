"""Questions to the names and shapes of weights, of which nothing is certain."""

import re

from trt_export.checkpoint.files.tensors import Shapes


def shape_of(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    """A weight's shape; ValueError if it is missing or has another number of dimensions."""
    if name not in shapes:
        raise ValueError(f"it has no {name}")
    if len(shapes[name]) != dimensions:
        raise ValueError(f"{name} has shape {shapes[name]}, expected {dimensions} dimensions")
    return shapes[name]


def numbers_in(shapes: Shapes, pattern: str) -> list[int]:
    """The numbers that a pattern's group finds in names; ValueError if one is left out."""
    compiled = re.compile(pattern)
    found = sorted({int(match[1]) for match in map(compiled.fullmatch, shapes) if match})
    if found != [*range(len(found))]:
        place = pattern.partition("(")[0].replace("\\", "")
        raise ValueError(
            f"the weights {place}* are numbered {found[:8]}, expected every number from 0"
        )
    return found


def below(prefix: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The shapes whose names begin so, without the prefix."""
    return {
        name.removeprefix(prefix): shape
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }
