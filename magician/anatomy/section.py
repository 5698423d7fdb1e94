"""The build of one patient, and one slice while it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from magician.anatomy.shapes import Box, Grid

FAT, MUSCLE = -105.0, 55.0  # HU


@dataclass(frozen=True)
class Build:
    """What makes one patient different from another; lengths in mm, scales around 1."""

    sex: str
    width: float
    depth: float
    fat: float
    contrast: bool
    dome: tuple[float, float]
    heart: float
    density: float


@dataclass
class Section:
    """One slice of one patient while it is drawn; all arrays have the shape of ``hu``.

    ``around`` is the angle from the back (0) to the breastbone (pi). ``skin``, ``muscle`` and
    ``rho`` are distances (mm) to the skin, to the surface of the muscles and to the cavity of the
    chest, negative inside. ``edge`` is the thickness of the cavity's blurred edge. ``fine``,
    ``coarse`` and ``cleft`` are random textures, standard deviation about 1.
    """

    index: int
    grid: Grid
    hu: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray
    cleft: np.ndarray
    around: np.ndarray
    skin: np.ndarray
    muscle: np.ndarray
    rho: np.ndarray
    edge: float

    def crop(self, box: Box | np.ndarray) -> Section:
        """Take a part of the slice.

        What is drawn into a box is drawn into the whole. Pixels that a mask picks are copies.
        """
        grid = Grid(self.grid.x[box], self.grid.y[box], self.grid.z)
        parts = {
            f.name: getattr(self, f.name)[box]
            for f in fields(self)
            if f.name not in ("index", "grid", "edge")
        }
        return Section(index=self.index, grid=grid, edge=self.edge, **parts)
