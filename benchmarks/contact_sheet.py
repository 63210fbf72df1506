"""A sheet of pictures, each under its prompt: the README's picture.

python benchmarks/contact_sheet.py BUNDLE docs/contact-sheet.png
"""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from trt_pipeline import trt_pipeline

PROMPTS = (
    "a red circle",
    "a large blue square",
    "a green star",
    "a purple heart on a gray background",
    "a yellow diamond on a striped background",
    "a small orange triangle",
    "a red square above a blue circle",
    "a small pink heart to the left of a large green cross",
    "a large black ring below a small yellow circle",
    "a purple triangle to the right of an orange square",
    "a blue diamond",
    "a yellow heart above a red star",
)
COLUMNS = 6
CELL = 160
CAPTION = 48
MARGIN = 8
"""Pixels."""


def sheet(pictures: Sequence[Image.Image], prompts: Sequence[str]) -> Image.Image:
    """Arrange pictures in rows of COLUMNS, each with its prompt above it."""
    rows = -(-len(pictures) // COLUMNS)
    step_x, step_y = CELL + MARGIN, CELL + CAPTION + MARGIN
    page = Image.new("RGB", (MARGIN + COLUMNS * step_x, MARGIN + rows * step_y), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for index, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        row, column = divmod(index, COLUMNS)
        x, y = MARGIN + column * step_x, MARGIN + row * step_y
        draw.multiline_text((x, y), textwrap.fill(prompt, 26), "black", font)
        page.paste(picture.resize((CELL, CELL), Image.Resampling.BICUBIC), (x, y + CAPTION))
    return page


def main() -> None:
    """Generate PROMPTS with consecutive seeds and save the sheet."""
    parser = argparse.ArgumentParser(description="A sheet of a bundle's pictures.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance-scale", type=float, default=4.0)
    arguments = parser.parse_args()
    with trt_pipeline(arguments.bundle) as pipe:
        images = pipe(
            list(PROMPTS), guidance_scale=arguments.guidance_scale, seed=arguments.seed
        ).images
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    sheet(list(images), PROMPTS).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
