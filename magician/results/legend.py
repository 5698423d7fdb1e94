"""The strip below each image of the overlay series: what the colour means, and what it must not be
used for.
"""

from __future__ import annotations

import numpy as np

from magician.rendering.overlay import OUTLINE, TINT

GROUND, INK = (0, 0, 0), (255, 255, 255)
# letters of fewer pixels can't be read; on a narrow image lines are cut off instead
SMALLEST_PX = 8
LETTERS_PER_LINE = 56  # that fit into a line


def legend_strip(columns: int, lines: list[str]) -> np.ndarray:
    """Draw lines of text, the first with a sample of the lungs' blue before it.

    Parameters
    ----------
    columns : int
        Width of the image that the strip is for; the size of the letters follows from it.
    lines : list of str
        Each of at most 56 letters.

    Returns
    -------
    array of uint8, shape (rows, columns, 3)
    """
    from PIL import Image, ImageDraw, ImageFont

    size = max(SMALLEST_PX, round(1.7 * columns / LETTERS_PER_LINE))
    pitch = round(1.35 * size)
    strip = Image.new("RGB", (columns, len(lines) * pitch + pitch // 2), GROUND)
    draw = ImageDraw.Draw(strip)
    font = ImageFont.load_default(size)
    # in the overlay's window lungs are black
    blue, edge = (tuple(colour.tolist()) for colour in (TINT[0], OUTLINE))
    draw.rectangle(
        (size // 2, pitch // 2, size // 2 + size, pitch // 2 + size), fill=blue, outline=edge
    )
    for number, line in enumerate(lines):
        draw.text((2 * size, pitch // 4 + number * pitch), line, INK, font)
    return np.asarray(strip)
