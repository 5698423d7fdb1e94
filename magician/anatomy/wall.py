"""The chest wall of the teaching phantom: body outline, skin, fat and muscles.

The chest wall is drawn in polar coordinates around the middle of the chest: ``phi`` is 0 at the
back, pi at the breastbone, negative on the patient's right. ``rho`` is the distance outwards from
the inner surface of the ribs.
"""

from __future__ import annotations

import numpy as np

from magician.anatomy.section import FAT, MUSCLE, Build, Section
from magician.anatomy.shapes import (
    Field,
    Grid,
    Tube,
    bump,
    curve,
    double,
    paint,
    smooth_minimum,
    soft,
    unite,
)

ANGLES = 2048
CENTRE_Y = -5.0
APEX_Z = 264.0


def superellipse(phi: np.ndarray, half_width, front, back, power: float) -> np.ndarray:
    """Compute the radius (slices, angles) of an egg-like outline, its half-axes given per slice."""
    s, c = np.abs(np.sin(phi)), np.cos(phi)
    half_depth = np.where(c < 0, front[:, None], back[:, None])
    return ((s / half_width[:, None]) ** power + (np.abs(c) / half_depth) ** power) ** (
        -1.0 / power
    )


class ChestWall:
    """The wall of one patient: outlines for all slices; draws skin, fat and muscles."""

    def __init__(self, build: Build, z: np.ndarray, fields: dict[str, Field]) -> None:
        self.build, self._fields = build, fields
        self._phi = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False, dtype=np.float32)
        self._outline_cavity(z)
        self._outline_body(z)
        self._outline_shoulders()

    def _outline_cavity(self, z: np.ndarray) -> None:
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

    def _outline_body(self, z: np.ndarray) -> None:
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
        fat = (
            build.fat
            * low
            * (0.55 + 0.55 * bump(around, 1.75, 0.7) + 0.25 * bump(around, np.pi, 0.7))
        )
        if build.sex == "F":
            level = bump(z, 136, 40)[:, None]
            fat = fat + (6 + build.fat) * level * bump(around, 2.40, 0.36)
        self._skin = (self._muscle + fat + 2.0).astype(np.float32)
        turn = np.gradient(self._skin, axis=1) / (2 * np.pi / ANGLES) / self._skin
        self._skin_slope = (1 / np.sqrt(1 + turn**2)).astype(np.float32)
        # Lying on the table flattens the back.
        self.table_y = float((self._skin * np.cos(self._phi)).max()) + CENTRE_Y - 5.0

    def _outline_shoulders(self) -> None:
        w, d = self.build.width, self.build.depth
        shoulder = [(98, 24, 208, 30), (128, 22, 242, 46), (158, 14, 270, 52), (190, 5, 300, 50)]
        armpit = [(134, 0, 172, 6), (125, -5, 196, 14), (114, -12, 222, 19), (103, -14, 248, 15)]
        self._shoulders, self._armpits = (
            [Tube(*[(side * x * w, y * d, z, r) for x, y, z, r in points]) for side in (-1, 1)]
            for points in (shoulder, armpit)
        )

    def back_y(self, x: np.ndarray) -> np.ndarray:
        """Give the y at which the patient's back touches the mattress: a shallow trough."""
        return self.table_y - 0.0008 * x**2

    def section(self, index: int, grid: Grid, hu: np.ndarray) -> Section:
        """Measure where the pixels of a slice lie, relative to skin, muscles and cavity."""
        # All these are smooth, so every second row and column is enough.
        half = Grid(grid.x[::2, ::2], grid.y[::2, ::2], grid.z)
        dy = half.y - CENTRE_Y
        radius = np.sqrt(half.x**2 + dy**2)
        around = np.arctan2(half.x, dy)
        bins = ((around + np.float32(np.pi)) * np.float32(ANGLES / (2 * np.pi))).astype(np.int32)
        bins &= ANGLES - 1  # ANGLES is a power of 2, so this is the remainder
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
            skin=double(skin), muscle=double(muscle), rho=double(rho),
            edge=float(self._cavity_edge[index]),
        )  # fmt: skip

    def draw(self, s: Section) -> None:
        """Draw skin, fat and muscles of a slice; bones and the cavity are drawn over them later."""
        # as deep as the edge of the cavity is blurred
        mask = (s.skin < 2) & (s.rho > -2 - 0.5 * s.edge)
        wall = s.crop(mask)
        fat = FAT + 8 * wall.fine + 30 * np.clip(wall.fine - 1.3, 0, 1)
        paint(wall.hu, soft(wall.skin), 20.0)
        paint(wall.hu, soft(wall.skin + 2.0), fat)
        self._draw_breasts(wall)
        self._draw_muscles(wall)
        s.hu[mask] = wall.hu
        self._draw_armpit_fat(s)

    def _draw_breasts(self, s: Section) -> None:
        if self.build.sex != "F" or not 90 < s.grid.z < 185:
            return
        share = (
            bump(s.around, 2.40, 0.26)
            * float(bump(s.grid.z, 136, 28))
            * np.clip(s.muscle / 4 - 0.5, 0, 1)
        )
        depth = np.clip((-s.skin - 4) / 6, 0, 1)
        paint(s.hu, np.clip(0.6 * s.coarse + s.fine - 0.1, 0, 1) * share * depth, 30.0)

    def _draw_muscles(self, s: Section) -> None:
        """Draw muscle, and fat between muscles: under the outer sheet, over the ribs, in clefts."""
        paint(s.hu, soft(s.muscle + 1.2 * s.coarse + 0.5 * s.fine), MUSCLE + 5 * s.fine)
        thick = s.rho - s.muscle
        ribs = np.abs(s.rho - 11.5 - 0.8 * s.coarse) + np.clip(16 - thick, 0, 9)
        sheet = np.abs(s.muscle + 10.5 + 2.2 * s.coarse) - 0.3 + np.clip(26 - thick, 0, 9)
        second = np.abs(s.muscle + 23 + 3.5 * s.coarse) + np.clip(44 - thick, 0, 9)
        between = np.abs(s.cleft + 0.06 * s.fine) * 20 + np.clip(30 - thick, 0, 9)
        plane = np.minimum(np.minimum(ribs, sheet) - 0.75, np.minimum(second - 0.9, between - 0.55))
        strength = np.clip(0.8 + 0.25 * s.fine, 0, 1) * soft(s.muscle + 3.0, 2.0)
        paint(s.hu, soft(plane, 1.7) * strength, FAT + 15)

    def _draw_armpit_fat(self, s: Section) -> None:
        for pit in self._armpits:
            found = pit.distance(s.grid, 20)
            if found:
                box, distance = found
                distance = distance + 6 * s.cleft[box] + 4 * s.coarse[box]
                fat = soft(distance, 4.0) * soft(11 - s.rho[box]) * soft(s.muscle[box] + 8)
                paint(s.hu[box], fat, FAT)
                paint(s.hu[box], fat * np.clip(2.5 * s.fine[box] - 3.0, 0, 1), 40.0)
