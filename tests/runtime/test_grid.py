import numpy as np
import pytest
from PIL import Image

from trt_pipeline import InvalidInputError
from trt_pipeline.pictures.grid import PictureGrid, grid_columns


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (9, 3), (10, 4), (12, 4)]
)
def test_a_grid_is_nearly_square(count: int, columns: int) -> None:
    assert grid_columns(count) == columns


def test_columns_can_be_chosen_but_none_stays_empty() -> None:
    assert grid_columns(12, 6) == 6
    assert grid_columns(3, 6) == 3


def test_no_columns_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="grid_columns must be an integer from 1"):
        grid_columns(3, 0)


def test_pictures_fill_the_grid_row_by_row() -> None:
    grid = PictureGrid(3, (1, 1))
    for number, colour in enumerate(["red", "lime", "blue"]):
        grid.paste(number, Image.new("RGB", (1, 1), colour))
    assert np.asarray(grid.image).tolist() == [
        [[255, 0, 0], [0, 255, 0]],
        [[0, 0, 255], [255, 255, 255]],
    ]


def test_a_smaller_picture_takes_its_cells_upper_left_corner() -> None:
    grid = PictureGrid(2, (2, 2))
    grid.paste(1, Image.new("RGB", (1, 2), "black"))
    assert np.asarray(grid.image)[..., 0].tolist() == [[255, 255, 0, 255], [255, 255, 0, 255]]


def test_a_captioned_picture_is_enlarged_below_its_text() -> None:
    grid = PictureGrid(2, (64, 64), captions=True)
    assert grid.size == (8 + 2 * 200, 8 + 248)
    grid.paste(1, Image.new("RGB", (64, 64), "red"), "a red circle " * 20)
    pixels = np.asarray(grid.image)
    assert (pixels[56:248, 208:400] == [255, 0, 0]).all()
    caption, empty = pixels[8:56, 208:400], pixels[:, :208]
    assert (caption < 128).any()
    assert (empty == 255).all()
    assert (caption[-3:] == 255).all()


def test_a_grid_that_programs_would_not_open_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="a grid of 2000 pictures would have 11520 × 11520"):
        PictureGrid(2000, (256, 256))
