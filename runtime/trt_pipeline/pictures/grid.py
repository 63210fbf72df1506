"""Grids: one picture with many, row after row; with captions, a contact sheet."""

import math
import textwrap
from typing import TYPE_CHECKING

from trt_pipeline import arguments
from trt_pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    from PIL.Image import Image

BACKGROUND = "white"

CAPTION_HEIGHT = 48
CAPTION_LINES = 3
FONT_SIZE = 12
CHARACTER_WIDTH = 6.5
"""Of the font, on average."""
MARGIN = 8
CAPTIONED_WIDTH = 160
"""Narrowest picture that has room for a caption; smaller ones are enlarged. All in pixels."""


class PictureGrid:
    """Takes pictures one by one, so that only the grid is kept in memory."""

    def __init__(
        self, count: int, cell: tuple[int, int], columns: int | None = None, captions: bool = False
    ) -> None:
        """Plan a grid for so many pictures, each at most `cell` (width, height) pixels.

        columns: None makes the grid about as many pictures wide as high.
        captions: leave room for a text above each picture.
        InvalidInputError for a grid with more pixels than Pillow opens without a warning.
        """
        from PIL import Image

        self.columns = grid_columns(count, columns)
        self.rows = math.ceil(count / self.columns)
        self._scale = math.ceil(CAPTIONED_WIDTH / cell[0]) if captions else 1
        self._margin, self._caption = (MARGIN, CAPTION_HEIGHT) if captions else (0, 0)
        self._cell = (
            cell[0] * self._scale + self._margin,
            cell[1] * self._scale + self._margin + self._caption,
        )
        self.size = (
            self._margin + self.columns * self._cell[0],
            self._margin + self.rows * self._cell[1],
        )
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

    def paste(self, number: int, image: "Image", caption: str = "") -> None:
        """Put a picture at its place, from the cell's upper left corner, and its caption above."""
        row, column = self.place(number)
        left = self._margin + column * self._cell[0]
        top = self._margin + row * self._cell[1]
        if self._scale > 1:
            image = image.resize((image.width * self._scale, image.height * self._scale))
        self.image.paste(image, (left, top + self._caption))
        if self._caption:
            self._write(caption, left, top)

    def _write(self, caption: str, left: int, top: int) -> None:
        from PIL import ImageDraw, ImageFont

        width = int((self._cell[0] - self._margin) / CHARACTER_WIDTH)
        lines = textwrap.wrap(caption, width, max_lines=CAPTION_LINES, placeholder=" …")
        font = ImageFont.load_default(FONT_SIZE)
        ImageDraw.Draw(self.image).multiline_text((left, top), "\n".join(lines), "black", font)


def grid_columns(count: int, columns: int | None = None) -> int:
    """How many pictures stand in a row; no more than there are."""
    if columns is None:
        return math.isqrt(count - 1) + 1
    return min(arguments.integer("grid_columns", columns, 1, 10**6), count)
