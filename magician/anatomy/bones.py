"""The bones of the teaching phantom: ribs, breastbone, shoulder blades, collar bones, arms."""

from __future__ import annotations

import numpy as np

from magician.anatomy.section import Build, Section
from magician.anatomy.shapes import Tube, bump, curve, paint, paint_shape, soft
from magician.anatomy.spine import HEADS_Z

MARROW, CORTEX, CARTILAGE = 190.0, 850.0, 105.0  # HU


class Skeleton:
    """The bones of one patient, without the spine."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self._girdle = self._shape_shoulder_girdle()

    def _shape_shoulder_girdle(self) -> list[Tube]:
        # (x, y, z, radius) along collar bone, spine and outer border of the shoulder blade,
        # coracoid, humerus
        # fmt: off
        bones = (
            [(20, -62, 236, 8), (36, -62, 242, 6.5), (70, -52, 252, 5.5), (105, -26, 264, 5.5),
             (140, 2, 277, 7)],
            [(66, 96, 204, 3), (92, 93, 222, 4.5), (120, 78, 240, 5.5), (148, 50, 262, 7),
             (152, 26, 275, 7)],
            [(104, 64, 136, 3), (113, 58, 170, 3.5), (119, 50, 205, 5.5), (127, 38, 232, 9),
             (138, 24, 250, 14)],
            [(130, 18, 254, 7), (122, -2, 262, 6), (118, -20, 258, 5)],
            [(162, 4, 262, 22), (168, 2, 270, 23), (176, -4, 300, 14)],
        )
        # fmt: on
        w, d = self.build.width, self.build.depth
        return [
            Tube(*[(side * x * w, y * d, z, r) for x, y, z, r in points])
            for side in (-1, 1)
            for points in bones
        ]

    def draw(self, s: Section) -> None:
        """Draw the bones around the cavity of the chest."""
        self._draw_shoulder_blades(s)
        self._draw_scapular_spines(s)
        for bone in self._girdle:
            found = bone.distance(s.grid)
            paint_shape(s.hu, found, CORTEX)
            paint_shape(s.hu, found, MARROW - 50, grow=-1.8)
        self._draw_ribs(s)
        self._draw_sternum(s)

    def _draw_shoulder_blades(self, s: Section) -> None:
        z = s.grid.z
        if not 118 < z < 252:
            return
        mask = (s.around > 0.4) & (s.around < 1.4) & (s.rho > 6) & (s.muscle < 0)
        blade = s.crop(mask)
        around = blade.around
        low = float(curve([118, 160, 200, 250], [0.98, 0.74, 0.60, 0.66], z))
        high = float(curve([118, 160, 200, 250], [1.02, 1.15, 1.22, 1.2], z))
        middle = blade.rho - 11 - 0.42 * (blade.rho - blade.muscle - 11) - 1.5 * blade.coarse
        outside = np.maximum(low - around, around - high) * 105
        border = bump(around, low, 0.05) + bump(around, high, 0.08)
        plate = np.maximum(np.abs(middle) - 1.3 - 1.3 * border, outside)
        paint(blade.hu, soft(plate), 700.0)
        s.hu[mask] = blade.hu

    def _draw_scapular_spines(self, s: Section) -> None:
        """Draw the ridges on the shoulder blades: plates that carry tubes of the girdle."""
        z, w, d = s.grid.z, self.build.width, self.build.depth
        keys = [204, 218, 234, 249]
        if not keys[0] < z < keys[-1]:
            return
        ridge = w * np.interp(z, keys, [66, 86, 110, 131]), d * np.interp(z, keys, [96, 94, 83, 67])
        foot = w * np.interp(z, keys, [69, 82, 98, 106]), d * np.interp(z, keys, [92, 85, 70, 56])
        along_x, along_y = foot[0] - ridge[0], foot[1] - ridge[1]
        for side in (-1, 1):
            left, right = sorted((side * ridge[0], side * foot[0]))
            box = s.grid.window(left - 6, right + 6, foot[1] - 6, ridge[1] + 6)
            if box is None:
                continue
            x, y = side * s.grid.x[box] - ridge[0], s.grid.y[box] - ridge[1]
            share = np.clip((x * along_x + y * along_y) / (along_x**2 + along_y**2), 0, 1)
            plate = np.hypot(x - share * along_x, y - share * along_y) - 2.6
            paint(s.hu[box], soft(plate), 650.0)
            paint(s.hu[box], soft(plate + 1.6), MARROW)

    def _draw_ribs(self, s: Section) -> None:
        z = s.grid.z
        near = (s.rho > -2) & (s.rho < 13)
        around, rho, x = s.around[near], s.rho[near], s.grid.x[near]
        fall = curve(
            [0, 0.35, 0.7, 1.4, 2.1, 2.55, 2.85, np.pi],
            [-2, -3, 6, 33, 64, 76, 66, 44],
            np.arange(0, 3.2, 0.01),
        )
        fall *= float(curve([100, 160, 220, 262], [1.0, 0.95, 0.72, 0.5], z))
        head = (
            z
            + fall[(around * 100).astype(np.int32)]
            + np.where(x > 0, np.float32(3), np.float32(-2))
        )
        # Which rib would have its head at that height? T1 is number 1; between ribs the number is
        # not whole.
        numbers = np.arange(len(HEADS_Z))[::-1] - 1.0
        table = np.float32(np.interp(np.arange(-60, 360), HEADS_Z[::-1], numbers))
        low = np.floor(head)
        step = low.astype(np.int32) + 60
        number = table[step] + (head - low) * (table[step + 1] - table[step])
        rib = np.round(number)
        order = np.clip(rib, 0, 13).astype(np.int32)
        gap = np.abs(np.gradient(np.asarray(HEADS_Z, np.float32)))[1:]
        up = (number - rib) * gap[order]
        shape = (np.sqrt((0.145 * up) ** 2 + ((rho - 5.0) / 3.8) ** 2 + 1e-6) - 1) * 4.4
        end = np.float32([0, 4, 4, 4, 4, 4, 4, 4, 2.75, 2.6, 2.45, 1.85, 1.2, 0])[order]
        shape = np.maximum(shape, (around - end) * 110)
        # its head meets the vertebra
        shape = np.where(around < 1, np.maximum(shape, 16.5 - np.abs(x)), shape)
        cartilage = np.interp(np.arange(14), [1, 5, 7, 10], [2.62, 2.55, 2.4, 2.05]).astype(
            np.float32
        )[order]
        cartilage = np.clip((around - cartilage) * 30, 0, 1)
        values = s.hu[near]
        paint(values, soft(shape), CORTEX - (CORTEX - CARTILAGE) * cartilage)
        marrow = MARROW + 60 * s.fine[near]
        paint(
            values, soft(shape + 1.5 - 0.9 * cartilage), marrow - (marrow - CARTILAGE) * cartilage
        )
        s.hu[near] = values

    def _draw_sternum(self, s: Section) -> None:
        z = s.grid.z
        if not 74 < z < 242:
            return
        half = float(
            curve([74, 96, 104, 150, 190, 198, 225, 242], [4, 8, 18, 17, 15, 24, 29, 22], z)
        )
        box = s.grid.window(-45, 45, -140, -5)
        x, rho = np.abs(s.grid.x[box]), s.rho[box] - 7.0
        rho = rho - 1.5 * (x / half) ** 2 + 0.7
        across, deep = (x / half) ** 2, (rho / 5.8) ** 2
        shape = (np.sqrt(np.sqrt(across**2 + deep**2 + 1e-6)) - 1) * 5.8 + 0.3 * s.coarse[box]
        paint(s.hu[box], soft(shape), 560.0)
        paint(s.hu[box], soft(shape + 1.4), 110 + 45 * s.fine[box])
