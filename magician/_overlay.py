"""What a slice of the overlay looks like, and how it lies; used by :mod:`magician.result`."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from magician.volume import window

WINDOW = (40, 400)  # soft tissue: the lungs are black in it, so that all that is blue there is the result
_GREY = np.arange(256)[:, None]
TINT = np.clip(_GREY * [0.5, 0.6, 0.7] + [16, 62, 124], 0, 255).astype(np.uint8)  # blue, vessels still visible
_OUTLINE = np.array([160, 225, 255], np.uint8)  # light, so that the border shows in a grey print too


def paint(hu: np.ndarray, labels: np.ndarray, center: float = WINDOW[0], width: float = WINDOW[1]) -> np.ndarray:
    """Return one slice, windowed, with its lungs in blue and outlined.

    Parameters
    ----------
    hu : array, shape (rows, columns), in HU
    labels : array of uint8, same shape, 0 outside the lungs
    center, width : float, in HU

    Returns
    -------
    array of uint8, shape (rows, columns, 3)
    """
    grey = window(hu, center, width)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    lung = labels > 0
    rgb[lung] = TINT[grey[lung]]
    rgb[_border(labels)] = _OUTLINE
    return rgb


def _border(labels: np.ndarray) -> np.ndarray:
    """Return the lung pixels that touch a pixel with another label, above, below, left or right."""
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (inner > 0) & np.logical_or.reduce([inner != other for other in neighbours])


def patient_orientation(header: Dataset) -> tuple[str, str]:
    """Return to which side of the patient rows and columns run, such as ("L", "P") (PS3.3 C.7.6.1.1.1).

    An oblique direction is given by its letters in order of weight, ("LH", "P") for instance.
    """
    rows, columns = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    return _letters(rows), _letters(columns)


def _letters(direction: np.ndarray) -> str:
    names = [("R", "L"), ("A", "P"), ("F", "H")]  # towards smaller and larger x, y, z in LPS
    weights = np.abs(direction)
    return "".join(
        names[axis][int(direction[axis] > 0)] for axis in np.argsort(-weights) if weights[axis] > 0.02
    )
