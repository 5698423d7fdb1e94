"""Letters for directions in the patient: R and L, A and P, F and H."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset


def patient_orientation(header: Dataset) -> tuple[str, str]:
    """Return to which side of the patient rows and columns run, such as ("L", "P") (PS3.3
    C.7.6.1.1.1).

    An oblique direction is given by its letters in order of weight, ("LH", "P") for instance.
    """
    rows, columns = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    return letters(rows), letters(columns)


def letters(direction: np.ndarray) -> str:
    """Return the letters of a direction in LPS, the weightiest first."""
    names = [("R", "L"), ("A", "P"), ("F", "H")]  # towards smaller and larger x, y, z in LPS
    weights = np.abs(direction)
    return "".join(
        names[axis][int(direction[axis] > 0)]
        for axis in np.argsort(-weights)
        if weights[axis] > 0.02
    )
