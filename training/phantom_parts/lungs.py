"""The lungs of a phantom: their outline, which is the truth, lobes, fissures and lung tissue."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from phantom_parts.body import Body

SIDES = ((-1, 1), (1, 2))  # side and label: right, left


def outline_lungs(body: Body) -> None:
    """Label the lungs: in the chest cavity, outside mediastinum and spine.

    They lie above the diaphragm and below the apex, which become ``dome`` and ``cap``.
    """
    rng, u, h, w = body.rng, body.rng.uniform, body.height, body.half_width
    dome, cap = np.full(body.shape, -1e3, np.float32), np.full(body.shape, 1e4, np.float32)
    steep, tilt = (u(55, 130) if rng.random() < 0.7 else u(20, 55)) * body.size, u(-0.1, 0.4)
    body.dome_top = {}
    for side in (-1, 1):
        half = body.midline * side > 0
        dome = np.where(half, _height_of_dome(body, side, steep, tilt), dome)
        apex_x, apex_y = side * u(0.3, 0.46) * w, u(5, 35) * body.size
        q = ((body.x - apex_x) ** 2 + (body.y - apex_y) ** 2) / (u(38, 56) * body.size) ** 2
        cap = np.where(half, h * u(0.96, 1.04) - 40 * q / (1 + 40 * q / u(45, 110)), cap)
    body.dome, body.cap = body.z - dome, cap - body.z
    lung = (body.cage < 0) & (body.dome > 0) & (body.cap > 0) & ~body.middle & ~body.paraspinal
    body.label = np.where(lung, np.where(body.midline < 0, 1, 2), 0).astype(np.uint8)
    body.label *= ndimage.binary_opening(lung, np.ones((1, 3, 3)))  # no crumbs


def _height_of_dome(body: Body, side: int, steep: float, tilt: float) -> np.ndarray:
    """Give the z of one half of the diaphragm over each voxel; remember its top in ``dome_top``."""
    rng, u, w = body.rng, body.rng.uniform, body.half_width
    top = (u(-6, 6) if side < 0 else u(-28, 6)) * body.size
    top += u(20, 70) if rng.random() < 0.08 else 0  # a raised half
    body.dome_top[side] = top
    dx = (body.x - side * u(0.4, 0.55) * w) / (w * u(0.55, 0.75))
    dy = (body.y_cage + u(0, 0.25) * body.half_depth) / (body.half_depth * u(0.95, 1.2))
    # from a cone to a flat plate with steep sides, often higher in front than at the back
    power = u(0.9, 1.4) if rng.random() < 0.6 else u(1.4, 4)
    fall = np.minimum((dx**2 + dy**2) ** power, 3)
    return top - steep * fall + u(1, 5) * body.field(1, 4, 4) - tilt * body.y_cage


def draw_lung_tissue(body: Body) -> None:
    """Draw lung without vessels: denser where the blood falls to, with lobes and fissures."""
    rng, u, lung = body.rng, body.rng.uniform, body.label > 0
    base, gradient = u(-950, -680), u(0, 110) * (-1 if body.prone or rng.random() < 0.05 else 1)
    air = base + gradient * (body.y / body.half_depth) ** (1 if rng.random() < 0.5 else 3)
    air = air + u(5, 30) * body.field(4, 6, 6) + u(5, 40) * body.field(8, 40, 40)
    air = _add_fissures(body, air)
    air[air > -450] = -450
    air = np.clip(air, -1000, -300)
    below = np.clip(0.5 - body.dome / body.slice_mm, 0, 1) * (body.dome < body.slice_mm)
    body.hu[lung] = (air + below * (body.under_dome - air))[lung]


def _add_fissures(body: Body, air: np.ndarray) -> np.ndarray:
    """Add fissures to HU of lung; each lobe becomes a little different.

    The lobes above the oblique fissures are remembered as ``upper``.
    """
    u, h, upper = body.rng.uniform, body.height, np.zeros(body.shape, bool)
    for side, value in SIDES:
        bend = 5 * body.field(2, 4, 4)
        oblique = body.z - u(0.3, 0.5) * h - u(0.7, 1.4) * (body.y - u(-10, 25)) + bend
        lung = body.label == value
        above = lung & (oblique > 0)
        upper |= above
        line = lung & (np.abs(oblique) < u(0.5, 2.2)) & (body.field(3, 5, 5) > -1)
        air = air + line * np.float32(u(30, 220)) + above * np.float32(u(-35, 35))
        if side < 0:
            flat = np.abs(body.z - u(0.35, 0.5) * h + bend)
            air = air + (above & (flat < u(1, 6))) * np.float32(u(0, 120))
    body.upper = upper
    return air
