"""The spine of the teaching phantom: vertebrae along the curve of the back, discs and the canal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magician.anatomy.section import Build, Section
from magician.anatomy.shapes import Grid, curve, paint, soft

# Heights (mm) of the upper edges of the vertebrae, where the rib heads lie: C6, C7, T1 to T12, L1,
# L2.
HEADS_Z = [288, 274, 258, 240, 221, 202, 183, 163, 142, 121, 99, 76, 51, 26, 0, -28]
# Per vertebra: how far its spinous process falls for every mm that it goes back, and how far back
# it ends (mm behind the middle of the canal, of an average spine). The processes are steep like
# roof tiles in the middle of the chest, and level below it.
FALL = [0.3, 0.35, 0.5, 0.8, 1.0, 1.2, 1.4, 1.5, 1.5, 1.4, 1.2, 0.8, 0.45, 0.25, 0.15, 0.15]
SPINOUS = [28, 33, 34, 32, 30, 28, 27, 26, 26, 26, 26, 26, 27, 28, 30, 31]
# how far its ends are from the mid-line
TRANSVERSE = [25, 28, 36, 36, 35, 35, 35, 35, 34, 33, 31, 28, 24, 22, 32, 36]
FLATNESS = 0.6  # a slice is thicker than a pixel is wide, so edges that it cuts flat are softer


@dataclass(frozen=True)
class _Vertebra:
    """One vertebra; lengths in mm.

    It is tilted, so that its plates stand across the curve of the spine.
    """

    y: float
    z: float
    tilt: float
    height: float
    size: float
    fall: float
    spinous: float
    transverse: float

    @property
    def canal(self) -> float:
        return 15 * self.size + 7.5

    def axes(self, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Measure where pixels lie, from the middle of the body: aside, backwards, and upwards.

        Upwards is along the spine.
        """
        length = float(np.hypot(1, self.tilt))
        dy, dz = grid.y - self.y, grid.z - self.z
        return np.abs(grid.x), (dy - self.tilt * dz) / length, (dz + self.tilt * dy) / length

    def body(self, side: np.ndarray, back: np.ndarray, up: np.ndarray) -> np.ndarray:
        """Measure the signed distance to the body: a column with a waist, and two plates."""
        wide, deep = 17.5 * self.size, 15.5 * self.size
        waist = 1 - 0.09 * np.cos(np.clip(up * (2 * np.pi / self.height), -np.pi, np.pi))
        column = (np.sqrt((side / wide) ** 2 + (back / deep) ** 2 + 1e-6) - waist) * deep
        return np.maximum(column, (np.abs(up) - 0.5 * self.height + 2.4) * FLATNESS)

    def arch(self, side: np.ndarray, back: np.ndarray, up: np.ndarray) -> np.ndarray:
        """Measure the signed distance to pedicles, laminae, joints and all processes."""
        back = back - self.canal
        up = up * (21 / self.height)  # as if in the middle of the chest
        ring = np.abs(np.sqrt(side**2 + (back * 0.9) ** 2) - 12.0) - 2.4
        pedicle = np.maximum(
            np.maximum(ring, (np.abs(up - 4) - 5) * FLATNESS), np.maximum(6 - side, back - 4)
        )
        lamina = np.maximum(
            np.maximum(ring, 1 - back), (np.abs(up + 1 + 0.5 * (back - 4)) - 7.5) * FLATNESS
        )
        joint = np.sqrt((side - 12) ** 2 + (back - 5) ** 2 + (0.42 * up) ** 2) - 4.4
        reach = np.clip((side - 12) / (self.transverse - 16), 0, 1)
        aside, behind = (
            side - 12 - reach * (self.transverse - 16),
            back - 1 - 0.4 * reach * (self.transverse - 16),
        )
        across = np.sqrt(aside**2 + behind**2 + (0.7 * (up - 3)) ** 2) - 3.8 - 0.8 * reach**4
        return np.minimum(
            np.minimum(np.minimum(pedicle, lamina), np.minimum(joint, across)),
            self._spinous_process(side, back, up),
        )

    def _spinous_process(self, side: np.ndarray, back: np.ndarray, up: np.ndarray) -> np.ndarray:
        """Measure the distance to a blade, back and down from the laminae, with a thicker tip."""
        along = np.clip((back - 9) / (self.spinous - 9), 0, 1)
        middle = -3 - self.fall * (back - 9)
        half = 8.5 - 3.0 * along
        blade = (np.abs(up - middle) - half) / np.hypot(1, 0.6 * self.fall) * FLATNESS
        width = 2.7 - 0.9 * along + 1.6 * np.clip(5 * along - 4, 0, 1)
        return np.maximum(
            np.maximum(blade, side - width), np.maximum(9 - back, back - self.spinous)
        )


class Spine:
    """The spine of one patient."""

    def __init__(self, build: Build) -> None:
        self.build = build
        edges = [*HEADS_Z, -57]
        self._vertebrae = [
            self._shape_vertebra((top + bottom) / 2, top - bottom, *shape)
            for top, bottom, *shape in zip(
                edges, edges[1:], FALL, SPINOUS, TRANSVERSE, strict=False
            )
        ]

    def _shape_vertebra(
        self, z: float, height: float, fall: float, spinous: float, transverse: float
    ) -> _Vertebra:
        size = self._size(z)
        return _Vertebra(
            self.y(z), z, self._tilt(z), height, size, fall, spinous * size, transverse * size
        )

    def y(self, z: float) -> float:
        """Give the y of the middle of the vertebral bodies, along the curve of the back.

        The curve leans forward to the neck.
        """
        return self.build.depth * float(
            curve([-10, 60, 130, 190, 240, 285], [40, 49, 54, 51, 37, 12], z)
        )

    def front(self, z: float) -> float:
        """Give the y of the front of the vertebral bodies."""
        return self.y(z) - 15.5

    def _tilt(self, z: float) -> float:
        return (self.y(z + 6) - self.y(z - 6)) / 12

    def _size(self, z: float) -> float:
        return float(curve([0, 140, 280], [1.24, 1.1, 0.9], z)) * self.build.width

    def draw(self, s: Section) -> None:
        """Draw the vertebrae that a slice cuts, the disc between their bodies, and the canal."""
        z, size, lean = s.grid.z, self._size(s.grid.z), float(np.hypot(1, self._tilt(s.grid.z)))
        y0 = self.y(z)
        canal_y = y0 + (15 * size + 7.5) * lean
        box = s.grid.window(-50, 50, y0 - 30, y0 + 80)
        grid = Grid(s.grid.x[box], s.grid.y[box], z)
        hu, fine = s.hu[box], s.fine[box]
        canal = np.sqrt((grid.x / 1.1) ** 2 + ((grid.y - canal_y) / lean) ** 2) - 7.8
        disc = np.sqrt((grid.x / 17) ** 2 + ((grid.y - y0) / (15 * lean)) ** 2 + 1e-6) - size
        paint(hu, soft(disc * 15), 85.0)
        for vertebra in self._vertebrae:
            if -38 < z - vertebra.z < 0.5 * vertebra.height + 12:
                self._draw_vertebra(vertebra, grid, hu, fine, canal)
        paint(hu, soft(canal), -30.0)
        paint(hu, soft(canal + 1.2), 18.0)
        paint(hu, soft(canal + 3.2), 38.0)

    @staticmethod
    def _draw_vertebra(
        vertebra: _Vertebra, grid: Grid, hu: np.ndarray, fine: np.ndarray, canal: np.ndarray
    ) -> None:
        axes = vertebra.axes(grid)
        bone = np.minimum(np.maximum(vertebra.body(*axes), -canal - 1), vertebra.arch(*axes))
        paint(hu, soft(bone), 620.0)
        paint(hu, soft(bone + 1.5), 200 + 45 * fine)
