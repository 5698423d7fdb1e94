"""The three planes through a volume, as a radiologist looks at them; used by the viewers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from magician.ct.volume import CTVolume
from magician.rendering.orientation import letters

# What runs down and across a picture, in LPS: seen from the feet, from the front, and from the
# left.
_SHOWN = {
    "axial": (2, (0, 1, 0), (1, 0, 0)),
    "coronal": (1, (0, 0, -1), (1, 0, 0)),
    "sagittal": (0, (0, 0, -1), (0, 1, 0)),
}


@dataclass(frozen=True)
class Plane:
    """How the pictures of one plane are cut out of a volume.

    Attributes
    ----------
    axes : tuple of int
        The axis of the volume that is stepped through, the one that runs down a picture, and the
        one across it.
    flips : tuple of bool
        Whether the picture shows the second and the third of them from their end.
    spacing_mm : tuple of float
        (down, across).
    letters : tuple of str
        To which side of the patient the left, right, upper and lower edge of the picture lie.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool]
    spacing_mm: tuple[float, float]
    letters: tuple[str, str, str, str]

    def picture(self, array: np.ndarray, index: int) -> np.ndarray:
        """Return one picture, a view of an array on the grid of the volume; ``index`` counts from
        0.
        """
        down, across = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return array.transpose(self.axes)[index, down, across]

    def place(
        self, position: tuple[int, int, int], shape: tuple[int, int, int]
    ) -> tuple[int, int, int]:
        """Return which picture shows a voxel, and where: (picture, down, across), all counted from
        0.

        Parameters
        ----------
        position, shape : tuple of int
            The voxel, and the shape of the volume: (slice, row, column).
        """
        places = [position[axis] for axis in self.axes]
        for i, flip in enumerate(self.flips, start=1):
            places[i] = shape[self.axes[i]] - 1 - places[i] if flip else places[i]
        return tuple(places)

    def voxel(
        self, place: tuple[int, int, int], shape: tuple[int, int, int]
    ) -> tuple[int, int, int]:
        """Return the voxel that is shown at a place: the inverse of :meth:`place`."""
        position = [0, 0, 0]
        for axis, index, flip in zip(self.axes, place, (False, *self.flips), strict=True):
            position[axis] = shape[axis] - 1 - index if flip else index
        return tuple(position)


def planes(volume: CTVolume) -> dict[str, Plane]:
    """Return the planes of a volume: "axial", "coronal" and "sagittal".

    The plane in which the images were made is shown as they are, whatever way up; letters tell. The
    two others are shown as is usual: the patient's right or front on the left, the head or the
    front on top. Of an oblique volume, each is the plane of the grid that is nearest.
    """
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    # Which axis of the volume runs along x, y and z of the patient, more or less
    along = max(permutations(range(3)), key=lambda axes: np.abs(directions[range(3), axes]).sum())
    return {name: _plane(volume, directions, along, name) for name in _SHOWN}


def _plane(volume: CTVolume, directions: np.ndarray, along: tuple[int, ...], name: str) -> Plane:
    stepped, *towards = _SHOWN[name]
    if along[stepped] == 0:
        axes, flips = (0, 1, 2), (False, False)
    else:
        axes = tuple(along[int(np.argmax(np.abs(way)))] for way in towards)
        flips = tuple(
            bool(directions[:, axis] @ way < 0) for axis, way in zip(axes, towards, strict=True)
        )
        axes = (along[stepped], *axes)
    down, across = (
        -directions[:, axis] if flip else directions[:, axis]
        for axis, flip in zip(axes[1:], flips, strict=True)
    )
    return Plane(
        axes,
        flips,
        tuple(volume.spacing_mm[axis] for axis in axes[1:]),
        (letters(-across), letters(across), letters(-down), letters(down)),
    )


def where(volume: CTVolume, position: tuple[int, int, int]) -> str:
    """Return where a voxel lies in the patient, such as ``"L 23, P 10, H 45 mm"``."""
    return ", ".join(places(volume, position)) + " mm"


def places(volume: CTVolume, position: tuple[int, int, int]) -> list[str]:
    """Return how far to the side, back or front, and up or down a voxel lies, such as ``["L 23", "P
    10", "H 45"]``.
    """
    point = volume.affine[:3] @ [*position, 1]
    return [
        f"{pair[int(x > 0)]} {abs(x):.0f}"
        for pair, x in zip(("RL", "AP", "FH"), point, strict=True)
    ]
