"""The axial, coronal and sagittal plane of a volume, as a radiologist looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from magician.ct.geometry import axis_directions
from magician.ct.volume import CTVolume
from magician.rendering.orientation import direction_letters

# For each plane: the patient's axis that is stepped through, and the directions down and across a
# picture, in LPS. The views are from the feet, from the front, and from the left.
VIEWS = {
    "axial": (2, (0, 1, 0), (1, 0, 0)),
    "coronal": (1, (0, 0, -1), (1, 0, 0)),
    "sagittal": (0, (0, 0, -1), (0, 1, 0)),
}


@dataclass(frozen=True)
class Plane:
    """The way in which the pictures of one plane are cut out of a volume.

    Attributes
    ----------
    axes : tuple of int
        Three axes of the volume: the one that is stepped through, the one that runs down a picture,
        and the one that runs across it.
    flips : tuple of bool
        (down, across): whether the picture shows this axis from its end to its start.
    spacing_mm : tuple of float
        (down, across).
    letters : tuple of str
        The sides of the patient at the left, right, upper and lower edge of the picture.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool]
    spacing_mm: tuple[float, float]
    letters: tuple[str, str, str, str]

    def picture(self, array: np.ndarray, index: int) -> np.ndarray:
        """Return one picture, a view of an array on the grid of the volume.

        Parameters
        ----------
        array : array, shape (slices, rows, columns)
        index : int
            The number of the picture in this plane, counted from 0.

        Returns
        -------
        array, shape (down, across)
        """
        down, across = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return array.transpose(self.axes)[index, down, across]

    def place_of(
        self, position: tuple[int, int, int], shape: tuple[int, int, int]
    ) -> tuple[int, int, int]:
        """Return the place at which a voxel is shown: (picture, down, across), counted from 0.

        Parameters
        ----------
        position, shape : tuple of int
            The voxel, and the shape of the volume: (slice, row, column).
        """
        place = [position[axis] for axis in self.axes]
        for i, flip in enumerate(self.flips, start=1):
            place[i] = shape[self.axes[i]] - 1 - place[i] if flip else place[i]
        return tuple(place)

    def voxel_at(
        self, place: tuple[int, int, int], shape: tuple[int, int, int]
    ) -> tuple[int, int, int]:
        """Return the voxel that is shown at a place: the inverse of `place_of`."""
        position = [0, 0, 0]
        for axis, index, flip in zip(self.axes, place, (False, *self.flips), strict=True):
            position[axis] = shape[axis] - 1 - index if flip else index
        return tuple(position)


def planes(volume: CTVolume) -> dict[str, Plane]:
    """Return the planes of a volume: "axial", "coronal" and "sagittal".

    The plane in which the images were made is shown as they are, even upside down; the letters say
    so. The two other planes are shown in the usual way: the patient's right or front on the left,
    the head or the front on top. For an oblique volume, each is the nearest plane of its grid.
    """
    directions = axis_directions(volume.affine)
    # The axes of the volume that are nearest to x, y and z of the patient
    nearest = max(permutations(range(3)), key=lambda axes: np.abs(directions[range(3), axes]).sum())
    return {name: _plane(volume, directions, nearest, name) for name in VIEWS}


def _plane(volume: CTVolume, directions: np.ndarray, nearest: tuple[int, ...], name: str) -> Plane:
    stepped, *views = VIEWS[name]
    if nearest[stepped] == 0:
        axes, flips = (0, 1, 2), (False, False)
    else:
        axes = tuple(nearest[int(np.argmax(np.abs(view)))] for view in views)
        flips = tuple(
            bool(directions[:, axis] @ view < 0) for axis, view in zip(axes, views, strict=True)
        )
        axes = (nearest[stepped], *axes)
    down, across = (
        -directions[:, axis] if flip else directions[:, axis]
        for axis, flip in zip(axes[1:], flips, strict=True)
    )
    return Plane(
        axes,
        flips,
        tuple(volume.spacing_mm[axis] for axis in axes[1:]),
        tuple(direction_letters(edge) for edge in (-across, across, -down, down)),
    )
