"""Scenes: captioned pictures of coloured shapes, drawn with NumPy and Pillow.

Everything is a function of a NumPy generator, so the same seed draws the same data set.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 64
"""Height and width of a scene in pixels."""
SUPERSAMPLING = 4
"""Shapes are drawn this many times larger and averaged down, which smooths their edges."""
MARGIN = 1.0
"""Pixels that stay free between a shape and the border, and between two shapes."""

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (215, 35, 40),
    "orange": (250, 135, 15),
    "yellow": (250, 220, 30),
    "green": (35, 150, 60),
    "blue": (35, 75, 215),
    "purple": (130, 45, 165),
    "pink": (250, 135, 190),
    "black": (25, 25, 30),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart")
RADII: dict[str, tuple[float, float]] = {
    "small": (7.0, 8.5),
    "medium": (10.0, 11.5),
    "large": (13.5, 15.0),
}
"""Smallest and largest half side of a shape's box in pixels. Two large shapes fit side by side."""

PLAIN_BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "gray": (190, 190, 190),
    "beige": (240, 225, 195),
}
TEXTURES = ("striped", "dotted", "gradient")
BACKGROUNDS = (*PLAIN_BACKGROUNDS, *TEXTURES)
UNNAMED_BACKGROUND_WEIGHTS = (0.6, 0.16, 0.12, 0.04, 0.04, 0.04)
"""How often each background stands behind a caption that does not mention it."""

RELATIONS = ("above", "below", "left of", "right of")
POSITIONS = (
    "left",
    "right",
    "top",
    "bottom",
    "center",
    "top left",
    "top right",
    "bottom left",
    "bottom right",
)
EDGE_SLACK = 4.0
"""Most pixels between the margin and a shape that a caption places at an edge."""
CENTER_SLACK = 4.0
"""Most pixels between the middle of the picture and a shape that a caption places there."""
SIDEWAYS = 10.0
"""Most pixels by which two related shapes are shifted across their relation."""

Pair = tuple[str, str]
"""A colour and a shape."""

HELD_OUT: frozenset[Pair] = frozenset(
    {
        ("red", "star"),
        ("orange", "ring"),
        ("yellow", "heart"),
        ("green", "triangle"),
        ("blue", "diamond"),
        ("purple", "cross"),
        ("pink", "square"),
        ("black", "circle"),
    }
)
"""Never drawn in training; each colour and each shape is seen in seven other pairs."""
ALL_PAIRS: tuple[Pair, ...] = tuple((color, shape) for color in COLORS for shape in SHAPES)
SEEN_PAIRS: tuple[Pair, ...] = tuple(pair for pair in ALL_PAIRS if pair not in HELD_OUT)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shape:
    """One coloured shape."""

    name: str
    color: str
    size: str
    x: float
    """Centre of its box, pixels from the left border."""
    y: float
    """Centre of its box, pixels from the top border."""
    radius: float
    """Half the side of its box in pixels."""

    def phrase(self, article: str = "a") -> str:
        """The shape in words; a medium size goes without saying."""
        size = "" if self.size == "medium" else self.size
        if article == "a" and (size or self.color).startswith("o"):
            article = "an"
        return " ".join(word for word in (article, size, self.color, self.name) if word)


@dataclass(frozen=True, slots=True)
class Scene:
    """One or two shapes on a background, and what its caption mentions."""

    shapes: tuple[Shape, ...]
    background: str
    relation: str | None = None
    """How the first of two shapes lies to the second; None if the caption only lists them."""
    position: str | None = None
    """Where the caption places a single shape."""
    names_background: bool = False

    def caption(self, rng: np.random.Generator | None = None) -> str:
        """The scene in words: the plainest ones, or with a generator one of many phrasings."""
        article = _choice(rng, ("a", "a", "a", "", "one"))
        words = self.shapes[0].phrase(article)
        if len(self.shapes) == 2:
            link = _choice(rng, RELATION_PHRASES[self.relation or "and"])
            words = f"{words} {link} {self.shapes[1].phrase(article)}"
        if self.position:
            words = f"{words} {_choice(rng, position_phrases(self.position))}"
        if self.names_background:
            words = f"{words} on a {self.background} background"
        prefix = _choice(
            rng, ("", "", "", "", "", "a picture of ", "an image of ", "a drawing of ")
        )
        return prefix + words

    def draw(self) -> NDArray[np.uint8]:
        """The picture, uint8 [SIDE, SIDE, 3]."""
        image = background_pixels(self.background)
        for shape in self.shapes:
            mask = shape_mask(shape.name, shape.x, shape.y, shape.radius)[..., None]
            image = image * (1 - mask) + np.array(COLORS[shape.color], np.float32) * mask
        return np.rint(image).astype(np.uint8)


RELATION_PHRASES: dict[str, tuple[str, ...]] = {
    "above": ("above", "above", "over"),
    "below": ("below", "below", "under"),
    "left of": ("to the left of", "left of"),
    "right of": ("to the right of", "right of"),
    "and": ("and", "next to"),
}


def position_phrases(position: str) -> tuple[str, ...]:
    """The ways to say a position, the plainest first."""
    if " " in position:
        return (f"in the {position} corner", f"in the {position}")
    if position == "center":
        return ("in the center", "in the middle")
    if position in ("left", "right"):
        return (f"on the {position}",)
    return (f"at the {position}",)


def background_pixels(name: str) -> NDArray[np.float32]:
    """A background, float32 [SIDE, SIDE, 3] in 0..255."""
    if name in PLAIN_BACKGROUNDS:
        color = np.array(PLAIN_BACKGROUNDS[name], np.float32)
        return np.broadcast_to(color, (SIDE, SIDE, 3)).copy()
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) + 0.5
    texture: dict[str, Callable[[], NDArray[np.float32]]] = {
        "striped": lambda: 222 + 22 * np.sin(x * (2 * math.pi / 8)),
        "dotted": lambda: 240 - 50 * np.clip(3 - np.hypot(x % 8 - 4, y % 8 - 4), 0, 1),
        "gradient": lambda: 250 - 80 * y / SIDE,
    }
    return np.repeat(texture[name]()[..., None], 3, axis=2).astype(np.float32)


def outline(name: str) -> NDArray[np.float64]:
    """A shape's polygon with the box -1..1, float64 [points, 2] as x (right) and y (down)."""
    turn = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    if name in ("circle", "ring"):
        return 0.95 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    if name == "star":
        angle = np.arange(10) * math.pi / 5 - math.pi / 2
        radius = np.where(np.arange(10) % 2 == 0, 1.08, 0.46)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle) + 0.1], axis=1)
    if name == "heart":
        x = 16 * np.sin(turn) ** 3
        y = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
        return np.stack([x / 16, (-y - 2.5) / 14.5], axis=1)
    return np.array(POLYGONS[name], np.float64)


POLYGONS: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": [(0.0, -0.95), (1.0, 0.85), (-1.0, 0.85)],
    "diamond": [(0.0, -1.0), (0.8, 0.0), (0.0, 1.0), (-0.8, 0.0)],
    "cross": [
        *[(-0.33, -1.0), (0.33, -1.0), (0.33, -0.33), (1.0, -0.33), (1.0, 0.33), (0.33, 0.33)],
        *[(0.33, 1.0), (-0.33, 1.0), (-0.33, 0.33), (-1.0, 0.33), (-1.0, -0.33), (-0.33, -0.33)],
    ],
}
RING_HOLE = 0.55
"""Radius of a ring's hole over the ring's own."""


def shape_mask(name: str, x: float, y: float, radius: float) -> NDArray[np.float32]:
    """How much of each pixel a shape covers, float32 [SIDE, SIDE] in 0..1."""
    canvas = Image.new("L", (SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING))
    pen = ImageDraw.Draw(canvas)
    center = np.array([x, y])
    points = outline(name) * radius
    pen.polygon(_canvas_points(points + center), fill=255)
    if name == "ring":
        pen.polygon(_canvas_points(points * RING_HOLE + center), fill=0)
    return np.asarray(canvas.reduce(SUPERSAMPLING), np.float32) / np.float32(255)


def _canvas_points(points: NDArray[np.float64]) -> list[tuple[float, float]]:
    # Pillow puts the pixel centres at whole numbers.
    scaled = points * SUPERSAMPLING - 0.5
    return [(float(x), float(y)) for x, y in scaled]


def random_scene(rng: np.random.Generator) -> Scene:
    """A training scene: one or two shapes, none of them held out."""
    return random_single(rng) if rng.random() < 0.45 else random_double(rng)


def random_placed_scene(rng: np.random.Generator, doubles: float) -> Scene:
    """Likewise, with a caption that always says where the shapes are.

    doubles: the part of the scenes that have two.
    """
    if rng.random() < doubles:
        return random_double(rng, related=1.0)
    return random_single(rng, placed=1.0)


def random_single(
    rng: np.random.Generator, pairs: Sequence[Pair] = SEEN_PAIRS, placed: float = 0.35
) -> Scene:
    """A scene of one shape. placed: the part of the captions that mention its position."""
    size, radius = _random_size(rng)
    position = _choice(rng, POSITIONS) if rng.random() < placed else None
    x, y = _random_center(rng, radius, position)
    color, name = _choice(rng, pairs)
    background, named = _random_background(rng)
    shape = Shape(name, color, size, x, y, radius)
    return Scene((shape,), background, position=position, names_background=named)


def random_double(
    rng: np.random.Generator,
    first_pairs: Sequence[Pair] = SEEN_PAIRS,
    second_pairs: Sequence[Pair] = SEEN_PAIRS,
    related: float = 0.88,
) -> Scene:
    """A scene of two different shapes. related: the part of the captions that say how they lie."""
    first, second = _choice(rng, first_pairs), _choice(rng, second_pairs)
    while second == first:
        second = _choice(rng, second_pairs)
    sizes = _random_size(rng), _random_size(rng)
    relation = _choice(rng, RELATIONS)
    centers = _related_centers(rng, relation, sizes[0][1], sizes[1][1])
    shapes = tuple(
        Shape(name, color, size, x, y, radius)
        for (color, name), (size, radius), (x, y) in zip(
            (first, second), sizes, centers, strict=True
        )
    )
    background, named = _random_background(rng)
    said = relation if rng.random() < related else None
    return Scene(shapes, background, relation=said, names_background=named)


def _choice(rng: np.random.Generator | None, options: Sequence[T]) -> T:
    return options[0 if rng is None else int(rng.integers(len(options)))]


def _random_size(rng: np.random.Generator) -> tuple[str, float]:
    size = _choice(rng, tuple(RADII))
    return size, float(rng.uniform(*RADII[size]))


def _random_background(rng: np.random.Generator) -> tuple[str, bool]:
    if rng.random() < 0.35:
        return _choice(rng, BACKGROUNDS), True
    return BACKGROUNDS[int(rng.choice(len(BACKGROUNDS), p=UNNAMED_BACKGROUND_WEIGHTS))], False


def _random_center(
    rng: np.random.Generator, radius: float, position: str | None
) -> tuple[float, float]:
    if position is None:
        return _anywhere(rng, radius), _anywhere(rng, radius)
    x = _along(rng, radius, before="left" in position, after="right" in position)
    y = _along(rng, radius, before="top" in position, after="bottom" in position)
    return x, y


def _anywhere(rng: np.random.Generator, radius: float) -> float:
    return float(rng.uniform(radius + MARGIN, SIDE - radius - MARGIN))


def _along(rng: np.random.Generator, radius: float, before: bool, after: bool) -> float:
    """A coordinate near the first border, near the last one, or near the middle."""
    slack = float(rng.uniform(0, EDGE_SLACK))
    if before:
        return radius + MARGIN + slack
    if after:
        return SIDE - radius - MARGIN - slack
    return float(SIDE / 2 + rng.uniform(-CENTER_SLACK, CENTER_SLACK))


def _related_centers(
    rng: np.random.Generator, relation: str, first: float, second: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Centres of two shapes of the given radii that do not touch."""
    near, far = (first, second) if relation in ("above", "left of") else (second, first)
    free = SIDE - 2 * (near + far) - 3 * MARGIN
    spaces = np.sort(rng.uniform(0, free, 2))
    low = MARGIN + near + spaces[0]
    high = low + near + MARGIN + far + (spaces[1] - spaces[0])
    reach = max(near, far) + MARGIN
    middle = float(rng.uniform(reach, SIDE - reach))
    across_low = middle
    limit = far + MARGIN
    across_high = float(np.clip(middle + rng.uniform(-SIDEWAYS, SIDEWAYS), limit, SIDE - limit))
    ends = ((across_low, float(low)), (across_high, float(high)))
    if relation in ("left of", "right of"):
        ends = ((ends[0][1], ends[0][0]), (ends[1][1], ends[1][0]))
    return ends if relation in ("above", "left of") else (ends[1], ends[0])
