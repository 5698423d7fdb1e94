"""A table of the distinct values of a volume, and voxels as 16-bit codes that point into it.

With it, a window is computed once for each value instead of once for each voxel.
"""

from __future__ import annotations

import numpy as np

MAX_VALUES = 1 << 16


class ValueTable:
    """The distinct values of a volume in ascending order.

    Attributes
    ----------
    values : array of float64, at most 65536, ascending, in HU
        ``values[encode(hu)]`` is ``hu`` again, exactly. A volume with more distinct values is
        rounded to whole numbers; a CT of 16 bits with one rescaling for all slices has fewer.
    """

    def __init__(self, hu: np.ndarray) -> None:
        low, high = float(hu.min()), float(hu.max())
        self._is_whole = high - low < MAX_VALUES and all(
            np.array_equal(plane, np.rint(plane)) for plane in hu
        )
        if not self._is_whole:
            self.values = np.unique(hu).astype(np.float64)
            self._is_whole = len(self.values) > MAX_VALUES
        if self._is_whole:
            low = max(round(low), -MAX_VALUES // 2)
            self.values = np.arange(low, min(round(high) + 1, low + MAX_VALUES), dtype=np.float64)

    def encode(self, hu: np.ndarray) -> np.ndarray:
        """Return the index in `values` of each number: array of uint16, same shape."""
        if self._is_whole:
            return (
                np.rint(np.clip(hu, self.values[0], self.values[-1])) - np.float32(self.values[0])
            ).astype(np.uint16)
        return np.searchsorted(self.values, hu).astype(np.uint16)
