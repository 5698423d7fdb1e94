"""The mediastinum of the teaching phantom: heart, vessels, windpipe, gullet, fat around them."""

from __future__ import annotations

import numpy as np

from magician.anatomy.section import FAT, MUSCLE, Build, Section
from magician.anatomy.shapes import (
    Ellipsoid,
    Grid,
    Tube,
    bump,
    curve,
    paint,
    paint_shape,
    smooth_minimum,
    soft,
    unite,
)
from magician.anatomy.spine import Spine

INLET_Z = 228.0


class Mediastinum:
    """Everything between the lungs of one patient."""

    def __init__(self, build: Build, spine: Spine) -> None:
        self.build, self._spine = build, spine
        contrast = build.contrast
        self._artery, self._pulmonary, self._vein = (
            (178.0, 168.0, 155.0) if contrast else (42.0, 42.0, 42.0)
        )
        self._myocardium = 105.0 if contrast else 48.0
        self._shape_heart()
        self._shape_great_vessels()
        self._shape_lung_vessels()
        self._shape_airways_and_gullet()
        self._shape_neck()

    # Points along tubes are (x, y, z, radius), in mm of the average chest.
    # fmt: off

    def _shape_heart(self) -> None:
        h, down = self.build.heart, (0.66, -0.58, -0.48)
        self._muscle = [
            Ellipsoid((40, -33, 114), (52 * h, 36 * h, 34 * h), down),
            Ellipsoid((9, -60, 116), (40 * h, 25 * h, 30 * h), (0.85, -0.2, -0.45)),
        ]
        self._left_ventricle = Ellipsoid((37, -30, 116), (42 * h, 22 * h, 21 * h), down)
        self._right_ventricle = Ellipsoid(
            (8, -61, 116), (37 * h, 20 * h, 25 * h), (0.85, -0.2, -0.45),
        )
        self._right_atrium = Ellipsoid((-26, -26, 126), (23 * h, 27 * h, 31 * h))
        self._left_atrium = Ellipsoid((3, 3, 143), (34 * h, 18 * h, 21 * h))
        self._appendages = [
            Tube((34, -12, 150, 9), (42, -28, 154, 8), (40, -40, 152, 5)),
            Tube((-26, -34, 142, 11), (-12, -50, 150, 7)),
        ]
        self._outflow = Tube((7, -66, 122, 15), (12, -58, 136, 14), (15, -46, 146, 13))
        self._coronaries = [
            Tube((6, -34, 150, 2), (24, -46, 146, 2), (32, -60, 130, 2), (52, -70, 104, 1.5)),
            Tube((-12, -42, 146, 2), (-14, -56, 130, 2), (-8, -62, 104, 2)),
        ]

    def _shape_great_vessels(self) -> None:
        f = self._spine.front
        self._aorta = Tube(
            (2, -18, 136, 14), (-8, -28, 150, 16.5), (-14, -32, 168, 16), (-15, -32, 186, 15.5),
            (-10, -25, 200, 14.5),
            (2, -12, 208, 13.5), (14, 4, 208, 13), (23, 18, 201, 12.5), (27, f(188) + 6, 188, 12.5),
            (27, f(170) + 6, 170, 12.5), (27, f(150) + 6, 150, 12.5), (22, f(120) + 3, 120, 12),
            (18, f(90) - 2, 90, 11.5), (9, f(60) - 8, 60, 11), (5, f(20) - 12, 20, 10.5),
            (4, f(0) - 12, -10, 10.5),
        )
        self._arteries = [  # brachiocephalic and right subclavian, both carotids, left subclavian
            Tube((-4, -20, 208, 7), (-11, -19, 226, 6.5), (-18, -14, 246, 6), (-26, -12, 258, 5),
                 (-48, -6, 263, 4.5), (-85, -12, 258, 4)),
            Tube((-18, -14, 248, 4), (-20, -20, 266, 3.6), (-24, -26, 290, 3.5)),
            Tube((7, -10, 209, 4.5), (15, -14, 235, 3.8), (20, -20, 262, 3.6), (25, -26, 290, 3.5)),
            Tube((18, 4, 207, 5), (24, 2, 230, 5), (32, 0, 250, 4.8), (50, -5, 262, 4.5),
                 (85, -12, 258, 4)),
        ]
        # superior vena cava, brachiocephalic, subclavian and jugular veins, inferior vena cava,
        # azygos
        self._veins = [
            Tube((-29, -22, 214, 9), (-28, -20, 190, 9.5), (-27, -17, 168, 9.5),
                 (-28, -18, 145, 11)),
            Tube((36, -28, 246, 6), (26, -34, 232, 6.5), (4, -42, 221, 6.5), (-18, -34, 213, 7),
                 (-27, -25, 208, 8)),
            Tube((-40, -26, 248, 6), (-33, -27, 236, 7), (-29, -23, 212, 8)),
            Tube((36, -28, 246, 6), (60, -34, 256, 5.5), (95, -24, 252, 5)),
            Tube((-40, -26, 248, 6), (-60, -34, 256, 5.5), (-95, -24, 252, 5)),
            Tube((30, -30, 248, 5), (29, -30, 268, 5), (30, -32, 290, 5)),
            Tube((-33, -28, 246, 5), (-30, -30, 268, 5.5), (-31, -32, 290, 5.5)),
            Tube((-24, -6, 104, 11), (-23, 2, 88, 11.5), (-21, 8, 60, 11), (-18, 12, 20, 11),
                 (-17, 12, -10, 11)),
            Tube(*[(-6, f(z) - 4, z, 3.2) for z in (0, 40, 90, 140, 180)], (-9, f(190), 192, 3.6),
                 (-24, 6, 196, 4), (-29, -12, 191, 4)),
        ]

    def _shape_lung_vessels(self) -> None:
        self._lung_arteries = [
            Tube((14, -46, 142, 13), (19, -38, 158, 14.5), (17, -26, 172, 14), (12, -20, 176, 12)),
            Tube((16, -22, 174, 12), (30, -6, 182, 11), (42, 10, 180, 10), (48, 20, 166, 8.5),
                 (50, 26, 150, 7), (51, 28, 140, 5.5)),
            Tube((14, -20, 173, 11), (-8, -14, 170, 11), (-30, -8, 168, 10.5), (-42, 0, 162, 9),
                 (-49, 8, 150, 7.5), (-53, 14, 134, 6)),
            Tube((-34, -8, 170, 6.5), (-46, -10, 178, 5.5), (-54, -10, 184, 4.5)),
            Tube((40, 6, 182, 6), (46, 0, 186, 5), (52, -4, 188, 4)),
        ]
        self._lung_veins = [
            Tube((-22, 0, 148, 8), (-36, -12, 154, 6.5), (-52, -20, 164, 5)),
            Tube((-22, 8, 134, 8), (-38, 16, 128, 6.5), (-54, 22, 120, 5)),
            Tube((30, -4, 152, 8), (40, -14, 160, 6), (52, -18, 166, 5)),
            Tube((30, 10, 136, 8), (42, 20, 129, 6.5), (54, 24, 122, 5)),
        ]

    def _shape_airways_and_gullet(self) -> None:
        f = self._spine.front
        y = f(188) - 17  # where the windpipe divides
        self._trachea = Tube(
            (0, f(285) - 20, 292, 8.5), (0, f(255) - 19, 255, 8.5), (1, f(220) - 19, 220, 8.5),
            (3, f(196) - 18, 196, 9), (4, y, 188, 8.5),
        )
        self._bronchi = [
            Tube((3, y, 190, 7.5), (-12, y + 2, 177, 7), (-25, y + 4, 168, 6),
                 (-33, y + 6, 154, 4.8), (-38, y + 9, 144, 4.2), (-43, 28, 130, 3)),
            Tube((-18, y + 3, 173, 4.6), (-34, y, 177, 4.2), (-46, y - 2, 181, 3.2)),
            Tube((-36, y + 6, 148, 3.8), (-46, y - 10, 139, 3.4), (-54, y - 22, 132, 3)),
            Tube((5, y, 190, 7), (22, y + 4, 173, 6.2), (38, y + 8, 162, 5.2),
                 (44, y + 14, 152, 4.2), (49, 32, 138, 3)),
            Tube((38, y + 8, 163, 5), (50, y - 4, 166, 4.4), (57, y - 12, 171, 3)),
            Tube((44, y + 2, 163, 3.6), (54, y - 14, 154, 3.2), (60, y - 26, 146, 2.8)),
        ]
        self._gullet = Tube(
            (2, f(285) - 7, 292, 6), (5, f(240) - 6.5, 240, 6.5), (7, f(200) - 7, 200, 6.5),
            (6, f(160) - 7, 160, 7),
            (6, f(120) - 9, 120, 7.5), (12, f(95) - 16, 95, 8), (20, f(78) - 24, 78, 8.5),
            (34, f(66) - 28, 68, 9),
        )
        self._thyroid = [
            Tube((s * 15, f(280) - 24, 268, 7), (s * 16, f(290) - 24, 290, 9)) for s in (-1, 1)
        ]
        nodes = [
            (11, -21, 200, 2.6), (-18, -9, 193, 3.4), (-19, -3, 215, 2.3), (-14, 4, 184, 3.1),
            (-8, -20, 216, 2.2), (16, -1, 187, 3.3), (-2, 2, 179, 3.6), (12, -6, 197, 2.8),
        ]
        self._nodes = [Ellipsoid((x, y, z), (1.4 * r, r, r), (1, 0.6, 0.3)) for x, y, z, r in nodes]

    def _shape_neck(self) -> None:
        fat = (
            [(30, -24, 246, 10), (58, -26, 256, 11), (92, -18, 256, 10)],
            [(40, -10, 262, 8), (62, 10, 274, 11), (70, 22, 292, 12)],
        )
        muscles = (
            [(24, -52, 244, 5), (34, -46, 262, 7), (42, -36, 292, 9)],
            [(12, -44, 246, 3), (11, -42, 292, 4)],
            [(34, -2, 258, 5), (30, -8, 275, 7), (27, -10, 292, 7)],
            [(44, 14, 262, 6), (42, 8, 292, 8)],
        )
        self._inlet_fat, self._neck_muscles = (
            [Tube(*[(side * x, y, z, r) for x, y, z, r in points])
             for side in (-1, 1) for points in group]
            for group in (fat, muscles)
        )

    # fmt: on

    def envelope(self, s: Section) -> np.ndarray:
        """Measure the signed distance (mm) to the mediastinum.

        It has its organs, the fat that fills their creases, and the spine.
        """
        grid, z = s.grid, s.grid.z
        y0 = self._spine.y(z)
        total = np.sqrt((grid.x / 1.12) ** 2 + (grid.y - y0) ** 2) - 19.0
        total = np.minimum(total, np.maximum(np.abs(grid.x) - 22, y0 - grid.y))
        # The heart rests on the diaphragm, in fat: no lung slips under it.
        bed = Grid(grid.x, grid.y, 104 - 0.5 * (104 - z)) if z < 104 else grid
        for shape in (
            *self._muscle,
            self._right_atrium,
            self._left_atrium,
            self._outflow,
            *self._appendages,
        ):
            unite(total, shape.distance(bed, 22), 14, grow=3.5 if z < 165 else 1.5)
        for shape in (self._aorta, self._gullet, self._trachea, *self._veins, *self._arteries):
            unite(total, shape.distance(grid, 18), 13, grow=1.8)
        for shape in (*self._lung_arteries, *self._lung_veins, *self._bronchi):
            unite(total, shape.distance(grid, 9), 6, grow=1.4)
        front = -self.build.depth * float(curve([60, 140, 200, 235, 264], [102, 95, 72, 47, 30], z))
        box = grid.window(-70, 75, front - 30, y0)
        if box:
            # One sheet from breastbone to spine keeps the lungs apart: thin at the breastbone,
            # thicker at the spine.
            x, y = grid.x[box] - 3 - 2 * s.coarse[box], grid.y[box]
            thin = float(curve([180, 205, 225, 240], [1.2, 3, 9, 15], z))
            depth = 8 + 12 * float(bump(z, 95, 40))  # a pad of fat lies in front of the heart
            half = (
                thin
                + 14 * np.exp(-np.maximum(y - front, 0) / depth)
                + 8 * np.clip((y + 34) / 16, 0, 1)
            )
            total[box] = smooth_minimum(total[box], np.maximum(np.abs(x) - half, y - y0 + 20), 16)
        return total

    def draw(self, s: Section, height: np.ndarray) -> None:
        """Draw heart, great vessels and gullet; the fat around them is there already.

        ``height``: z of the diaphragm over every pixel (mm).
        """
        hu, enhanced = s.hu, self.build.contrast
        for node in self._nodes:
            paint_shape(hu, node.distance(s.grid), 45.0)
        for vessel in (self._aorta, *self._arteries):
            paint_shape(hu, vessel.distance(s.grid), 55.0, grow=0.9)
        self._draw_heart(s, height)
        blood = [
            (self._outflow, self._pulmonary),
            *[(shape, self._artery - 12 if enhanced else 42.0) for shape in self._appendages],
            *[(vessel, self._artery) for vessel in self._lung_veins],
            *[(vessel, self._pulmonary) for vessel in self._lung_arteries],
            *[(vessel, self._vein) for vessel in self._veins],
        ]  # fmt: skip
        for shape, value in blood:
            paint_shape(hu, shape.distance(s.grid), value)
        for vessel in (self._aorta, *self._arteries, *self._coronaries):
            paint_shape(hu, vessel.distance(s.grid), self._artery)
        paint_shape(hu, self._gullet.distance(s.grid), 45.0)
        paint_shape(hu, self._gullet.distance(s.grid), 20.0, grow=-3.5)
        for lobe in self._thyroid:
            paint_shape(hu, lobe.distance(s.grid), 125.0)

    def _draw_heart(self, s: Section, height: np.ndarray) -> None:
        """Draw the heart and its four chambers.

        It is smooth under its pericardium, and flat where it lies on the diaphragm.
        """
        if s.grid.z > 180:
            return
        floor = height + 2.0 - s.grid.z
        outline = np.full(s.hu.shape, np.float32(60))
        for shape in (*self._muscle, self._right_atrium, self._left_atrium):
            unite(outline, shape.distance(s.grid, 20), 22)
        outline = np.maximum(outline + 1.0 + 0.6 * s.coarse, floor)
        paint(s.hu, soft(outline), self._myocardium)
        for chamber, value, wall in (
            (self._right_ventricle, self._pulmonary, 2.5),
            (self._left_ventricle, self._artery, 7.0),
            (self._right_atrium, self._pulmonary - 14 if self.build.contrast else 42.0, 0.0),
            (self._left_atrium, self._artery, 0.0),
        ):
            found = chamber.distance(s.grid)
            if found:
                box, distance = found
                rough = 1.2 * s.coarse[box] + 1.3 * np.maximum(s.fine[box], 0) if wall else 0.0
                paint(s.hu[box], soft(np.maximum(distance + rough, floor[box] + wall), 2.0), value)

    def draw_inlet(self, s: Section) -> None:
        """Draw the inlet of the chest: fat around vessels, windpipe and gullet; neck muscles."""
        y0 = self._spine.y(s.grid.z)
        fade = float(np.clip((s.grid.z - INLET_Z) / 12, 0, 1))
        around = (
            np.sqrt((s.grid.x / 1.25) ** 2 + (s.grid.y - y0 + 27) ** 2)
            - 29 * fade
            + 4 * s.coarse
            + s.fine
        )
        for shape in self._inlet_fat:
            unite(around, shape.distance(s.grid, 20), 12)
        paint(s.hu, soft(around + 2 * s.cleft, 2.5) * soft(s.muscle + 9), FAT + 8 * s.fine)
        for muscle in self._neck_muscles:
            paint_shape(s.hu, muscle.distance(s.grid), MUSCLE)

    def draw_airways(self, s: Section) -> np.ndarray:
        """Draw trachea and bronchi with their walls.

        Returns the share of air in each pixel (0 to 1), in the shape of the slice.
        """
        air = np.zeros_like(s.hu)
        for tube in (self._trachea, *self._bronchi):
            found = tube.distance(s.grid)
            paint_shape(s.hu, found, 30.0, grow=1.5 if tube is self._trachea else 1.1)
            if found:
                box, distance = found
                np.maximum(air[box], soft(distance), out=air[box])
        paint(s.hu, air, -985.0)
        return air
