"""Directions and positions in the patient, as letters: R, L, A, P, F, H (PS3.3 C.7.6.1.1.1).

Coordinates are DICOM's patient coordinates in mm, LPS: x grows to the patient's left, y to the
back, z to the head.
"""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from magician.ct.volume import CTVolume

LETTERS = ("RL", "AP", "FH")  # towards smaller and larger x, y, z
LEAST_WEIGHT = 0.02  # a direction gets no letter for a smaller part


def patient_orientation(header: Dataset) -> tuple[str, str]:
    """Return the letters of the directions of rows and columns, such as ("L", "P").

    An oblique direction is given by several letters, the main one first: ("LH", "P").
    """
    rows, columns = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    return direction_letters(rows), direction_letters(columns)


def direction_letters(direction: np.ndarray) -> str:
    """Return the letters of a direction in LPS, the main one first."""
    weights = np.abs(direction)
    return "".join(
        LETTERS[axis][int(direction[axis] > 0)]
        for axis in np.argsort(-weights)
        if weights[axis] > LEAST_WEIGHT
    )


def describe_position(volume: CTVolume, position: tuple[int, int, int]) -> str:
    """Return the place of a voxel (slice, row, column), such as ``"L 23, P 10, H 45 mm"``."""
    return ", ".join(position_parts(volume, position)) + " mm"


def position_parts(volume: CTVolume, position: tuple[int, int, int]) -> list[str]:
    """Return the three coordinates of a voxel (slice, row, column) in mm, each with its letter.

    They are those of x, y and z, such as ``["L 23", "P 10", "H 45"]``.
    """
    point = volume.affine[:3] @ [*position, 1]
    return [f"{pair[int(x > 0)]} {abs(x):.0f}" for pair, x in zip(LETTERS, point, strict=True)]
