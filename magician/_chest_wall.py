"""Body outline, fat, muscles, ribs, sternum, spine and shoulder girdle of the teaching phantom.

The chest wall is drawn in polar coordinates around the middle of the chest: ``phi`` is 0 at the back, pi at the
breastbone, negative on the patient's right. ``rho`` is the distance outwards from the inner surface of the ribs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from magician._shapes import (
    Box,
    Field,
    Grid,
    Tube,
    bump,
    curve,
    double,
    paint,
    paint_shape,
    smooth_minimum,
    soft,
    unite,
)

ANGLES = 2048
CENTRE_Y = -5.0
APEX_Z = 264.0
# Heights (mm) of the rib heads, or of the upper edges of the vertebrae: C6, C7, T1 to T12, L1, L2.
HEADS_Z = [288, 274, 258, 240, 221, 202, 183, 163, 142, 121, 99, 76, 51, 26, 0, -28]
FAT, MUSCLE, MARROW, CORTEX, CARTILAGE = -105.0, 55.0, 190.0, 850.0, 105.0


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
    """One slice of one patient while it is being drawn; all arrays have the shape of ``hu``.

    ``around`` is the angle from the back (0) to the breastbone (pi);
    ``skin``, ``muscle`` and ``rho`` are distances (mm) to the skin, to the surface of the muscles and to the
    cavity of the chest, negative inside; ``edge`` is the thickness of the cavity's blurred edge. ``fine``,
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
        """A part of the slice. Drawing into a box draws into the whole; pixels picked by a mask are copies."""
        grid = Grid(self.grid.x[box], self.grid.y[box], self.grid.z)
        parts = {
            f.name: getattr(self, f.name)[box]
            for f in fields(self)
            if f.name not in ("index", "grid", "edge")
        }
        return Section(index=self.index, grid=grid, edge=self.edge, **parts)


def superellipse(phi: np.ndarray, half_width, front, back, power: float) -> np.ndarray:
    """Radius (slices, angles) of an egg-like outline whose half-axes are given per slice."""
    s, c = np.abs(np.sin(phi)), np.cos(phi)
    half_depth = np.where(c < 0, front[:, None], back[:, None])
    return ((s / half_width[:, None]) ** power + (np.abs(c) / half_depth) ** power) ** (-1.0 / power)


class ChestWall:
    """Outlines of one patient for all slices, and the drawing of everything outside the lungs' cavity."""

    def __init__(self, build: Build, z: np.ndarray, fields: dict[str, Field]) -> None:
        self.build, self._fields = build, fields
        self._phi = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False, dtype=np.float32)
        self._cavity_outline(z)
        self._body_outline(z)
        self._shoulder_girdle()

    # ------------------------------------------------------------------------------------------- outlines

    def _cavity_outline(self, z: np.ndarray) -> None:
        w, d = self.build.width, self.build.depth
        keys = [-10, 20, 60, 100, 140, 175, 200, 220, 235, 246, 254, 259, 263]
        cavity = superellipse(
            self._phi,
            w * curve(keys, [127, 132, 138, 140, 138, 129, 115, 96, 77, 60, 46, 33, 16], z),
            d * curve(keys, [90, 96, 99, 97, 90, 79, 66, 51, 38, 27, 18, 11, 4], z),
            d * curve(keys, [82, 86, 91, 95, 96, 95, 91, 84, 75, 64, 52, 40, 22], z),
            2.4,
        )
        cavity = cavity * (1 - 0.013 * np.sin(self._phi))  # the right lung is the wider one
        self._cavity = (cavity * (1 - 0.28 * bump(self._phi, 0, 0.40))).astype(np.float32)
        self._cavity[z > APEX_Z] = -40.0  # no pixel lies inside
        turn = np.gradient(self._cavity, axis=1) / (2 * np.pi / ANGLES) / self._cavity
        rise = np.gradient(cavity, float(z[1] - z[0]), axis=0)
        self._cavity_slope = (1 / np.sqrt(1 + turn**2)).astype(np.float32)
        self._cavity_edge = np.hypot(1.5, 2.6 * np.median(np.abs(rise), axis=1))

    def _body_outline(self, z: np.ndarray) -> None:
        build, around = self.build, np.abs(self._phi)
        w, d = build.width, build.depth
        keys = [-10, 60, 120, 160, 190, 215, 240, 260, 280]
        muscle = superellipse(
            self._phi,
            w * curve(keys, [140, 149, 153, 158, 163, 164, 160, 150, 136], z),
            d * curve(keys, [106, 112, 109, 103, 94, 83, 70, 61, 56], z),
            d * curve(keys, [106, 110, 114, 117, 118, 116, 110, 101, 92], z),
            2.35,
        )
        muscle *= (
            1
            + 0.035 * bump(around, 0.42, 0.3)
            - 0.05 * bump(around, 0, 0.12)
            - 0.03 * bump(around, np.pi, 0.2)
        )
        self._muscle = np.maximum(muscle, self._cavity + 11).astype(np.float32)
        low = curve([0, 100, 200, 280], [1.35, 1.1, 0.8, 0.6], z)[:, None]
        fat = build.fat * low * (0.55 + 0.55 * bump(around, 1.75, 0.7) + 0.25 * bump(around, np.pi, 0.7))
        if build.sex == "F":
            level = bump(z, 136, 40)[:, None]
            fat = fat + (6 + build.fat) * level * bump(around, 2.40, 0.36)
        self._skin = (self._muscle + fat + 2.0).astype(np.float32)
        turn = np.gradient(self._skin, axis=1) / (2 * np.pi / ANGLES) / self._skin
        self._skin_slope = (1 / np.sqrt(1 + turn**2)).astype(np.float32)
        # Lying on the table flattens the back.
        self.table_y = float((self._skin * np.cos(self._phi)).max()) + CENTRE_Y - 5.0

    def back_y(self, x: np.ndarray) -> np.ndarray:
        """Where the patient's back touches the mattress: a shallow trough."""
        return self.table_y - 0.0008 * x**2

    def section(self, index: int, grid: Grid, hu: np.ndarray) -> Section:
        """Measure where the pixels of a slice lie, relative to skin, muscles and cavity."""
        # All these are smooth, so every second row and column is enough.
        half = Grid(grid.x[::2, ::2], grid.y[::2, ::2], grid.z)
        dy = half.y - CENTRE_Y
        radius = np.sqrt(half.x**2 + dy**2)
        around = np.arctan2(half.x, dy)
        bins = ((around + np.float32(np.pi)) * np.float32(ANGLES / (2 * np.pi))).astype(np.int32) & (
            ANGLES - 1
        )
        slope = self._skin_slope[index][bins]
        skin = (radius - self._skin[index][bins]) * slope
        muscle = (radius - self._muscle[index][bins]) * slope
        for shoulder in self._shoulders:
            found = shoulder.distance(half, 40)
            unite(skin, found, 40)
            unite(muscle, found, 40, grow=-3 - 0.5 * self.build.fat)
        lying = self.back_y(half.x) - half.y
        skin = -smooth_minimum(-skin, lying, 12)
        muscle = -smooth_minimum(-muscle, lying - 4 - 0.2 * self.build.fat, 12)
        rho = (radius - self._cavity[index][bins]) * self._cavity_slope[index][bins]
        return Section(
            index=index, grid=grid, hu=hu, around=double(np.abs(around)),
            fine=self._fields["fine"].plane(index), coarse=self._fields["coarse"].plane(index),
            cleft=self._fields["cleft"].plane(index),
            skin=double(skin), muscle=double(muscle), rho=double(rho), edge=float(self._cavity_edge[index]),
        )  # fmt: skip

    # ------------------------------------------------------------------------------------- skin to muscles

    def draw(self, s: Section) -> None:
        """Draw skin, fat, muscle and bone of a slice; the cavity comes later and is drawn over it."""
        mask = (s.skin < 2) & (s.rho > -3)
        wall = s.crop(mask)
        fat = FAT + 8 * wall.fine + 30 * np.clip(wall.fine - 1.3, 0, 1)
        paint(wall.hu, soft(wall.skin), 20.0)
        paint(wall.hu, soft(wall.skin + 2.0), fat)
        self._breasts(wall)
        self._muscles(wall)
        self._scapulae(wall)
        s.hu[mask] = wall.hu
        self._armpit_fat(s)
        for bone in self._girdle:
            found = bone.distance(s.grid)
            paint_shape(s.hu, found, CORTEX)
            paint_shape(s.hu, found, MARROW - 50, grow=-1.8)
        self._ribs(s)
        self._sternum(s)

    def _breasts(self, s: Section) -> None:
        if self.build.sex != "F" or not 90 < s.grid.z < 185:
            return
        where = (
            bump(s.around, 2.40, 0.26) * float(bump(s.grid.z, 136, 28)) * np.clip(s.muscle / 4 - 0.5, 0, 1)
        )
        depth = np.clip((-s.skin - 4) / 6, 0, 1)
        paint(s.hu, np.clip(0.6 * s.coarse + s.fine - 0.1, 0, 1) * where * depth, 30.0)

    def _muscles(self, s: Section) -> None:
        """Muscle, and the planes of fat between muscles: under the outer sheet, over the ribs, and in clefts."""
        paint(s.hu, soft(s.muscle + 1.2 * s.coarse + 0.5 * s.fine), MUSCLE + 5 * s.fine)
        thick = s.rho - s.muscle
        ribs = np.abs(s.rho - 11.5 - 0.8 * s.coarse) + np.clip(16 - thick, 0, 9)
        sheet = np.abs(s.muscle + 10.5 + 2.2 * s.coarse) + np.clip(26 - thick, 0, 9)
        second = np.abs(s.muscle + 23 + 3.5 * s.coarse) + np.clip(44 - thick, 0, 9)
        between = np.abs(s.cleft + 0.12 * s.fine) * 17 + np.clip(20 - thick, 0, 9)
        plane = np.minimum(np.minimum(ribs, sheet) - 0.75, np.minimum(second - 0.9, between - 0.55))
        strength = np.clip(0.8 + 0.45 * s.fine, 0, 1) * soft(s.muscle + 3.0, 2.0)
        paint(s.hu, soft(plane, 1.7) * strength, FAT + 15)

    def _armpit_fat(self, s: Section) -> None:
        for pit in self._armpits:
            found = pit.distance(s.grid, 20)
            if found:
                box, distance = found
                distance = distance + 6 * s.cleft[box] + 4 * s.coarse[box]
                fat = soft(distance, 4.0) * soft(11 - s.rho[box]) * soft(s.muscle[box] + 8)
                paint(s.hu[box], fat, FAT)
                paint(s.hu[box], fat * np.clip(2.5 * s.fine[box] - 3.0, 0, 1), 40.0)

    # ---------------------------------------------------------------------------------------------- bones

    def spine_y(self, z: float) -> float:
        """Where the middle of the vertebral bodies lies: the curve of the back, leaning forward to the neck."""
        return self.build.depth * float(curve([-10, 60, 130, 190, 240, 285], [40, 49, 54, 51, 37, 12], z))

    def _shoulder_girdle(self) -> None:
        self._shoulders, self._girdle, self._armpits = [], [], []
        w, d = self.build.width, self.build.depth
        for side in (-1, 1):

            def tube(*points: tuple, side: int = side) -> Tube:
                return Tube(*[(side * x * w, y * d, z, r) for x, y, z, r in points])

            self._shoulders.append(
                tube((98, 24, 208, 30), (128, 22, 242, 46), (158, 14, 270, 52), (190, 5, 300, 50))
            )
            self._armpits.append(
                tube((132, 0, 180, 5), (122, -4, 205, 12), (112, -8, 228, 16), (104, -10, 250, 12))
            )
            self._girdle += [
                tube(
                    (20, -62, 236, 8),
                    (36, -62, 242, 6.5),
                    (70, -52, 252, 5.5),
                    (105, -26, 264, 5.5),
                    (140, 2, 277, 7),
                ),
                tube(
                    (66, 96, 204, 3),
                    (92, 93, 222, 4.5),
                    (120, 78, 240, 5.5),
                    (148, 50, 262, 7),
                    (152, 26, 275, 7),
                ),
                tube(
                    (104, 64, 136, 3),
                    (113, 58, 170, 3.5),
                    (119, 50, 205, 5.5),
                    (127, 38, 232, 9),
                    (138, 24, 250, 14),
                ),
                tube((130, 18, 254, 7), (122, -2, 262, 6), (118, -20, 258, 5)),
                tube((162, 4, 262, 22), (168, 2, 270, 23), (176, -4, 300, 14)),
            ]

    def _scapulae(self, s: Section) -> None:
        z = s.grid.z
        if not 118 < z < 252:
            return
        around = s.around
        low = float(curve([118, 160, 200, 250], [0.98, 0.74, 0.60, 0.66], z))
        high = float(curve([118, 160, 200, 250], [1.02, 1.15, 1.22, 1.2], z))
        middle = s.rho - 11 - 0.42 * (s.rho - s.muscle - 11) - 1.5 * s.coarse
        outside = np.maximum(low - around, around - high) * 105
        border = bump(around, low, 0.05) + bump(around, high, 0.08)
        plate = np.maximum(np.abs(middle) - 1.3 - 1.3 * border, outside)
        paint(s.hu, soft(plate), 700.0)

    def _ribs(self, s: Section) -> None:
        z = s.grid.z
        near = (s.rho > -2) & (s.rho < 13)
        around, rho, x = s.around[near], s.rho[near], s.grid.x[near]
        fall = curve(
            [0, 0.35, 0.7, 1.4, 2.1, 2.55, 2.85, np.pi],
            [-2, -3, 6, 33, 64, 76, 66, 44],
            np.arange(0, 3.2, 0.01),
        )
        fall *= float(curve([100, 160, 220, 262], [1.0, 0.95, 0.72, 0.5], z))
        head = z + fall[(around * 100).astype(np.int32)] + np.where(x > 0, np.float32(3), np.float32(-2))
        # Which rib would have its head at that height? T1 is number 1; between ribs the number is not whole.
        table = np.interp(np.arange(-60, 360), HEADS_Z[::-1], np.arange(len(HEADS_Z))[::-1] - 1.0).astype(
            np.float32
        )
        low = np.floor(head)
        step = low.astype(np.int32) + 60
        number = table[step] + (head - low) * (table[step + 1] - table[step])
        rib = np.round(number)
        order = np.clip(rib, 0, 13).astype(np.int32)
        gap = np.abs(np.gradient(np.asarray(HEADS_Z, np.float32)))[1:]
        shape = (
            np.sqrt(((number - rib) * gap[order] * 0.145) ** 2 + ((rho - 5.0) / 3.8) ** 2 + 1e-6) - 1
        ) * 4.4
        end = np.float32([0, 4, 4, 4, 4, 4, 4, 4, 2.75, 2.6, 2.45, 1.85, 1.2, 0])[order]
        shape = np.maximum(shape, (around - end) * 110)
        shape[(np.abs(x) < 15) & (around < 1)] = 50
        cartilage = np.interp(np.arange(14), [1, 5, 7, 10], [2.62, 2.55, 2.4, 2.05]).astype(np.float32)[order]
        cartilage = np.clip((around - cartilage) * 30, 0, 1)
        values = s.hu[near]
        paint(values, soft(shape), CORTEX - (CORTEX - CARTILAGE) * cartilage)
        marrow = MARROW + 60 * s.fine[near]
        paint(values, soft(shape + 1.5 - 0.9 * cartilage), marrow - (marrow - CARTILAGE) * cartilage)
        s.hu[near] = values

    def _sternum(self, s: Section) -> None:
        z = s.grid.z
        if not 74 < z < 242:
            return
        half = float(curve([74, 96, 104, 150, 190, 198, 225, 242], [4, 8, 18, 17, 15, 24, 29, 22], z))
        box = s.grid.window(-45, 45, -140, CENTRE_Y)
        x, rho = np.abs(s.grid.x[box]), s.rho[box] - 7.0
        rho = rho - 1.5 * (x / half) ** 2 + 0.7
        shape = (np.sqrt(np.sqrt((x / half) ** 4 + (rho / 5.8) ** 4 + 1e-6)) - 1) * 5.8 + 0.3 * s.coarse[box]
        paint(s.hu[box], soft(shape), 560.0)
        paint(s.hu[box], soft(shape + 1.4), 110 + 45 * s.fine[box])

    # ---------------------------------------------------------------------------------------------- spine

    def draw_spine(self, s: Section) -> None:
        """Draw the vertebra or disc that this slice cuts, its arch and the spinal canal."""
        z = s.grid.z
        y0 = self.spine_y(z)
        box = s.grid.window(-50, 50, y0 - 30, y0 + 80)
        grid = Grid(s.grid.x[box], s.grid.y[box], z)
        hu, fine = s.hu[box], s.fine[box]
        # A vertebra lies below the head of its rib.
        near = int(np.argmin(np.abs(np.asarray(HEADS_Z) - 9 - z)))
        up, gap = z - HEADS_Z[near] + 9.0, float(HEADS_Z[max(near, 1) - 1] - HEADS_Z[max(near, 1)])
        size = float(curve([0, 140, 280], [1.24, 1.1, 0.9], z)) * self.build.width
        canal_y = y0 + 15 * size + 7.5
        waist = 1 - 0.09 * np.cos(np.pi * min(max(up / (0.5 * gap), -1), 1))
        body = (
            (np.sqrt((grid.x / (17.5 * size)) ** 2 + ((grid.y - y0) / (15.5 * size)) ** 2 + 1e-6) - waist)
            * 15.5
            * size
        )
        canal = np.sqrt((grid.x / 1.1) ** 2 + (grid.y - canal_y) ** 2) - 7.8
        body = np.maximum(body, -canal - 1)
        disc = min(max((abs(up) - 0.5 * gap + 3.2) / 2.0, 0), 1)
        plate = min(max((abs(up) - 0.5 * gap + 5) / 2, 0), 1)
        arch = self._arch(grid, canal_y, up, size)
        paint(hu, soft(body), 560 * (1 - disc) + 90 * disc)
        paint(hu, soft(body + 1.4), (1 - disc) * (190 + 40 * fine + 130 * plate) + 85 * disc)
        paint(hu, soft(arch), 700.0)
        paint(hu, soft(arch + 1.6), 280.0)
        paint(hu, soft(canal), -30.0)
        paint(hu, soft(canal + 1.2), 18.0)
        paint(hu, soft(canal + 3.2), 38.0)

    def _arch(self, grid: Grid, canal_y: float, up: float, size: float) -> np.ndarray:
        """Pedicles, laminae, transverse and spinous processes as one signed distance."""
        x, y = np.abs(grid.x), grid.y - canal_y
        ring = np.abs(np.sqrt(x**2 + (y * 0.9) ** 2) - 12.0) - 2.4
        pedicle = np.maximum(ring, (abs(up - 4) - 4.5) * 0.7)
        lamina = np.maximum(ring, 1 - y)
        low = up + 0.55 * (y - 12)
        spinous = np.maximum(
            np.maximum(x - 3.2 + 0.05 * (y - 10), np.abs(low) - 9), np.maximum(10 - y, y - 30 * size)
        )
        reach = np.clip((x - 12) / 24, 0, 1)
        across = np.maximum(np.abs(y - 1 - 9 * reach) - 4.0 + reach, np.maximum(x - 36 * size, 11 - x))
        across = np.maximum(across, abs(up - 3) - 5.5)
        return np.minimum(np.minimum(pedicle, lamina), np.minimum(spinous, across))
