"""The lungs of the teaching phantom: lobes, fissures, tissue, a consolidation and a nodule."""

from __future__ import annotations

import numpy as np

from magician.anatomy.section import Section
from magician.anatomy.shapes import Field, Grid, bump, paint, soft

LOBES = ("RUL", "RML", "RLL", "LUL", "LLL")
RIGHT_LOBES = 3
FLATTENING = 0.85  # a consolidation is a little longer from feet to head


def measure_fissures(grid: Grid, bend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure the distances to the oblique and to the horizontal fissures (mm, positive above).

    The horizontal one is on the right only. ``bend``, an array of the shape of the slice, says how
    the fissures differ from planes.
    """
    dome = (np.abs(grid.x) - 75) ** 2 * (1 / 320)
    slope = np.clip(1.125 + 0.015 * grid.x, 1.05, 1.2)
    major = (grid.z - 120 - slope * grid.y - dome - 5 * bend) / np.sqrt(1 + slope**2)
    return major, grid.z - 143 - 0.08 * grid.y + dome * 0.6 - 4 * bend


def choose_lobes(grid: Grid, major: np.ndarray, minor: np.ndarray) -> np.ndarray:
    """Choose the lobe to which each pixel would belong: 1 to 5, in the order of `LOBES`, uint8."""
    right = grid.x < 3
    upper = np.where(right, np.where(minor > 0, np.uint8(1), np.uint8(2)), np.uint8(4))
    return np.where(major < 0, np.where(right, np.uint8(3), np.uint8(5)), upper)


def compute_density(s: Section, mean: float) -> np.ndarray:
    """Compute the HU of lung tissue without its visible vessels.

    The tissue is denser at the back, where gravity pulls the blood.
    """
    return mean + 0.42 * s.grid.y + 10 * s.coarse + 9 * s.fine


def compute_fissure_haze(grid: Grid, major: np.ndarray, minor: np.ndarray) -> np.ndarray:
    """Compute the extra HU of the fissures: thin pleura, smeared by the slice thickness."""
    horizontal = (np.abs(minor) < 6) & (grid.x < 3) & (major > 0)
    return 85 * bump(major, 0, 1.1) + np.where(horizontal, 60 * bump(minor, 0, 1.8), 0)


class Consolidation:
    """A consolidation: fluid instead of air in a part of a lobe, at the pleura.

    Its inner margin is fuzzy.
    """

    def __init__(
        self, rng: np.random.Generator, lobe: str, voxels: np.ndarray, voxel_ml: float, field: Field
    ) -> None:
        """``voxels``: points (n, 3) that fill the lobe evenly, mm; ``voxel_ml``: volume of each."""
        side = -1.0 if lobe.startswith("R") else 1.0
        low = lobe in ("RLL", "LLL")
        outward = np.array([0.75 * side, 0.75 if low else -0.1, -0.25 if low else 0.3])
        outward += rng.normal(0, 0.15, 3)
        along = voxels @ (outward / np.linalg.norm(outward))
        self.centre = voxels[along >= np.quantile(along, 0.985)].mean(axis=0)
        self.lobe, self._field = LOBES.index(lobe) + 1, field
        score = self._score(voxels, field.at(voxels))
        wanted = rng.uniform(75, 110) / voxel_ml
        self._limit = float(np.quantile(score, min(wanted / len(voxels), 0.6)))

    def _score(self, points: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return (
            np.sqrt((((points - self.centre) * [1, 1, FLATTENING]) ** 2).sum(axis=-1)) + 6.0 * noise
        )

    def shares(
        self, x: np.ndarray, y: np.ndarray, z: float, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute how much of each pixel is consolidated, and how much is haze (0 to 1 each)."""
        cx, cy, cz = self.centre.tolist()
        dx, dy, dz = x - cx, y - cy, (z - cz) * FLATTENING
        score = np.sqrt(dx**2 + dy**2 + dz**2) + 6.0 * noise - self._limit
        return np.clip(0.5 - score / 5.0, 0, 1), np.clip(1 - score / 16, 0, 1)


class Nodule:
    """A small round nodule."""

    def __init__(self, rng: np.random.Generator, voxels: np.ndarray) -> None:
        """``voxels``: points (n, 3) in mm; one of them becomes the centre."""
        self._x, self._y, self._z = voxels[rng.integers(len(voxels))].tolist()
        self._radius = float(rng.uniform(3.5, 5.5))

    def draw(
        self, tissue: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, noise: np.ndarray
    ) -> None:
        """Draw into a slice of lung (HU), in place; ``x`` and ``y`` are its pixels' positions."""
        if abs(z - self._z) < self._radius + 3:
            distance = np.sqrt((x - self._x) ** 2 + (y - self._y) ** 2 + (z - self._z) ** 2)
            paint(tissue, soft(distance - self._radius + 0.6 * noise, 2.2), 35.0)
