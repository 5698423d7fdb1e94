"""The legend below each image of the overlay series: volumes, model and disclaimer."""

from __future__ import annotations

import numpy as np

from magician.rendering.overlay import OUTLINE, TINT

BACKGROUND, INK = (0, 0, 0), (255, 255, 255)
SMALLEST_PX = 8  # smaller letters can't be read; on a narrow image, lines are cut off instead
LETTERS_PER_LINE = 56  # that fit into a line


def legend_strip(columns: int, lines: list[str]) -> np.ndarray:
    """Draw lines of text, with a sample of the lungs' blue before the first.

    Parameters
    ----------
    columns : int
        Width of the strip and of the image above it. It decides the size of the letters.
    lines : list of str
        Each of at most 56 letters.

    Returns
    -------
    array of uint8, shape (rows, columns, 3)
    """
    from PIL import Image, ImageDraw, ImageFont

    size = max(SMALLEST_PX, round(1.7 * columns / LETTERS_PER_LINE))
    pitch = round(1.35 * size)
    strip = Image.new("RGB", (columns, len(lines) * pitch + pitch // 2), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    font = ImageFont.load_default(size)
    # the overlay's window shows lungs in black, whose tint is the first
    blue, edge = (tuple(colour.tolist()) for colour in (TINT[0], OUTLINE))
    draw.rectangle(
        (size // 2, pitch // 2, size // 2 + size, pitch // 2 + size), fill=blue, outline=edge
    )
    for number, line in enumerate(lines):
        draw.text((2 * size, pitch // 4 + number * pitch), line, INK, font)
    return np.asarray(strip)
