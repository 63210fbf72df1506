"""Grids: one picture with many, row after row."""

import math
from typing import TYPE_CHECKING

from trt_pipeline import arguments
from trt_pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    from PIL.Image import Image

BACKGROUND = "white"


class PictureGrid:
    """Takes pictures one by one, so that only the grid is kept in memory."""

    def __init__(self, count: int, cell: tuple[int, int], columns: int | None = None) -> None:
        """Plan a grid for so many pictures, each at most `cell` (width, height) pixels.

        columns: None makes the grid about as many pictures wide as high.
        InvalidInputError for a grid with more pixels than Pillow opens without a warning.
        """
        from PIL import Image

        self.columns = grid_columns(count, columns)
        self.rows = math.ceil(count / self.columns)
        self._cell = cell
        self.size = (self.columns * cell[0], self.rows * cell[1])
        most = Image.MAX_IMAGE_PIXELS
        if most is not None and self.size[0] * self.size[1] > most:
            raise InvalidInputError(
                f"a grid of {count} pictures would have {self.size[0]} × {self.size[1]} pixels, "
                f"more than {most}, which most programs refuse to open. Make fewer pictures."
            )
        self.image: Image.Image = Image.new("RGB", self.size, BACKGROUND)

    def place(self, number: int) -> tuple[int, int]:
        """Row and column of a picture, each from 0."""
        return divmod(number, self.columns)

    def paste(self, number: int, image: "Image") -> None:
        """Put a picture at its place, from the cell's upper left corner."""
        row, column = self.place(number)
        self.image.paste(image, (column * self._cell[0], row * self._cell[1]))


def grid_columns(count: int, columns: int | None = None) -> int:
    """How many pictures stand in a row; no more than there are."""
    if columns is None:
        return math.isqrt(count - 1) + 1
    return min(arguments.integer("grid_columns", columns, 1, 10**6), count)
