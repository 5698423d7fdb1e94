"""Windows: grey levels from Hounsfield units, and the usual centres and widths."""

from __future__ import annotations

import math

import numpy as np

from magician.errors import WrongArgument

# soft tissue: lungs are black in it, so that only the overlay colours them
WINDOW = (40, 400)
# centre and width in HU
PRESETS = {"lung": (-600, 1500), "soft tissue": (40, 400), "bone": (400, 1800)}


def window(hu: np.ndarray, center: float, width: float) -> np.ndarray:
    """Map Hounsfield units to grey levels (PS3.3 C.11.2.1.2.1, LINEAR).

    Parameters
    ----------
    hu : array, shape (..., rows, columns), in HU
    center, width : float, in HU; ``width`` must be at least 1

    Returns
    -------
    array of uint8, same shape; 0 is black, 255 is white; not-a-number becomes black

    Raises
    ------
    ValueError
        If ``width`` is less than 1, or ``center`` or ``width`` is not a finite number.
    """
    if not (math.isfinite(center) and math.isfinite(width) and width >= 1):
        raise WrongArgument(
            f"A window needs a finite center and a width of at least 1: got {center} and {width}."
        )
    offset = np.asarray(hu, np.float64) - (center - 0.5)
    if width == 1:
        return np.where(offset > 0, 255, 0).astype(np.uint8)
    grey = offset * (255 / (width - 1)) + 127.5
    # The standard has three cases: below, between and above. They are one straight line, cut off at
    # both ends. `fmax` prefers 0 to NaN.
    return np.rint(np.minimum(np.fmax(grey, 0), 255)).astype(np.uint8)
