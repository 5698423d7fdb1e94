"""Procedural anatomy of a chest, in HU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SLICES, MATRIX, PIXEL_MM, SLICE_MM = 93, 512, 0.78125, 3.0


@dataclass(frozen=True)
class Chest:
    """hu int16 and labels uint8, shape (slices, rows, columns), slices from feet to head."""

    hu: np.ndarray
    labels: np.ndarray


def make_chest(seed: int, *, sex: str) -> Chest:
    """Make a first, simple chest: body, two lungs, a spine, a heart and a consolidation."""
    rng = np.random.default_rng(seed)
    z = (np.arange(SLICES, dtype=np.float32) * SLICE_MM)[:, None, None]
    axis = (np.arange(MATRIX, dtype=np.float32) - (MATRIX - 1) / 2) * np.float32(PIXEL_MM)
    y, x = axis[None, :, None], axis[None, None, :]
    hu = np.full((SLICES, MATRIX, MATRIX), -1000, np.float32)
    hu[np.broadcast_to((x / 170) ** 2 + (y / 115) ** 2 < 1, hu.shape)] = -100
    hu[np.broadcast_to((x / 155) ** 2 + (y / 100) ** 2 < 1, hu.shape)] = 45
    labels = np.zeros(hu.shape, np.uint8)
    for label, side in ((1, -1), (2, 1)):
        lung = ((x - side * 75) / 58) ** 2 + (y / 82) ** 2 + (np.maximum(z - 120, 0) / 130) ** 2 < 1
        labels[lung & (z > 45 + label * -5)] = label
    labels[((x - 20) / 60) ** 2 + ((y + 25) / 50) ** 2 + ((z - 100) / 55) ** 2 < 1] = 0
    hu[labels > 0] = -860
    side = 1 if rng.integers(2) else 2
    centre = -95 if side == 1 else 95
    blob = ((x - centre) / 32) ** 2 + ((y - 45) / 25) ** 2 + ((z - 90) / 26) ** 2 < 1
    hu[blob & (labels == side)] = 35
    hu[np.broadcast_to((x / 20) ** 2 + ((y - 75) / 17) ** 2 < 1, hu.shape)] = 250
    labels[np.broadcast_to((x / 20) ** 2 + ((y - 75) / 17) ** 2 < 1, hu.shape)] = 0
    hu += rng.standard_normal(hu.shape, dtype=np.float32) * 12
    return Chest(np.clip(hu, -1024, 3071).round().astype(np.int16), labels)
