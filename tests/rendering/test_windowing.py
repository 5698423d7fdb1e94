"""Windows: grey levels are those of the standard, and impossible windows are refused."""

from __future__ import annotations

import numpy as np
import pytest

from magician.rendering.windowing import window


def standard_window(value: float, center: float, width: float) -> float:
    """The pseudo-code of PS3.3 C.11.2.1.2.1, for output from 0 to 255."""
    if value <= center - 0.5 - (width - 1) / 2:
        return 0
    if value > center - 0.5 + (width - 1) / 2:
        return 255
    return ((value - (center - 0.5)) / (width - 1) + 0.5) * 255


@pytest.mark.parametrize(
    ("center", "width"), [(40, 400), (-600, 1600), (0, 1), (0.5, 1.5), (2048, 4096), (100, 2)]
)
def test_window_follows_the_standard(center, width):
    hu = np.arange(-1100, 3200, dtype=np.float32)
    exact = [round(standard_window(float(value), center, width)) for value in hu]
    assert window(hu, center, width).tolist() == exact


def test_window_keeps_shape_and_gives_bytes():
    grey = window(np.zeros((2, 3, 4), np.int16), 40, 400)
    assert (grey.shape, grey.dtype) == ((2, 3, 4), np.uint8)


def test_window_of_what_is_no_number_is_black():
    assert window(np.array([np.nan, -np.inf, np.inf]), 40, 400).tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("center", "width"),
    [(40, 0.5), (40, 0), (40, -1), (40, np.nan), (np.nan, 400), (np.inf, 400), (40, np.inf)],
)
def test_impossible_window(center, width):
    with pytest.raises(ValueError, match="window"):
        window(np.zeros((2, 2)), center, width)
