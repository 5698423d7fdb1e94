"""Pixels as numbers of 16 bits and a table of their values, so that a window is computed for each
value only once.
"""

from __future__ import annotations

import numpy as np

_MOST = 1 << 16


class Coding:
    """The distinct values of a volume, and for each voxel which of them it has.

    Attributes
    ----------
    values : array of float64, at most 65536, ascending, in HU
        ``values[encode(hu)]`` is ``hu`` again, exactly. Only a volume with more distinct values
        than that, which no CT of 16 bits and one rescaling has, is rounded to whole numbers.
    """

    def __init__(self, hu: np.ndarray) -> None:
        low, high = float(hu.min()), float(hu.max())
        self._whole = high - low < _MOST and all(
            np.array_equal(plane, np.rint(plane)) for plane in hu
        )
        if not self._whole:
            self.values = np.unique(hu).astype(np.float64)
            self._whole = len(self.values) > _MOST
        if self._whole:
            low = max(round(low), -_MOST // 2)
            self.values = np.arange(low, min(round(high) + 1, low + _MOST), dtype=np.float64)

    def encode(self, hu: np.ndarray) -> np.ndarray:
        """Return where in ``values`` each number stands, array of uint16 of the same shape."""
        if self._whole:
            return (
                np.rint(np.clip(hu, self.values[0], self.values[-1])) - np.float32(self.values[0])
            ).astype(np.uint16)
        return np.searchsorted(self.values, hu).astype(np.uint16)
