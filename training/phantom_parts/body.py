"""The body of a phantom: the build of the person, and the coordinates of every voxel."""

from __future__ import annotations

import numpy as np

from phantom_parts.fields import smooth_field

SLICES, SIZE = 24, 256
AIR, FAT = -1000.0, -100.0  # HU


class Body:
    """A random person in the scanner. Parts are drawn into ``hu`` and ``label`` one by one.

    All arrays have the axes slices from feet to head, rows from anterior to posterior, columns from
    the patient's right to the patient's left. Lengths are in mm.

    The scanner's coordinates of rows and columns are ``scan_y`` and ``scan_x``, and ``slice_z`` has
    the heights of the slices. ``x``, ``y`` and ``z`` are the anatomical coordinates of each voxel:
    a little turned, and bent at random.
    """

    # Arrays of HU and labels (0 outside, 1 right lung, 2 left lung)
    hu: np.ndarray
    label: np.ndarray
    # Of the chest wall: distance outwards from its inner surface, distance inwards from the skin,
    # y relative to the middle of the cavity, nearness of the shoulders (0 to 1)
    cage: np.ndarray
    skin: np.ndarray
    y_cage: np.ndarray
    shoulder: np.ndarray
    # HU of compact bone and of marrow
    bone: float
    marrow: float
    # Masks: the tissue around the spine, the whole mediastinum, and the organs in it
    paraspinal: np.ndarray
    middle: np.ndarray
    organs: np.ndarray
    # Centres (x, y, z) of the hila by side, -1 right and 1 left
    hilum: dict[int, np.ndarray]
    # x relative to the sheet between the lungs; shares (0 to 1) of the airways' air and of the air
    # with their walls
    midline: np.ndarray
    airway: np.ndarray
    airway_wall: np.ndarray
    # Height over the diaphragm, depth under the apex; height of each dome by side
    dome: np.ndarray
    cap: np.ndarray
    dome_top: dict[int, float]
    # How thick a slice is where it cuts the dome, and the HU of what lies under the dome
    slice_mm: float
    under_dome: float
    # Mask of the lobes above the oblique fissures; share of the small airways' air
    upper: np.ndarray
    tree_lumen: np.ndarray

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
        self.blood = u(110, 330) if self.contrast else u(25, 60)  # HU
        self.tissue = u(35, 65)  # HU
        self.slice_z = self._choose_slices()
        self._choose_field_of_view()
        self._bend_coordinates()

    def _choose_slices(self) -> np.ndarray:
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
            heights = (centres[:, None] + u(1.2, 3.5) * np.array([-1, 0, 1])).ravel()
        else:
            heights = np.linspace(low, high, SLICES)
        return heights.astype(np.float32)

    def _choose_field_of_view(self) -> None:
        rng, u = self.rng, self.rng.uniform
        outer = self.half_width + self.ribs + self.muscle + self.fat
        margin = u(1.0, 1.2) if rng.random() < 0.8 else u(0.78, 1.0)
        field_of_view = 2 * outer * margin + 60 * self.arms_down
        self.pixel = field_of_view / SIZE
        row = (np.arange(SIZE, dtype=np.float32) - SIZE / 2) * self.pixel
        self.scan_x = row[None, None, :] + u(-12, 12)
        self.scan_y = row[None, :, None] + u(-15, 20)

    def _bend_coordinates(self) -> None:
        rng, u, h = self.rng, self.rng.uniform, self.height
        x0, y0, z0 = self.scan_x, self.scan_y, self.slice_z[:, None, None]
        # small rotations (plain floats keep arrays in float32)
        a, b, c = np.deg2rad(u(-9, 9, 3)).tolist()
        x = x0 + a * y0 + b * (z0 - h / 2)
        y = y0 - a * x0 + c * (z0 - h / 2)
        z = z0 - b * x0 - c * y0
        cells = (4, 5, 5)
        amplitude = u(3, 11)
        self.x = x + amplitude * smooth_field(rng, self.shape, cells)
        self.y = y + amplitude * smooth_field(rng, self.shape, cells)
        self.z = z + 1.2 * amplitude * smooth_field(rng, self.shape, cells)

    def field(self, *cells: int) -> np.ndarray:
        """Draw a random field of the shape of the body; see `smooth_field` for ``cells``."""
        return smooth_field(self.rng, self.shape, cells)

    def blank(self) -> np.ndarray:
        """Make an array of zeros, for shares (0 to 1) of a tissue in each voxel."""
        return np.zeros(self.shape, np.float32)

    def to_scanner(self, points: np.ndarray) -> np.ndarray:
        """Turn anatomical points (n, 3) as x, y, z into the scanner's coordinates."""
        points = np.atleast_2d(points).astype(float)
        found = points.copy()
        for _ in range(3):
            i, j, k = self.index(found)
            bent = np.stack([self.x[i, j, k], self.y[i, j, k], self.z[i, j, k]], 1)
            straight = np.stack([self.scan_x[0, 0, k], self.scan_y[0, j, 0], self.slice_z[i]], 1)
            found = points - (bent - straight)
        return found

    def index(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find slice, row and column of the voxels next to points (n, 3), scanner's x, y, z."""
        last = self.shape[1] - 1
        first_x, first_y = self.scan_x.flat[0], self.scan_y.flat[0]
        i = np.abs(points[:, 2:3] - self.slice_z[None]).argmin(1)
        j = np.clip(np.rint((points[:, 1] - first_y) / self.pixel), 0, last).astype(int)
        k = np.clip(np.rint((points[:, 0] - first_x) / self.pixel), 0, last).astype(int)
        return i, j, k
