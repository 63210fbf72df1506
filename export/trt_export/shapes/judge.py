"""Judge: says what of a scene's caption a picture shows, as the reader reads it."""

from collections.abc import Sequence

from trt_export.shapes.reader import Reading, SeenShape
from trt_export.shapes.scenes import SIDE, Scene, Shape


def judge(scene: Scene, reading: Reading) -> dict[str, bool]:
    """Which of the things that the scene's caption says are right.

    "right" is the verdict: the number of shapes, their colours and forms, and their relation.
    """
    verdict = {"number of shapes": len(reading.shapes) == len(scene.shapes)}
    if not verdict["number of shapes"]:
        return verdict | {"right": False}
    seen = _matched(scene.shapes, reading.shapes)
    for number, (wanted, found) in enumerate(zip(scene.shapes, seen, strict=True), start=1):
        verdict[f"color of shape {number}"] = wanted.color == found.color
        verdict[f"form of shape {number}"] = wanted.name == found.name
    if scene.relation:
        verdict["relation"] = is_related(seen[0], seen[1], scene.relation)
    right = all(verdict.values())
    verdict["sizes"] = all(
        wanted.size == found.size for wanted, found in zip(scene.shapes, seen, strict=True)
    )
    if scene.position:
        verdict["position"] = is_placed(seen[0], scene.position)
    if scene.names_background:
        verdict["background"] = reading.background == scene.background
    return verdict | {"right": right}


def _matched(wanted: Sequence[Shape], found: Sequence[SeenShape]) -> tuple[SeenShape, ...]:
    """The shapes that were found, in the order that agrees best with the wanted shapes."""

    def agreement(order: Sequence[SeenShape]) -> int:
        pairs = zip(wanted, order, strict=True)
        return sum((a.color == b.color) + (a.name == b.name) for a, b in pairs)

    return max((tuple(found), tuple(reversed(found))), key=agreement)


def is_related(first: SeenShape, second: SeenShape, relation: str) -> bool:
    """Whether the first shape lies so to the second, and more so than sideways."""
    dx, dy = second.x - first.x, second.y - first.y
    along, across = (dy, dx) if relation in ("above", "below") else (dx, dy)
    ahead = along if relation in ("above", "left of") else -along
    return ahead > abs(across)


def is_placed(shape: SeenShape, position: str) -> bool:
    """Whether a shape lies in the named third of the picture along both axes."""
    return _third(shape.x) == _named_third(position, "left", "right") and (
        _third(shape.y) == _named_third(position, "top", "bottom")
    )


def _third(coordinate: float) -> int:
    # The middle third is narrower: a large shape at an edge has its centre at 16.
    return int(coordinate > SIDE * 0.4) + int(coordinate > SIDE * 0.6)


def _named_third(position: str, first: str, last: str) -> int:
    return 0 if first in position else 2 if last in position else 1
