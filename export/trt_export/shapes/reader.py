"""Scene reader: says which shapes a picture shows, from its pixels alone.

Backgrounds are pale and shapes are vivid or black, so a threshold separates them. A component's
colour is the nearest of the palette; its name is that of the drawn template that overlaps it best.
"""

from collections import deque
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trt_export.shapes.scenes import (
    BACKGROUNDS,
    COLORS,
    RADII,
    SHAPES,
    SIDE,
    background_pixels,
    shape_mask,
)

MIN_VIVIDNESS = 70
"""Least distance between the strongest and the weakest channel of a coloured pixel, of 255."""
MAX_BLACK = 110
"""Largest channel of a black pixel, of 255."""
MIN_AREA = 20
"""Pixels of the smallest component that counts as a shape; the smallest drawn shape has 56."""
MIN_SHARE = 0.2
"""Least part of a component that a second colour must fill to be a shape of its own."""
MAX_COLOR_DISTANCE = 70
"""Euclidean RGB distance within which a pixel counts as plainly of a palette colour."""
MIN_OVERLAP = 0.6
"""Intersection over union below which a component is not a known shape."""

Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SeenShape:
    """One shape found in a picture."""

    name: str | None
    """None for a form that no template fits."""
    color: str
    size: str
    x: float
    """Centroid, pixels from the left border."""
    y: float
    """Centroid, pixels from the top border."""
    radius: float
    """Half the side of the box in pixels, as in `Shape`, of the template that fits best."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a picture shows."""

    shapes: tuple[SeenShape, ...]
    background: str


def read_scene(image: Pixels) -> Reading:
    """Reads a picture, uint8 [64, 64, 3]."""
    foreground = foreground_mask(image)
    found = [
        part
        for component in components(foreground)
        for part in split_by_color(image, component)
        if part.sum() >= MIN_AREA
    ]
    background = read_background(image, ~foreground)
    behind = background_pixels(background)
    return Reading(tuple(read_shape(image, part, foreground, behind) for part in found), background)


def redrawn(reading: Reading) -> NDArray[np.float32]:
    """The scene that a reading tells of, float32 [64, 64, 3] in 0..255; its forms must be known."""
    image = background_pixels(reading.background)
    for shape in reading.shapes:
        if shape.name is None:
            raise ValueError("a form that is not a known shape cannot be drawn.")
        mask = _template(shape.name, shape.x, shape.y, shape.radius)[..., None]
        image = image * (1 - mask) + np.array(COLORS[shape.color], np.float32) * mask
    return image


def foreground_mask(image: Pixels) -> Mask:
    """Where a picture is vivid or black, bool [64, 64]."""
    strongest, weakest = image.max(axis=2).astype(int), image.min(axis=2).astype(int)
    mask: Mask = (strongest - weakest >= MIN_VIVIDNESS) | (strongest <= MAX_BLACK)
    return mask


def components(mask: Mask) -> list[Mask]:
    """The parts of a mask that hang together over sides or corners."""
    left, parts = mask.copy(), []
    while left.any():
        start = np.unravel_index(int(left.argmax()), left.shape)
        part = _flood(left, (int(start[0]), int(start[1])))
        left &= ~part
        parts.append(part)
    return parts


def _flood(mask: Mask, start: tuple[int, int]) -> Mask:
    part = np.zeros_like(mask)
    part[start] = True
    queue = deque([start])
    while queue:
        y, x = queue.popleft()
        around = np.s_[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        fresh = mask[around] & ~part[around]
        part[around] |= fresh
        rows, columns = np.nonzero(fresh)
        queue.extend(
            (int(r) + max(y - 1, 0), int(c) + max(x - 1, 0))
            for r, c in zip(rows, columns, strict=True)
        )
    return part


def split_by_color(image: Pixels, component: Mask) -> list[Mask]:
    """A component as it is, or its parts where two shapes of different colours touch."""
    distances = _palette_distances(image)
    nearest = distances.argmin(axis=2)
    plain = component & (distances.min(axis=2) <= MAX_COLOR_DISTANCE)
    counts = np.bincount(nearest[plain], minlength=len(COLORS))
    main = [color for color in range(len(COLORS)) if counts[color] >= MIN_SHARE * component.sum()]
    if len(main) < 2:
        return [component]
    closest = np.array(main)[distances[..., main].argmin(axis=2)]
    return [part for color in main for part in components(component & (closest == color))]


def _palette_distances(image: Pixels) -> NDArray[np.float64]:
    palette = np.array(list(COLORS.values()), np.float64)
    distances: NDArray[np.float64] = np.linalg.norm(image[:, :, None, :] - palette, axis=3)
    return distances


def read_shape(
    image: Pixels, part: Mask, foreground: Mask, behind: NDArray[np.float32]
) -> SeenShape:
    """Colour, name, size and place of one component."""
    distances = _palette_distances(np.median(image[part], axis=0)[None, None])[0, 0]
    color = tuple(COLORS)[int(distances.argmin())]
    cover = coverage(image, part, foreground, behind)
    area = float(cover.sum())
    y, x = _centroid(cover)
    fits = {name: _fit(name, cover, area, x, y) for name in SHAPES}
    best = max(fits, key=lambda name: fits[name][0])
    overlap, radius = fits[best]
    name = best if overlap >= MIN_OVERLAP else None
    return SeenShape(name, color, _size(radius), x, y, radius)


def coverage(
    image: Pixels, part: Mask, foreground: Mask, behind: NDArray[np.float32]
) -> NDArray[np.float64]:
    """How much of each pixel a component covers, in 0..1: its smooth edges included.

    An edge pixel lies between the component's colour and the background `behind` it.
    """
    way = np.median(image[part], axis=0) - behind
    share = ((image - behind) * way).sum(axis=2) / np.maximum((way * way).sum(axis=2), 1.0)
    others = foreground & ~part
    return np.where(_grown(part) & ~others, np.clip(share, 0, 1), 0.0)


def _grown(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    grown = mask.copy()
    for y in range(3):
        for x in range(3):
            grown |= padded[y : y + mask.shape[0], x : x + mask.shape[1]]
    return grown


def _centroid(cover: NDArray[np.floating]) -> tuple[float, float]:
    rows, columns = np.mgrid[0 : cover.shape[0], 0 : cover.shape[1]] + 0.5
    area = float(cover.sum())
    return float((rows * cover).sum()) / area, float((columns * cover).sum()) / area


@cache
def _unit(name: str) -> tuple[float, float, float]:
    """A shape's area over its squared radius, and its centroid's (x, y) over its radius."""
    radius = 20.0
    mask = shape_mask(name, SIDE / 2, SIDE / 2, radius)
    y, x = _centroid(mask)
    return float(mask.sum()) / radius**2, (x - SIDE / 2) / radius, (y - SIDE / 2) / radius


def _fit(
    name: str, cover: NDArray[np.float64], area: float, x: float, y: float
) -> tuple[float, float]:
    """Overlap with the template of the same area and centroid, and that template's radius."""
    radius = (area / _unit(name)[0]) ** 0.5
    template = _template(name, x, y, radius)
    union = float(np.maximum(cover, template).sum())
    return float(np.minimum(cover, template).sum()) / union, radius


def _template(name: str, x: float, y: float, radius: float) -> NDArray[np.float32]:
    """A shape's mask by the place of its centroid."""
    _, unit_x, unit_y = _unit(name)
    return shape_mask(name, x - unit_x * radius, y - unit_y * radius, radius)


def _size(radius: float) -> str:
    sizes = list(RADII)
    for smaller, larger in pairwise(sizes):
        if radius < (RADII[smaller][1] + RADII[larger][0]) / 2:
            return smaller
    return sizes[-1]


def read_background(image: Pixels, behind: Mask) -> str:
    """The drawn background that is closest to the given part of a picture."""
    clear = behind & ~_grown(~behind)
    where = clear if clear.any() else np.ones_like(behind)
    errors = {
        name: float(np.abs(image[where] - background_pixels(name)[where]).mean())
        for name in BACKGROUNDS
    }
    return min(errors, key=lambda name: errors[name])
