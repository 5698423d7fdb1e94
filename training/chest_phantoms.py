"""Procedural chest CT slices with known lungs, for training only.

Every number of the anatomy is drawn at random, far beyond what is common, so that a network trained
on these pictures takes a real patient for one more variation (domain randomisation, Tobin et al.
2017, arXiv:1703.06907). Nobody's images are needed. What is drawn is a caricature: good enough to
learn from, not to look at.

A phantom is a set of axial slices. Axes of every array: slices from feet to head, rows from
anterior to posterior, columns from the patient's right to the patient's left. Coordinates are in
mm: x to the patient's left, y to posterior, z to the head; z = 0 is about the top of the right dome
of the diaphragm.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SLICES, SIZE = 24, 256
AIR, FAT = -1000.0, -100.0
GAS = (-1000, -940)  # of stomach and bowel; were it lighter, dark lung would be taken for it


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], cells: tuple[int, ...]
) -> np.ndarray:
    """Random field of unit variance; about ``cells`` independent values along each axis."""
    values = rng.standard_normal([n + 3 for n in cells]).astype(np.float32)
    for axis, (length, n) in enumerate(zip(shape, cells, strict=True)):
        values = np.moveaxis(
            np.tensordot(_spline_basis(length, n), values, axes=(1, axis)), 0, axis
        )
    return values * (1.0 / max(float(values[:, ::3, ::3].std()), 1e-3))


def _spline_basis(length: int, cells: int) -> np.ndarray:
    position = (
        np.linspace(0, cells, length, dtype=np.float32)[:, None] - np.arange(-1, cells + 2)[None]
    )
    distance = np.abs(position)
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, inner, outer).astype(np.float32)


class Phantom:
    """One random chest. ``Phantom(seed).render()`` gives the slices and their labels."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.shape = (SLICES, SIZE, SIZE)
        # average neighbouring slices at the end, as thick slices do
        self.thick = rng.random() < 0.2
        u = rng.uniform
        self.size = u(0.78, 1.15)  # of the whole person
        self.height = u(165, 250) * self.size  # dome to apex
        self.half_width, self.half_depth = u(112, 150) * self.size, u(76, 112) * self.size
        self.ribs, self.muscle = u(7, 13), u(6, 22) * self.size
        self.fat = u(2, 12) if rng.random() < 0.5 else u(8, 40)
        self.shift = u(-8, 8) if rng.random() < 0.8 else u(-30, 30)  # of the mediastinum
        self.arms_down = rng.random() < 0.3
        self.prone = rng.random() < 0.04
        self.contrast = rng.random() < 0.5
        self.blood = u(110, 330) if self.contrast else u(25, 60)
        self.tissue = u(35, 65)
        self._make_grid()

    # ---------------------------------------------------------------- coordinates

    def _make_grid(self) -> None:
        rng, u, h = self.rng, self.rng.uniform, self.height
        low, high = u(-150, -20), h + u(0, 60)
        part = rng.random()
        if part < 0.15:  # a partial scan
            low, high = np.sort(u(low, high, 2))
            high = max(high, low + 40)
        elif part < 0.4:  # more slices of what is hard: the domes and what lies below them,
            high = u(0.1, 0.4) * h
        elif part < 0.5:  # and the apices between the shoulders
            low = u(0.55, 0.8) * h
        if self.thick:  # triples of near slices
            centres = np.linspace(low, high, SLICES // 3)
            zs = (centres[:, None] + u(1.2, 3.5) * np.array([-1, 0, 1])).ravel()
        else:
            zs = np.linspace(low, high, SLICES)
        outer = self.half_width + self.ribs + self.muscle + self.fat
        fov = 2 * outer * (u(1.0, 1.2) if rng.random() < 0.8 else u(0.78, 1.0)) + (
            60 * self.arms_down
        )
        self.pixel = fov / SIZE
        self.zs = zs.astype(np.float32)
        row = (np.arange(SIZE, dtype=np.float32) - SIZE / 2) * self.pixel
        x0, y0 = row[None, None, :] + u(-12, 12), row[None, :, None] + u(-15, 20)
        self.x0, self.y0 = x0, y0
        # small rotations (plain floats keep arrays in float32)
        a, b, c = np.deg2rad(u(-9, 9, 3)).tolist()
        z0 = self.zs[:, None, None]
        x = x0 + a * y0 + b * (z0 - h / 2)
        y = y0 - a * x0 + c * (z0 - h / 2)
        z = z0 - b * x0 - c * y0
        cells = (4, 5, 5)
        amplitude = u(3, 11)
        self.x = x + amplitude * smooth_field(rng, self.shape, cells)
        self.y = y + amplitude * smooth_field(rng, self.shape, cells)
        self.z = z + 1.2 * amplitude * smooth_field(rng, self.shape, cells)

    def _to_grid(self, points: np.ndarray) -> np.ndarray:
        """Anatomical points (n, 3) as x, y, z to where the bent coordinate system puts them."""
        points = np.atleast_2d(points).astype(float)
        found = points.copy()
        for _ in range(3):
            i, j, k = self._index(found)
            here = np.stack([self.x[i, j, k], self.y[i, j, k], self.z[i, j, k]], 1)
            inside = np.stack([self.x0[0, 0, k], self.y0[0, j, 0], self.zs[i]], 1)
            found = points - (here - inside)
        return found

    def _index(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        i = np.abs(points[:, 2:3] - self.zs[None]).argmin(1)
        j = np.clip(np.rint((points[:, 1] - self.y0.flat[0]) / self.pixel), 0, SIZE - 1).astype(int)
        k = np.clip(np.rint((points[:, 0] - self.x0.flat[0]) / self.pixel), 0, SIZE - 1).astype(int)
        return i, j, k

    def _ellipsoid(self, centre, axes, turn: float = 0.0) -> np.ndarray:
        """Below 1 inside; turned in the axial plane by ``turn`` radians."""
        dx, dy, dz = self.x - float(centre[0]), self.y - float(centre[1]), self.z - float(centre[2])
        c, s = float(np.cos(turn)), float(np.sin(turn))
        axes = [float(a) for a in axes]
        return (
            ((c * dx + s * dy) / axes[0]) ** 2
            + ((c * dy - s * dx) / axes[1]) ** 2
            + (dz / axes[2]) ** 2
        )

    def _paint_tubes(self, out: np.ndarray, start, end, radius) -> np.ndarray:
        """Cover ``out`` (0..1) with rods from ``start`` to ``end``, both (n, 3), in grid mm."""
        first_x, first_y = self.x0.flat[0], self.y0.flat[0]
        xs, ys = self.x0.ravel(), self.y0.ravel()
        for p, q, r in zip(
            np.asarray(start), np.asarray(end), np.broadcast_to(radius, len(start)), strict=True
        ):
            lo_z, hi_z = min(p[2], q[2]) - r, max(p[2], q[2]) + r
            d = q - p
            norm = float(d @ d) + 1e-6
            for i in np.flatnonzero((self.zs >= lo_z) & (self.zs <= hi_z)):
                dz = self.zs[i] - p[2]
                # the part of the rod that comes near this slice
                if abs(d[2]) > 1e-3:
                    t = np.clip(np.sort(((dz - r) / d[2], (dz + r) / d[2])), 0, 1)
                else:
                    t = np.array([0.0, 1.0])
                ends = p[:2] + t[:, None] * d[:2]
                (ax, ay), (bx, by) = ends.min(0) - r - self.pixel, ends.max(0) + r + self.pixel
                j0, j1 = (
                    max(int((ay - first_y) / self.pixel), 0),
                    int((by - first_y) / self.pixel) + 2,
                )
                k0, k1 = (
                    max(int((ax - first_x) / self.pixel), 0),
                    int((bx - first_x) / self.pixel) + 2,
                )
                if j1 <= 0 or k1 <= 0 or j0 >= SIZE or k0 >= SIZE:
                    continue
                dx, dy = xs[None, k0:k1] - p[0], ys[j0:j1, None] - p[1]
                along = np.clip((dx * d[0] + dy * d[1] + dz * d[2]) / norm, 0, 1)
                distance = np.sqrt(
                    (dx - along * d[0]) ** 2 + (dy - along * d[1]) ** 2 + (dz - along * d[2]) ** 2
                )
                patch = out[i, j0:j1, k0:k1]
                np.maximum(patch, np.clip((r - distance) / self.pixel + 0.5, 0, 1), out=patch)
        return out

    def _chain(self, out: np.ndarray, points, radius: float) -> np.ndarray:
        """Paint a bent tube through anatomical points."""
        grid = self._to_grid(np.asarray(points))
        return self._paint_tubes(out, grid[:-1], grid[1:], radius)

    def _blank(self) -> np.ndarray:
        return np.zeros(self.shape, np.float32)

    # ---------------------------------------------------------------- anatomy

    def _cage(self) -> None:
        """Distances in mm: ``cage`` outward from the inner chest wall, ``skin`` inward from the
        skin.
        """
        u, h = self.rng.uniform, self.height
        upper = np.clip((self.z - u(0.25, 0.45) * h) / (0.65 * h), 0, 1.2) ** 2
        a = self.half_width * (1 - u(0.35, 0.52) * upper)
        b = self.half_depth * (1 - u(0.3, 0.5) * upper)
        y = self.y - u(10, 30) * self.size * upper
        self.y_cage = y
        self.cage = _outside(self.x, y, a, b, u(2.0, 2.7))
        self.cage += u(0, 1.2) * smooth_field(self.rng, self.shape, (6, 12, 12))
        # body: wider at the shoulders, narrow at the neck
        above = (self.z - h) / (30 * self.size)
        neck = 1 / (1 + np.exp(-np.clip((above - u(0.2, 1.2)) * 2.5, -30, 30)))
        shoulder = np.exp(-(((self.z - h + 25) / (55 * self.size)) ** 2))
        wall = self.ribs + self.muscle + self.fat
        wide = (self.half_width + wall) * (1 + u(0.0, 0.5) * shoulder) * (1 - 0.55 * neck)
        deep = (
            (self.half_depth + wall + 14) * (1 - u(0.0, 0.35) * shoulder) * (1 - u(0.2, 0.4) * neck)
        )
        body = -_outside(self.x, self.y - u(6, 18), wide, deep, u(2.0, 3.0))
        self.skin = np.maximum(body, self.ribs + 9 - self.cage)  # never thinner than the ribs
        if self.rng.random() < 0.35:  # breasts
            for side in (-1, 1):
                centre = (side * self.half_width * 0.55, -self.half_depth - 18, u(0.1, 0.4) * h)
                inside = self._ellipsoid(centre, (u(45, 75), u(28, 60), u(45, 80)))
                self.skin = np.maximum(self.skin, (1 - np.sqrt(inside)) * 45)
        self.neck, self.shoulder = neck, shoulder

    def _chest_wall(self) -> None:
        rng, u, hu = self.rng, self.rng.uniform, self.hu
        body = self.skin > 0
        hu[body] = FAT + u(-15, 15)
        fat = self.fat * np.exp(0.35 * smooth_field(rng, self.shape, (2, 4, 4)))
        angle = np.arctan2(self.y_cage, np.abs(self.x))
        # muscle layers with fat planes between them: thick where pectoral, latissimus and back
        # muscles are
        layer = self.cage + u(4, 13) * smooth_field(rng, self.shape, (3, 5, 5))
        planes = np.sin(
            2 * np.pi * layer / u(12, 50) + u(1, 5) * smooth_field(rng, self.shape, (4, 9, 9))
        )
        muscle = (self.skin > fat) & (
            (np.abs(planes - u(-0.9, 0.9)) > u(0.03, 0.35)) | (layer < 10)
        )
        muscle &= smooth_field(rng, self.shape, (4, 7, 7)) > u(-2.2, -1.0)
        hu[muscle] = self.tissue
        muscles = smooth_field(rng, self.shape, (4, 20, 20))
        hu[muscle] += u(4, 25) * np.minimum(muscles[muscle], 0)
        hu[body & (self.skin < u(1.5, 3.5))] = u(0, 50)
        if rng.random() < 0.5:  # glands and strands in the fat
            strands = (
                body
                & (self.skin < fat)
                & (smooth_field(rng, self.shape, (6, 24, 24)) > u(1.2, 2.0))
            )
            hu[strands] = u(-30, 40)
        self._armpits(body)
        # ribs run obliquely, higher at the back, between the muscles of their spaces
        shell = (self.cage > 0) & (self.cage < self.ribs) & body
        hu[shell] = self.tissue + u(-20, 5)
        hu[shell & (smooth_field(rng, self.shape, (5, 16, 16)) > u(0.2, 1.2))] = FAT + 20
        phase = (
            (self.z - u(0.3, 0.9) * self.y) / (u(24, 36) * self.size)
            + u(0, 1)
            + 0.07 * np.sign(self.x)
        )
        across = np.abs(phase - np.floor(phase) - 0.5) / u(0.18, 0.3)
        middle = np.abs(self.cage / self.ribs - 0.5) * 2
        rib = shell & (np.maximum(across, middle) < 1)
        bone, marrow = u(300, 900), u(60, 350)
        inner = rib & (np.maximum(across, middle) < u(0.5, 0.8))
        hu[rib], hu[inner] = bone, marrow
        cartilage = rib & (angle < np.deg2rad(-u(35, 60)))
        hu[cartilage] = u(70, 200)
        # ribs bulge into the lung
        self.cage -= np.float32(u(-0.5, 2.0)) * ((across < 1) & (self.cage < 6))
        pleural_fat = (self.cage > 0) & (
            self.cage < u(0, 4) * smooth_field(rng, self.shape, (4, 9, 9))
        )
        hu[pleural_fat & body & ~rib] = FAT
        self.bone, self.marrow = bone, marrow

    def _armpits(self, body: np.ndarray) -> None:
        """Fat between the muscles of arm, chest and neck, with vessels and nodes in it; sometimes
        there is none.
        """
        rng, u, hu, s, h = self.rng, self.rng.uniform, self.hu, self.size, self.height
        if rng.random() < 0.25:
            return
        wall = self.ribs + u(0, 15)
        mix = smooth_field(rng, self.shape, (6, 18, 18))
        cords = self._blank()
        for side in (-1, 1):
            for _ in range(rng.integers(1, 5)):
                centre = (side * self.half_width * u(0.4, 1.15), u(-50, 50) * s, h - u(-15, 95) * s)
                fat = self._ellipsoid(centre, u(18, 70, 3) * s, u(-1, 1)) + 0.3 * mix
                hu[body & (fat < 1) & (self.cage > wall) & (self.skin > 3)] = FAT + u(-15, 25)
                ends = [
                    (side * 25 * s, u(-40, 10), h),
                    centre,
                    (side * self.half_width * 1.3, u(-30, 40), h + u(-60, 30)),
                ]
                self._chain(cords, ends, u(2, 6) * s)
                node = self._ellipsoid(np.array(centre) + rng.normal(0, 8, 3), u(4, 11, 3))
                hu[body & (node < 1) & (self.cage > wall)] = u(0, 60)
        hu[body & (cords > 0.5) & (self.cage > wall)] = (
            self.blood if rng.random() < 0.5 else self.tissue
        )

    def _skeleton(self) -> None:
        rng, u, hu, s, h = self.rng, self.rng.uniform, self.hu, self.size, self.height
        # spine
        curve = u(-12, 12) * np.sin(self.z / u(90, 200) + u(0, 6))
        x = self.x - curve
        y = self.y - (self.half_depth - u(4, 16) * s) - u(-5, 10) * np.clip(self.z / h, -0.5, 1.3)
        self.spine_x, self.spine_y = x, y
        radius = u(15, 22) * s
        body = (x / (1.15 * radius)) ** 2 + (y / radius) ** 2
        disc = np.abs(((self.z / (u(20, 30) * s)) % 1) - 0.5) < u(0.05, 0.13)
        self.paraspinal = (x / (1.15 * radius + u(2, 7))) ** 2 + (
            np.minimum(y, 0) / (radius + u(2, 6))
        ) ** 2 < 1
        self.paraspinal &= y < 45
        behind = (y > radius * 0.6) & (np.abs(x) < u(28, 48) * s) & (self.skin > 8)
        hu[behind & (smooth_field(rng, self.shape, (4, 10, 10)) > -1.4)] = self.tissue - 5
        hu[self.paraspinal] = u(-90, 40)
        hu[body < 1], hu[body < 0.8] = self.bone * 0.7, self.marrow
        hu[(body < 1) & disc] = u(60, 130)
        canal = (x / (9 * s)) ** 2 + ((y - radius - 9 * s) / (8 * s)) ** 2
        arch = (canal < 2.6) | ((np.abs(x) < 4 * s) & (y > radius) & (y < radius + u(35, 50) * s))
        wings = (
            (np.abs(y - radius - 12 * s - 0.25 * np.abs(x)) < 4.5 * s)
            & (np.abs(x) < 34 * s)
            & ~disc
        )
        hu[(arch | wings) & (self.skin > 4) & (y > radius * 0.8)] = self.bone * u(0.6, 1)
        hu[canal < 1] = u(0, 40)
        # sternum, clavicles, scapulae, humeri
        front = (np.abs(self.x - self.shift * 0.2) < u(12, 22) * s) & (self.y_cage < 0)
        plate = (
            front
            & (self.cage > 1)
            & (self.cage < u(9, 15))
            & (self.z > u(-0.05, 0.2) * h)
            & (self.z < 0.88 * h)
        )
        hu[plate] = self.marrow
        hu[plate & ((self.cage < 3) | (self.cage > 8))] = self.bone * 0.7
        bones = self._blank()
        joint = (
            self.half_width * u(1.0, 1.25),
            u(-10, 35),
            h + u(-35, 30) + (0 if self.arms_down else 25),
        )
        for side in (-1, 1):
            inner_end = (side * 20 * s, -self.half_depth * u(0.55, 0.8), h * u(0.8, 0.95))
            middle = (
                side * self.half_width * 0.6,
                -self.half_depth * u(0.2, 0.6),
                h * u(0.9, 1.08),
            )
            outer_end = (side * joint[0], joint[1] - 10, joint[2] + 12)
            self._chain(bones, [inner_end, middle, outer_end], u(5, 8))
            arm_end = np.array(joint) + (
                (u(5, 40), u(-20, 30), -200) if self.arms_down else (u(0, 60), u(-30, 30), 80)
            )
            self._chain(
                bones, [(side * joint[0], *joint[1:]), (side * arm_end[0], *arm_end[1:])], u(10, 13)
            )
            self._chain(bones, [(side * joint[0], *joint[1:])] * 2, u(19, 25))
        if self.arms_down:
            flesh = self._blank()
            for side in (-1, 1):
                top, low = (
                    (side * joint[0] * 1.02, *joint[1:]),
                    (side * (joint[0] + u(10, 45)), u(-10, 30), joint[2] - 220),
                )
                self._chain(flesh, [top, low], u(32, 50) * s)
            arm = (flesh > 0.5) & (self.skin <= 0)
            hu[arm] = self.tissue
            hu[arm & (ndimage.gaussian_filter(flesh, (0, 3, 3)) < 0.75)] = FAT
        depth = self.cage - u(14, 30) - 7 * smooth_field(rng, self.shape, (3, 5, 5))
        blade = (np.abs(depth) < u(1.6, 4)) & (
            np.arctan2(self.y_cage, np.abs(self.x)) > np.deg2rad(u(-15, 15))
        )
        blade &= (
            (np.abs(self.x) > u(45, 70) * s)
            & (self.z > u(0.3, 0.55) * h)
            & (self.z < h + 20)
            & (self.skin > 6)
        )
        hu[blade] = self.bone * 0.8
        inside = (bones > 0.5) & ((self.skin > 2) | self.arms_down)
        hu[inside] = self.bone * u(0.6, 1)
        hu[inside & (ndimage.gaussian_filter(bones, (0, 1.5, 1.5)) > 0.93)] = self.marrow

    def _mediastinum(self) -> None:
        """Heart, vessels, oesophagus and the fat that joins them; everything here is outside the
        lungs.
        """
        rng, u, hu, s, h, x0 = (
            self.rng,
            self.rng.uniform,
            self.hu,
            self.size,
            self.height,
            self.shift,
        )
        b, w = self.half_depth, self.half_width / 130
        soft, blood, heart = self._blank(), self._blank(), self.tissue + u(-5, 15)
        spine_front = b - 28 * s
        carina = np.array((x0 * 0.6, u(5, 22), u(0.5, 0.63) * h))
        self.hilum = {
            side: np.array((x0 + side * u(30, 46) * w, u(2, 24), u(0.4, 0.53) * h))
            for side in (-1, 1)
        }
        centre = (x0 + u(10, 36) * w, -b * u(0.12, 0.4), h * u(0.14, 0.3))
        ratio = u(0.8, 1.2)
        chambers = self._ellipsoid(
            centre, (u(42, 72) * w * ratio, u(32, 56) * s / ratio, u(45, 72) * s), u(0.2, 0.9)
        )
        atrium = self._ellipsoid(
            (x0 + u(-8, 8), u(8, 24), h * u(0.28, 0.36)),
            (u(30, 46) * w, u(16, 26) * s, u(22, 36) * s),
        )
        arch, r = u(0.62, 0.76) * h, u(11, 18) * s
        tubes = [
            (
                [
                    (x0 - 8, -b * 0.3, 0.3 * h),
                    (x0 - 16, -b * 0.3, 0.5 * h),
                    (x0 - 6, -b * 0.2, arch - 8),
                    (x0 + 12, b * 0.05, arch),
                    (x0 + 24, spine_front - 26, arch - 12),
                    (x0 + 24, spine_front - 14, 0.5 * h),
                    (x0 + 16, spine_front - 6, 0.15 * h),
                    (8, spine_front, -130),
                ],
                r,
            ),
            ([(x0 + 14, -b * 0.4, 0.36 * h), (x0 + 14, -b * 0.15, 0.5 * h)], u(11, 17) * s),
            (
                [
                    (x0 - 24, -b * 0.15, 0.4 * h),
                    (x0 - 24, -b * 0.2, 0.76 * h),
                    (x0 - 22, -b * 0.3, h + 60),
                ],
                u(6, 10) * s,
            ),
            (
                [
                    (x0 - 24, -b * 0.2, 0.74 * h),
                    (x0 + 20, -b * 0.4, 0.82 * h),
                    (x0 + 38, -b * 0.2, h + 40),
                ],
                u(5, 9) * s,
            ),
            ([(x0 - 4, -b * 0.15, arch), (x0 - 14, -b * 0.1, h + 60)], u(5, 8) * s),
            ([(x0 + 16, 0, arch), (x0 + 20, b * 0.05, h + 60)], u(4, 7) * s),
            ([(x0 - 22, 0, 0.22 * h), (x0 - 24, 12, -130)], u(9, 15) * s),
        ]
        for points, radius in tubes:
            self._chain(blood, points, radius)
        trunk = np.array((x0 + 12, -b * 0.12, u(0.46, 0.52) * h))
        for side in (-1, 1):
            hilum = self.hilum[side]
            self._chain(
                blood,
                [trunk, (trunk + hilum) / 2 + (0, -4, 3), hilum + (side * 8, -4, 6)],
                u(7, 12) * s,
            )
            for dz in (-22, -8):
                vein = hilum + (side * u(2, 14), u(-14, 2), dz)
                self._chain(blood, [(x0 + side * 15, 12, 0.32 * h), vein], u(5, 8) * s)
            # nodes, fat
            self._chain(soft, [hilum, hilum + (side * u(4, 12), 0, u(-20, 15))], u(7, 14) * s)
        gullet = [
            (x0 * 0.5 + u(-6, 12), spine_front - u(6, 14), z) for z in (-100, 0.2 * h, 0.6 * h)
        ]
        gullet.append((u(-3, 8), b * 0.35, h + 60))
        gullet_r = u(5, 10) * s
        oesophagus = self._chain(self._blank(), gullet, gullet_r)
        # the slab that parts the lungs: a thin junction line in front, wide at the great vessels
        line_x = x0 * 0.9 + u(-12, 12) * np.clip(-self.y / b, 0, 1) + self.spine_x * 0
        to_back = 1 / (1 + np.exp(-np.clip((self.y + u(0.15, 0.55) * b) / u(5, 12), -30, 30)))
        to_top = 1 / (1 + np.exp(-np.clip((self.z - u(0.7, 0.85) * h) / 12, -30, 30)))
        slab = u(0.6, 5) + (u(7, 18) * to_back + u(8, 26) * to_top) * w
        triangle = np.clip((-self.y_cage - u(0.75, 0.95) * b) / 8, 0, 1) * u(0, 25)
        self.midline = self.x - line_x
        core = np.abs(self.midline) < slab + triangle
        organs = (
            (np.minimum(chambers, atrium) < 1)
            | (np.maximum(blood, soft) > 0.5)
            | (oesophagus > 0.5)
        )
        self.airway, self.airway_wall = self._blank(), self._blank()
        windpipe, r_air, wall = u(6.5, 11) * s, u(4.5, 7.5) * s, u(1, 2.2)
        for out, more in ((self.airway, 0.0), (self.airway_wall, wall)):
            self._chain(
                out,
                [(u(-6, 6), b * u(0.1, 0.3), h + 70), (x0 * 0.5, b * 0.15, 0.8 * h), carina],
                windpipe + more,
            )
            for side in (-1, 1):
                self._chain(out, [carina, self.hilum[side] + (0, 4, 0)], r_air + more)
        organs |= self.airway_wall > 0.5
        smooth = ndimage.gaussian_filter(
            (core | organs).astype(np.float32), (0, *[u(2, 5) / self.pixel] * 2)
        )
        self.middle = core | organs | (smooth > u(0.45, 0.6))
        if rng.random() < 0.4:  # fat pads beside the heart
            pad = self._ellipsoid(
                (x0 + u(-60, 80), -b * 0.6, u(-5, 20)), (u(20, 50), u(15, 35), u(15, 35))
            )
            self.middle |= pad < 1
        inside = self.middle & (self.cage < 0)
        hu[inside] = FAT + u(-10, 40)
        texture = smooth_field(rng, self.shape, (5, 26, 26))
        hu[inside & (texture > u(0.8, 2.2))] = u(-20, 60)
        spare = np.minimum(np.sqrt(np.minimum(chambers, atrium)), 2)
        hu[spare < 1] = heart
        cavity = (spare < u(0.7, 0.9)) & (texture + smooth_field(rng, self.shape, (3, 8, 8)) > -1.2)
        hu[cavity] = self.blood * u(0.7, 1.1)
        hu[soft > 0.5] = u(-60, 60)
        hu[blood > 0.5] = self.blood
        hu[oesophagus > 0.5] = self.tissue - 10
        if rng.random() < 0.3:
            gas = self._chain(self._blank(), gullet, gullet_r * u(0.2, 0.75))
            hu[(gas > 0.5) & (smooth_field(rng, self.shape, (8, 2, 2)) > 0)] = -900
        self.organs = organs

    def _lungs(self) -> None:
        """Label: chest cavity, above the diaphragm, below the apex, outside mediastinum and spine."""
        rng, u, h, w = self.rng, self.rng.uniform, self.height, self.half_width
        dome, cap = np.full(self.shape, -1e3, np.float32), np.full(self.shape, 1e4, np.float32)
        steep, tilt = (u(55, 130) if rng.random() < 0.7 else u(20, 55)) * self.size, u(-0.1, 0.4)
        self.dome_top = {}
        for side in (-1, 1):
            top = (u(-6, 6) if side < 0 else u(-28, 6)) * self.size
            top += u(20, 70) if rng.random() < 0.08 else 0  # a raised half
            here = self.midline * side > 0
            dx = (self.x - side * u(0.4, 0.55) * w) / (w * u(0.55, 0.75))
            dy = (self.y_cage + u(0, 0.25) * self.half_depth) / (self.half_depth * u(0.95, 1.2))
            # from a cone to a flat plate with steep sides, often higher in front than at the back
            fall = np.minimum(
                (dx**2 + dy**2) ** (u(0.9, 1.4) if rng.random() < 0.6 else u(1.4, 4)), 3
            )
            height = (
                top
                - steep * fall
                + u(1, 5) * smooth_field(rng, self.shape, (1, 4, 4))
                - tilt * self.y_cage
            )
            dome = np.where(here, height, dome)
            ax, ay = side * u(0.3, 0.46) * w, u(5, 35) * self.size
            q = ((self.x - ax) ** 2 + (self.y - ay) ** 2) / (u(38, 56) * self.size) ** 2
            cap = np.where(here, h * u(0.96, 1.04) - 40 * q / (1 + 40 * q / u(45, 110)), cap)
            self.dome_top[side] = top
        self.dome, self.cap = self.z - dome, cap - self.z
        lung = (self.cage < 0) & (self.dome > 0) & (self.cap > 0) & ~self.middle & ~self.paraspinal
        self.label = np.where(lung, np.where(self.midline < 0, 1, 2), 0).astype(np.uint8)
        self.label *= ndimage.binary_opening(lung, np.ones((1, 3, 3)))  # no crumbs

    def _neck(self) -> None:
        neck = (self.cage < 0) & (self.cap <= 0) & ~self.organs & ~self.paraspinal
        mix = smooth_field(self.rng, self.shape, (5, 12, 12))
        self.hu[neck] = np.where(mix > self.rng.uniform(-1, 0.3), self.tissue, FAT)[neck]

    def _abdomen(self) -> None:
        """Fat, and in it organs that leave more or less of it in front, at the sides and under the
        domes.
        """
        rng, u, hu, s = self.rng, self.rng.uniform, self.hu, self.size
        below = (self.cage < 0) & (self.dome <= 0) & ~self.organs & ~self.paraspinal
        fat_hu = u(-135, -55)
        hu[below] = fat_hu
        hu[below] += u(0, 25) * smooth_field(rng, self.shape, (5, 30, 30))[below]  # stranding
        mix = smooth_field(rng, self.shape, (5, 12, 12))
        hu[below & (mix > u(0.3, 2.5))] = u(10, 60)
        enhanced = u(0, 60) if self.contrast else u(-25, 10)
        kidney = [
            self._ellipsoid((side * u(40, 75) * s, u(20, 55), u(-130, -30)), u(20, 60, 3))
            for side in (-1, 1)
        ]
        hu[below & (np.minimum(*kidney) < 1)] = u(25, 50) + 1.5 * enhanced
        liver = (
            below
            & (self.x + 0.5 * self.y < u(20, 90))
            & (self.x < u(-10, 60))
            & self._within(u(1, 4))
        )
        liver &= self.dome > -(u(40, 120) if rng.random() < 0.4 else 300)
        hu[liver] = u(45, 65) + enhanced
        centre = (u(70, 110) * s, u(20, 55), self.dome_top[1] - u(25, 60))
        spleen = (
            below
            & (self._ellipsoid(centre, (u(25, 45), u(35, 60), u(35, 60))) < 1)
            & self._within(0)
        )
        hu[spleen] = u(40, 60) + enhanced
        if rng.random() < 0.8:
            self._stomach(below)
        for _ in range(rng.integers(0, 6)):
            self._bowel(below & ~(liver & (rng.random() < 0.9)))
        # else it is too thin to be seen, and what lies below touches the lung
        if rng.random() < 0.7:
            hu[(self.cage < 0) & (self.dome <= 0) & (self.dome > -u(0.5, 4.5)) & ~self.middle] = (
                self.tissue
            )
        # where a slice cuts the dome flat, it holds some of both sides: more in thick slices, and
        # in free breathing
        self.slice_mm = u(0.5, 6) if rng.random() < 0.85 else u(6, 18)
        share = np.clip(0.5 + self.dome / self.slice_mm, 0, 1)
        hu[below] += (share * np.minimum(u(-880, -650) - hu, 0))[below]
        self.under_dome = self.tissue if rng.random() < 0.6 else fat_hu

    def _within(self, least: float) -> np.ndarray:
        """What fat leaves free under the domes (at least ``least`` mm deep), along the wall and in
        front.
        """
        rng, u = self.rng, self.rng.uniform
        thick = np.maximum(1 + 0.6 * smooth_field(rng, self.shape, (3, 5, 5)), 0)
        free = self.dome < -(least + thick * u(3, 25) * (rng.random() < 0.4))
        if rng.random() < 0.4:
            free &= self.cage < -thick * u(3, 25)
        if rng.random() < 0.6:  # in front
            edge = (
                self.half_depth * u(0.2, 1)
                + u(-0.6, 0.6) * self.x
                + 8 * (thick - 1)
                + u(0, 1) * self.dome
            )
            free &= self.y_cage > -edge
        return free

    def _stomach(self, below: np.ndarray) -> None:
        """Close under the left dome, small to huge; a wall, and gas over fluid or food, or one of
        them alone.
        """
        rng, u, hu, s = self.rng, self.rng.uniform, self.hu, self.size
        centre = (u(30, 95) * s, u(-45, 35) * s, self.dome_top[1] - u(10, 60))
        huge = u(1.1, 1.4) if rng.random() < 0.2 else 1
        inside = self._ellipsoid(centre, huge * u(25, 55, 3), u(-1, 1))
        inside += u(0, 0.4) * smooth_field(rng, self.shape, (5, 8, 8))
        stomach = below & (self.dome < -u(0, 6)) & (inside < 1)
        hu[stomach] = self.tissue
        lumen = ndimage.binary_erosion(
            stomach, np.ones((1, 3, 3)), iterations=int(rng.integers(2, 5))
        )
        hu[lumen] = u(-20, 70)
        if rng.random() < 0.6:  # food
            n = int(rng.integers(10, 60))
            lumps = smooth_field(rng, self.shape, (8, n, n))[lumen]
            hu[lumen] = np.clip(
                u(-60, 60) + u(10, 120) * lumps, -950 if rng.random() < 0.3 else -120, 120
            )
        if rng.random() < 0.8:
            level = (
                centre[1]
                + u(-60, 60)
                + u(0, 10) * smooth_field(rng, self.shape, (2, 6, 6)) * (rng.random() < 0.3)
            )
            hu[lumen & (self.y0 - self.y0.mean() < level)] = u(*GAS)

    def _bowel(self, free: np.ndarray) -> None:
        """One loop; that of the left flexure of the colon lies right under the dome."""
        rng, u, hu, s = self.rng, self.rng.uniform, self.hu, self.size
        centre = (u(-110, 110) * s, u(-80, 40) * s, u(-90, -15))
        if rng.random() < 0.4:
            centre = (u(50, 120) * s, u(-60, 40) * s, self.dome_top[1] - u(10, 60))
        bowel = self._ellipsoid(centre, (u(12, 40), u(10, 30), u(10, 40)), u(-2, 2))
        near = free & (self.dome < -u(1, 8))
        hu[near & (bowel < 1)] = self.tissue
        lumen = near & (bowel < u(0.5, 0.85))
        if rng.random() < 0.4:  # stool: gas and solid in crumbs
            crumbs = smooth_field(rng, self.shape, (8, 50, 50))[lumen]
            hu[lumen] = np.clip(u(-700, -100) + u(150, 450) * crumbs, -950, 80)
        else:
            hu[lumen & (self.y < centre[1] + u(-5, 15))] = u(*GAS)

    # ---------------------------------------------------------------- inside the lungs

    def _parenchyma(self) -> None:
        rng, u, lung = self.rng, self.rng.uniform, self.label > 0
        base, gradient = u(-950, -680), u(0, 110) * (-1 if self.prone or rng.random() < 0.05 else 1)
        air = base + gradient * (self.y / self.half_depth) ** (1 if rng.random() < 0.5 else 3)
        air = (
            air
            + u(5, 30) * smooth_field(rng, self.shape, (4, 6, 6))
            + u(5, 40) * smooth_field(rng, self.shape, (8, 40, 40))
        )
        # fissures part the lobes; each lobe is a little different
        h, upper = self.height, np.zeros(self.shape, bool)
        for side, value in ((-1, 1), (1, 2)):
            bend = 5 * smooth_field(rng, self.shape, (2, 4, 4))
            oblique = self.z - u(0.3, 0.5) * h - u(0.7, 1.4) * (self.y - u(-10, 25)) + bend
            here = self.label == value
            upper |= here & (oblique > 0)
            line = (
                here
                & (np.abs(oblique) < u(0.5, 2.2))
                & (smooth_field(rng, self.shape, (3, 5, 5)) > -1)
            )
            air = (
                air
                + line * np.float32(u(30, 220))
                + (here & (oblique > 0)) * np.float32(u(-35, 35))
            )
            if side < 0:
                flat = np.abs(self.z - u(0.35, 0.5) * h + bend)
                air = air + (here & (oblique > 0) & (flat < u(1, 6))) * np.float32(u(0, 120))
        self.upper = upper
        air[air > -450] = -450
        air = np.clip(air, -1000, -300)
        below = np.clip(0.5 - self.dome / self.slice_mm, 0, 1) * (self.dome < self.slice_mm)
        self.hu[lung] = (air + below * (self.under_dome - air))[lung]

    def _trees(self) -> None:
        """Vessels and airways that branch from the hila to the pleura."""
        rng, u = self.rng, self.rng.uniform
        vessels, walls, lumen = self._blank(), self._blank(), self._blank()
        central = self._blank()
        finest = u(0.4, 0.95)
        for side, value in ((-1, 1), (1, 2)):
            hilum = self._to_grid(self.hilum[side])[0]
            i, j, k = np.nonzero(self.label[:, ::4, ::4] == value)
            if len(i) < 30:
                continue
            voxels = np.stack([self.x0.ravel()[k * 4], self.y0.ravel()[j * 4], self.zs[i]], 1)
            for kind in ("artery", "vein", "airway"):
                first, roots = (
                    (u(4, 6.5), rng.integers(7, 14))
                    if kind != "airway"
                    else (u(2.5, 4.5), rng.integers(3, 6))
                )
                tubes = _grow_tree(
                    rng,
                    hilum + rng.normal(0, 5, 3),
                    voxels,
                    first * self.size,
                    roots,
                    finest,
                    self._in_lung(value),
                )
                start, end, radius = tubes
                if kind == "airway":
                    keep = radius > 0.9
                    self._paint_tubes(walls, start[keep], end[keep], radius[keep] + u(0.5, 1.4))
                    self._paint_tubes(lumen, start[keep], end[keep], radius[keep])
                else:
                    self._paint_tubes(vessels, start, end, radius)
                near = (np.linalg.norm((start + end) / 2 - hilum, axis=1) < 32 * self.size) & (
                    radius > 3.0 * self.size
                )
                self._paint_tubes(central, start[near], end[near], radius[near] + 0.7)
        lung = self.label > 0
        hilar = lung & (
            ndimage.gaussian_filter(np.maximum(central, self.middle), (0, *[1.5 / self.pixel] * 2))
            > 0.5
        )
        # only what hangs together with the mediastinum is hilum; a vessel on its own lies in the
        # lung
        flat = np.array([[[0] * 3] * 3, [[1] * 3] * 3, [[0] * 3] * 3], bool)
        hilar &= ndimage.binary_propagation(self.middle, flat, mask=self.middle | hilar)
        if rng.random() < 0.15:
            vessels *= u(0.2, 0.7)
        paint = lung & (vessels > 0)
        self.hu[hilar] = np.maximum(self.hu[hilar], FAT + 20)
        level = self.blood if self.contrast else u(20, 60)
        self.hu[paint] += (vessels * (level - self.hu))[paint]
        paint = lung & (walls > 0)
        self.hu[paint] += (walls * np.maximum(u(-300, 40) - self.hu, 0))[paint]
        self.tree_lumen = np.where(lung, lumen, 0)
        self.label[hilar] = 0

    def _in_lung(self, value: int):
        def inside(points: np.ndarray) -> np.ndarray:
            return self.label[self._index(points)] == value

        return inside

    def _disease(self) -> None:
        """All of it stays inside the label: the lungs of a sick patient are lungs. None of it is as
        uniform as fat is and has its HU, or fat would be taken for it."""
        rng, u, hu = self.rng, self.rng.uniform, self.hu
        lung = self.label > 0
        if rng.random() < 0.25:  # emphysema, bullae
            n = int(rng.integers(10, 50))
            holes = smooth_field(rng, self.shape, (10, n, n)) > u(0.6, 1.8)
            hu[lung & holes] = np.minimum(hu[lung & holes], u(-1000, -940))
        for _ in range(rng.integers(1, 4) if rng.random() < 0.12 else 0):
            bulla = lung & (self._around(lung, u(10, 45)) < 1)
            hu[bulla] = u(-1000, -950)
        if rng.random() < 0.5:  # ground glass to consolidation
            n = int(rng.integers(2, 12))
            patches = smooth_field(rng, self.shape, (max(2, n // 2), n, n))
            towards = (self.y / self.half_depth) * u(0, 1.6) - (self.dome / self.height) * u(0, 1.5)
            patches = patches + towards + u(-0.8, 0.8) * np.where(self.upper, 1, -1) - u(0.6, 2.0)
            rim = u(0.05, 0.6)
            share = np.clip(patches / rim, 0, 1) * np.clip(u(0.3, 1.6), 0, 1)
            if rng.random() < 0.5:
                share *= self.label == rng.integers(1, 3)
            dense = u(-40, 90) if rng.random() < 0.5 else u(-550, -180)
            hu[lung] += (share * np.maximum(dense - hu, 0))[lung]
        edge = lung & ((self.cage > -8) | (self.dome < 12))
        # viral pneumonia: many foci of ground glass at the pleura of both lungs
        if rng.random() < 0.15:
            for _ in range(rng.integers(4, 14)):
                focus = self._around(edge, u(8, 35)) + u(0.1, 0.5) * smooth_field(
                    rng, self.shape, (6, 20, 20)
                )
                share = np.clip((1 - focus) / u(0.1, 0.9), 0, 1) * u(0.4, 1)
                hu[lung] += (
                    share
                    * np.maximum((u(-650, -180) if rng.random() < 0.7 else u(-40, 60)) - hu, 0)
                )[lung]
        recess = lung & (self.cage > -30) & (self.dome < 30)  # between diaphragm and ribs
        # dense pneumonia, most of it at the pleura
        for _ in range(rng.integers(1, 4) if rng.random() < 0.5 else 0):
            place = rng.random()
            focus = self._around(
                recess if place < 0.5 else edge if place < 0.8 else lung, u(12, 60)
            )
            focus += u(0.1, 0.6) * smooth_field(rng, self.shape, (6, 14, 14))
            share = np.clip((1 - focus) / u(0.05, 0.8), 0, 1)
            hu[lung] += (share * np.maximum(u(-40, 90) - hu, 0))[lung]
        if rng.random() < 0.15:  # a lobe or most of a lung is airless, to a straight fissure
            dense = (self.label == rng.integers(1, 3)) & (self.upper == (rng.random() < 0.5))
            hu[dense] += u(0.7, 1) * (u(10, 90) - hu[dense])
        if rng.random() < 0.15:  # reticulation under the pleura
            net = np.abs(smooth_field(rng, self.shape, (8, 45, 45))) < u(0.15, 0.5)
            net &= lung & (self.cage > -u(8, 40))
            hu[net] += u(100, 600)
        if rng.random() < 0.3:  # bands of atelectasis above diaphragm and at the back
            dense = lung & (np.minimum(self.dome, -self.cage * 1.5 - 60 * (self.y < 20)) < u(2, 12))
            hu[dense] += (
                u(0.3, 0.95)
                * (u(-100, 70) - hu[dense])
                * (smooth_field(rng, self.shape, (3, 8, 8))[dense] > u(-1, 1))
            )
        many = rng.random() < 0.1
        for _ in range(
            rng.integers(8, 20) if many else (rng.integers(1, 4) if rng.random() < 0.5 else 0)
        ):
            mass = self._around(lung, u(3, 9) if many else np.exp(u(1.2, 3.7)))
            lumpy = mass + 0.25 * smooth_field(rng, self.shape, (6, 20, 20))
            hu[lung & (lumpy < 1)] = u(-50, 110) if rng.random() < 0.85 else u(-650, -300)
            if rng.random() < 0.15:
                hu[lung & (lumpy < u(0.1, 0.5))] = -950  # a cavity
        if rng.random() < 0.15:  # an effusion: fluid lies at the back, in a crescent
            value = rng.integers(1, 3)
            level = (
                self.y_cage
                + 0.25 * self.cage
                + 6 * smooth_field(rng, self.shape, (2, 4, 4))
                - 0.15 * self.z
            )
            fluid = (
                (self.label == value)
                & (level > self.half_depth * u(0.3, 0.85))
                & (self.z < u(0.3, 0.9) * self.height)
            )
            hu[fluid] = u(0, 30)
        if rng.random() < 0.04:  # air between lung and chest wall
            gap = (self.label == rng.integers(1, 3)) & (
                self.y + 0.6 * self.cage < -self.half_depth * u(0.3, 0.8)
            )
            hu[gap] = -1000
        # airways stay open, also in consolidated lung
        hu += self.tree_lumen * np.minimum(-930 - hu, 0)

    def _around(self, lung: np.ndarray, radius: float) -> np.ndarray:
        i, j, k = np.nonzero(lung[:, ::8, ::8])
        n = self.rng.integers(len(i)) if len(i) else 0
        centre = (
            (0, 0, 0)
            if not len(i)
            else [c[i[n], j[n] * 8, k[n] * 8] for c in (self.x, self.y, self.z)]
        )
        return self._ellipsoid(centre, radius * self.rng.uniform(0.7, 1.4, 3))

    # ---------------------------------------------------------------- the scanner

    def _around_the_patient(self) -> None:
        rng, u, hu = self.rng, self.rng.uniform, self.hu
        outside = ndimage.binary_fill_holes(hu.max(0) > -500) == 0
        y = (-1 if self.prone else 1) * self.y0[0] - (
            self.half_depth + self.ribs + self.muscle + self.fat + u(14, 40)
        )
        bend = u(0, 0.0012) * self.x0[0] ** 2
        if rng.random() < 0.85:
            surface = y + bend
            pad = (surface > 0) & (surface < u(3, 30)) & outside
            shells = outside & (
                (np.abs(surface - u(4, 30)) < u(1, 3)) | (np.abs(surface - u(40, 70)) < u(1, 3))
            )
            hu[:, pad], hu[:, shells] = u(-980, -700), u(-300, 300)
        if rng.random() < 0.3:  # blanket
            cloth = (
                (self.skin < 0)
                & (self.skin > -u(5, 25))
                & (np.abs(smooth_field(rng, self.shape, (3, 12, 12))) < 0.2)
            )
            hu[cloth & outside] = u(-900, -500)
        wires = self._blank()
        for _ in range(rng.integers(0, 4)):
            ends = self._to_grid(
                np.stack(
                    [u(-130, 130, 2), [-self.half_depth - u(10, 40)] * 2, u(-50, self.height, 2)], 1
                )
            )
            self._paint_tubes(wires, ends[:1], ends[1:], u(1, 2))
        hu[wires > 0.5] = u(200, 2500)

    def _scan(self) -> None:
        """Blur, kernel, noise, streaks, field of view."""
        rng, u = self.rng, self.rng.uniform
        hu = self.hu
        hu[self.airway_wall > 0.5] = np.where(
            hu[self.airway_wall > 0.5] > -300, hu[self.airway_wall > 0.5], 0
        )
        hu += self.airway * (u(-1000, -940) - hu)
        np.clip(hu, -1024, 2500, out=hu)
        blur = u(0.25, 0.95)
        hu = ndimage.gaussian_filter(hu, (0, blur, blur))
        if rng.random() < 0.35:  # a sharp kernel overshoots at edges
            hu += u(0.3, 1.6) * (hu - ndimage.gaussian_filter(hu, (0, 1.5, 1.5)))
        if self.thick:
            hu = np.repeat(hu.reshape(-1, 3, SIZE, SIZE).mean(1), 1, 0)
            self.label = self.label[1::3]
            shoulder = self.shoulder[1::3]
        else:
            shoulder = self.shoulder
        if self.arms_down:  # the bones of the arms streak through every slice
            shoulder = np.maximum(shoulder, u(0.2, 0.8))
        level = np.exp(u(np.log(4), np.log(140)))
        noise = rng.standard_normal(hu.shape, dtype=np.float32)
        grain = u(0, 1.3)
        if grain > 0.35:
            noise = ndimage.gaussian_filter(noise, (0, grain, grain))
        noise /= noise.std()
        streaks = ndimage.gaussian_filter(
            rng.standard_normal(hu.shape, dtype=np.float32), (0, u(0.5, 1.2), u(8, 25))
        )
        streaks *= shoulder / streaks.std()
        hu += (
            level * noise * (1 + u(0, 1.5) * shoulder)
            + (u(10, 90) if rng.random() < 0.6 else 0) * streaks
        )
        hu += u(-20, 20)
        if rng.random() < 0.5:  # reconstruction circle
            r2 = (self.x0[0] - self.x0.mean()) ** 2 + (self.y0[0] - self.y0.mean()) ** 2
            cut = r2 > (SIZE * self.pixel / 2 * u(0.96, 1.02)) ** 2
            hu[:, cut] = -1024
            self.label[:, cut] = 0
        self.hu = np.clip(hu, -1024, 1500)

    @property
    def slice_distance(self) -> float:
        """Mean distance of the slices that `render` gives, in mm."""
        return float(np.ptp(self.zs)) / (SLICES // 3 if self.thick else SLICES)

    def render(self, disease: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The slices; without ``disease``, those of the same patient in health.

        Returns
        -------
        hu : array of int16, shape (slices, 256, 256), in HU
        label : array of uint8, same shape; 0 outside, 1 right lung, 2 left lung
        """
        self.hu = np.full(self.shape, AIR, np.float32)
        steps = (
            self._cage,
            self._chest_wall,
            self._skeleton,
            self._mediastinum,
            self._lungs,
            self._neck,
            self._abdomen,
            self._parenchyma,
            self._trees,
            self._disease,
            self._around_the_patient,
            self._scan,
        )
        for step in steps:
            if disease or step != self._disease:
                step()
        return np.rint(self.hu).astype(np.int16), self.label


def _outside(
    x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, power: float
) -> np.ndarray:
    """Distance in mm, along the ray from the axis, outward from a superellipse."""
    rho = (np.abs(x / a) ** power + np.abs(y / b) ** power) ** (1 / power)
    return np.hypot(x, y) * (1 - 1 / np.maximum(rho, 0.05))


def _grow_tree(rng, root, voxels, radius, roots, finest, inside):
    """Rods (start, end, radius) of a tree that forks towards random places of the lung until it is
    too fine.
    """
    goals = voxels[rng.integers(len(voxels), size=int(roots))]
    start = np.repeat(root[None], len(goals), 0)
    direction = goals - start
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-6
    r = radius * rng.uniform(0.7, 1.0, len(goals))
    rods = []
    for generation in range(14):
        length = r * rng.uniform(3, 7, len(r)) + rng.uniform(3, 9, len(r))
        end = start + direction * length[:, None]
        rods.append((start, end, r))
        alive = (inside(end) | (generation < 2)) & (r > finest)
        start, direction, r = end[alive], direction[alive], r[alive]
        if not len(r) or sum(len(x[2]) for x in rods) > 1800:
            break
        side = rng.standard_normal(direction.shape)
        side -= (side * direction).sum(1, keepdims=True) * direction
        side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-6
        angle = np.deg2rad(rng.uniform(8, 35, len(r)))[:, None]
        other = np.deg2rad(rng.uniform(25, 65, len(r)))[:, None]
        direction = np.concatenate(
            [
                np.cos(angle) * direction + np.sin(angle) * side,
                np.cos(other) * direction - np.sin(other) * side,
            ]
        )
        start = np.concatenate([start, start])
        r = np.concatenate(
            [r * rng.uniform(0.78, 0.95, len(r)), r * rng.uniform(0.55, 0.85, len(r))]
        )
    return tuple(np.concatenate(parts) for parts in zip(*rods, strict=True))
