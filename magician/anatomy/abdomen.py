"""The abdomen of the teaching phantom: diaphragm, liver, spleen, stomach, colon and kidneys."""

from __future__ import annotations

import numpy as np

from magician.anatomy.section import FAT, MUSCLE, Build, Section
from magician.anatomy.shapes import (
    Ellipsoid,
    Tube,
    bump,
    paint,
    paint_shape,
    smooth_minimum,
    soft,
    unite,
)
from magician.anatomy.spine import Spine

# How low the lungs reach at the wall (z, mm), by angle from the back to the front in steps of 0.01.
RECESS = np.float32(
    np.interp(np.arange(0, 3.2, 0.01), [0, 0.5, 1.2, 2, 2.6, 3.14], [26, 18, 30, 48, 66, 78])
)


def diaphragm_height(build: Build, s: Section) -> np.ndarray:
    """Compute the height z of the diaphragm over every pixel of a slice (mm)."""
    grid = s.grid
    base = RECESS[(s.around * 100).astype(np.int32)]
    right, left = build.dome
    saddle = 87 - 0.05 * grid.x  # between the domes, falling to the left
    top = saddle + (right - saddle) * bump(grid.x, -72, 56) + (left - saddle) * bump(grid.x, 74, 44)
    top -= 6 * bump(grid.y, -80, 40)
    # The heart lies on it and makes a shallow bed for itself.
    bed = 79.5 + ((grid.x - 42) ** 2 + (grid.y + 42) ** 2) * (1 / 130)
    top = smooth_minimum(top, bed, 10)
    outward = 1 - np.clip(-s.rho / 72, 0, 1)
    return base + (top - base) * (1 - outward * outward * np.sqrt(outward)) + 1.5 * s.coarse


class Abdomen:
    """The organs of the upper abdomen of one patient."""

    def __init__(self, build: Build, spine: Spine) -> None:
        self.build, self._spine = build, spine
        self._liver_hu, self._spleen_hu = (100.0, 115.0) if build.contrast else (60.0, 50.0)
        # fmt: off
        self._liver_shapes = [
            Ellipsoid((-68, -6, 42), (74, 92, 74)),
            Ellipsoid((10, -46, 60), (72, 42, 36), (1, -0.1, 0.25)),
        ]
        self._liver_veins = [
            Tube((-22, -2, 86, 5), (-50, 2, 78, 4), (-86, 6, 60, 2.5)),
            Tube((-21, -4, 84, 5), (-34, -34, 76, 4), (-44, -60, 62, 2.5)),
            Tube((-19, -4, 84, 4.5), (2, -34, 78, 3.5), (20, -52, 68, 2)),
            Tube((-14, -14, 20, 6), (-38, -16, 34, 5.5), (-66, -4, 42, 4), (-96, 10, 40, 2.5)),
            Tube((-38, -16, 34, 5), (-56, -40, 40, 3.5), (-70, -58, 40, 2)),
        ]
        self._stomach = [
            Ellipsoid((62, 8, 66), (46, 54, 36)),
            Ellipsoid((50, -30, 34), (36, 38, 42), (1, -0.3, -0.3)),
        ]
        self._spleen = Ellipsoid((104, 40, 54), (32, 56, 44), (0.8, -0.6, 0))
        self._kidneys = [
            Ellipsoid((46, 46, -2), (24, 26, 34)),
            Ellipsoid((-48, 44, -14), (24, 26, 34)),
        ]
        self._colon = Tube(
            (110, -18, 10, 15), (98, -36, 44, 17), (72, -58, 40, 16), (40, -72, 12, 15),
        )
        crus = [(13, 4, -10, 5), (13, 8, 30, 4.5), (13, 14, 60, 4), (10, 22, 78, 3)]
        # fmt: on
        self._crura = [
            Tube(*[(side * x, spine.front(z) - ahead, z, r) for x, ahead, z, r in crus])
            for side in (-1, 1)
        ]

    def draw(self, s: Section, height: np.ndarray) -> None:
        """Draw what lies under the diaphragm.

        ``height``: z of the diaphragm over every pixel (mm).
        """
        below = height - s.grid.z
        if float(below.max()) < -2:
            return
        inside = np.maximum(s.rho + 3.5, 4.0 - below)
        paint(s.hu, soft(np.maximum(s.rho + 1.0, -below), 2.0), MUSCLE)
        paint(s.hu, soft(inside, 2.0), FAT + 6 * s.fine)
        under = np.maximum(s.rho + 2.5, 1.5 - below)  # liver and spleen lie close to the diaphragm
        self._draw_liver(s, under)
        kidney = 150.0 if self.build.contrast else 35.0
        for shape, value in (
            (self._spleen, self._spleen_hu),
            *[(shape, kidney) for shape in self._kidneys],
        ):
            found = shape.distance(s.grid)
            if found:
                box, distance = found
                paint(s.hu[box], soft(np.maximum(distance + 2 * s.coarse[box], under[box])), value)
        self._draw_stomach_and_colon(s, inside)
        for crus in self._crura:
            paint_shape(s.hu, crus.distance(s.grid), MUSCLE)

    def _draw_liver(self, s: Section, inside: np.ndarray) -> None:
        grid = s.grid
        liver = np.full(s.hu.shape, np.float32(60))
        for shape in self._liver_shapes:
            unite(liver, shape.distance(grid, 20), 20)
        spine = np.hypot(grid.x / 1.1, grid.y - self._spine.y(grid.z)) - 22
        liver = np.maximum(np.maximum(liver + 3 * s.coarse, inside), -spine)
        found = self._kidneys[1].distance(grid, 6)
        if found:
            box, distance = found
            liver[box] = np.maximum(liver[box], 5 - distance)
        paint(s.hu, soft(liver), self._liver_hu + 3 * s.fine)
        inner = soft(liver + 3)
        for vein in self._liver_veins:
            found = vein.distance(grid)
            if found:
                box, distance = found
                paint(
                    s.hu[box],
                    soft(distance, 2.0) * inner[box],
                    135.0 if self.build.contrast else 40.0,
                )

    def _draw_stomach_and_colon(self, s: Section, inside: np.ndarray) -> None:
        """Draw a wall, food or stool, and gas, which rises to the front of a lying patient."""
        stomach = np.full(s.hu.shape, np.float32(60))
        for shape in self._stomach:
            unite(stomach, shape.distance(s.grid, 26), 26)
        stomach = np.maximum(stomach + 3 * s.coarse, inside)
        paint(s.hu, soft(stomach), 65.0)
        content = stomach + 4.0 + 0.7 * s.fine
        paint(s.hu, soft(content), 15 + 9 * s.fine + 8 * s.coarse)
        paint(s.hu, soft(np.maximum(content, s.grid.y + 20)), -985.0)
        found = self._colon.distance(s.grid)
        if found:
            box, distance = found
            distance = np.maximum(distance + 2 * s.coarse[box], inside[box])
            paint(s.hu[box], soft(distance), 45.0)
            gas = np.clip(0.5 + 2 * (-0.2 - s.fine[box]), 0, 1)
            paint(s.hu[box], soft(distance + 3), (1 - gas) * (10 + 30 * s.fine[box]) - 850 * gas)
