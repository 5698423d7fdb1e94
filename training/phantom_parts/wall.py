"""The chest wall of a phantom: outlines of cavity and skin, fat, muscles, armpits and ribs."""

from __future__ import annotations

import numpy as np

from phantom_parts.body import FAT, Body
from phantom_parts.shapes import distance_outside, ellipsoid, paint_tube


def measure_outlines(body: Body) -> None:
    """Measure the distances ``cage`` (from the inner chest wall) and ``skin`` (from the skin)."""
    u, h = body.rng.uniform, body.height
    upper = np.clip((body.z - u(0.25, 0.45) * h) / (0.65 * h), 0, 1.2) ** 2
    half_width = body.half_width * (1 - u(0.35, 0.52) * upper)
    half_depth = body.half_depth * (1 - u(0.3, 0.5) * upper)
    body.y_cage = body.y - u(10, 30) * body.size * upper
    body.cage = distance_outside(body.x, body.y_cage, half_width, half_depth, u(2.0, 2.7))
    body.cage += u(0, 1.2) * body.field(6, 12, 12)
    # the body is wider at the shoulders, narrow at the neck
    above = (body.z - h) / (30 * body.size)
    neck = 1 / (1 + np.exp(-np.clip((above - u(0.2, 1.2)) * 2.5, -30, 30)))
    shoulder = np.exp(-(((body.z - h + 25) / (55 * body.size)) ** 2))
    wall = body.ribs + body.muscle + body.fat
    wide = (body.half_width + wall) * (1 + u(0.0, 0.5) * shoulder) * (1 - 0.55 * neck)
    deep = (body.half_depth + wall + 14) * (1 - u(0.0, 0.35) * shoulder) * (1 - u(0.2, 0.4) * neck)
    depth = -distance_outside(body.x, body.y - u(6, 18), wide, deep, u(2.0, 3.0))
    body.skin = np.maximum(depth, body.ribs + 9 - body.cage)  # never thinner than the ribs
    if body.rng.random() < 0.35:
        _add_breasts(body)
    body.shoulder = shoulder


def _add_breasts(body: Body) -> None:
    u = body.rng.uniform
    for side in (-1, 1):
        centre = (side * body.half_width * 0.55, -body.half_depth - 18, u(0.1, 0.4) * body.height)
        breast = ellipsoid(body, centre, (u(45, 75), u(28, 60), u(45, 80)))
        body.skin = np.maximum(body.skin, (1 - np.sqrt(breast)) * 45)


def draw_chest_wall(body: Body) -> None:
    """Draw everything between the skin and the pleura, but for the bones of the shoulders."""
    inside = body.skin > 0
    body.hu[inside] = FAT + body.rng.uniform(-15, 15)
    _draw_muscles(body, inside)
    _draw_armpits(body, inside)
    _draw_ribs(body, inside)


def _draw_muscles(body: Body, inside: np.ndarray) -> None:
    """Draw muscle layers with fat planes between them, skin, and strands in the fat.

    The layers are thick where pectoral, latissimus and back muscles are.
    """
    rng, u, hu = body.rng, body.rng.uniform, body.hu
    fat = body.fat * np.exp(0.35 * body.field(2, 4, 4))
    layer = body.cage + u(4, 13) * body.field(3, 5, 5)
    planes = np.sin(2 * np.pi * layer / u(12, 50) + u(1, 5) * body.field(4, 9, 9))
    muscle = (body.skin > fat) & ((np.abs(planes - u(-0.9, 0.9)) > u(0.03, 0.35)) | (layer < 10))
    muscle &= body.field(4, 7, 7) > u(-2.2, -1.0)
    hu[muscle] = body.tissue
    streaks = body.field(4, 20, 20)
    hu[muscle] += u(4, 25) * np.minimum(streaks[muscle], 0)
    hu[inside & (body.skin < u(1.5, 3.5))] = u(0, 50)
    if rng.random() < 0.5:  # glands and strands in the fat
        strands = inside & (body.skin < fat) & (body.field(6, 24, 24) > u(1.2, 2.0))
        hu[strands] = u(-30, 40)


def _draw_armpits(body: Body, inside: np.ndarray) -> None:
    """Draw fat, vessels and nodes between the muscles of arm, chest and neck; some have none."""
    rng, u, hu, s, h = body.rng, body.rng.uniform, body.hu, body.size, body.height
    if rng.random() < 0.25:
        return
    wall = body.ribs + u(0, 15)
    mix = body.field(6, 18, 18)
    cords = body.blank()
    for side in (-1, 1):
        for _ in range(rng.integers(1, 5)):
            centre = (side * body.half_width * u(0.4, 1.15), u(-50, 50) * s, h - u(-15, 95) * s)
            fat = ellipsoid(body, centre, u(18, 70, 3) * s, u(-1, 1)) + 0.3 * mix
            hu[inside & (fat < 1) & (body.cage > wall) & (body.skin > 3)] = FAT + u(-15, 25)
            cord = [
                (side * 25 * s, u(-40, 10), h),
                centre,
                (side * body.half_width * 1.3, u(-30, 40), h + u(-60, 30)),
            ]
            paint_tube(body, cords, cord, u(2, 6) * s)
            node = ellipsoid(body, np.array(centre) + rng.normal(0, 8, 3), u(4, 11, 3))
            hu[inside & (node < 1) & (body.cage > wall)] = u(0, 60)
    vessels = inside & (cords > 0.5) & (body.cage > wall)
    hu[vessels] = body.blood if rng.random() < 0.5 else body.tissue


def _draw_ribs(body: Body, inside: np.ndarray) -> None:
    """Draw ribs, which run obliquely, higher at the back, and the muscles of their spaces."""
    u, hu, cage = body.rng.uniform, body.hu, body.cage
    shell = (cage > 0) & (cage < body.ribs) & inside
    hu[shell] = body.tissue + u(-20, 5)
    hu[shell & (body.field(5, 16, 16) > u(0.2, 1.2))] = FAT + 20
    phase = (
        (body.z - u(0.3, 0.9) * body.y) / (u(24, 36) * body.size) + u(0, 1) + 0.07 * np.sign(body.x)
    )
    across = np.abs(phase - np.floor(phase) - 0.5) / u(0.18, 0.3)
    middle = np.abs(cage / body.ribs - 0.5) * 2
    rib = shell & (np.maximum(across, middle) < 1)
    body.bone, body.marrow = u(300, 900), u(60, 350)
    inner = rib & (np.maximum(across, middle) < u(0.5, 0.8))
    hu[rib], hu[inner] = body.bone, body.marrow
    angle = np.arctan2(body.y_cage, np.abs(body.x))
    cartilage = rib & (angle < np.deg2rad(-u(35, 60)))
    hu[cartilage] = u(70, 200)
    # ribs bulge into the lung
    cage -= np.float32(u(-0.5, 2.0)) * ((across < 1) & (cage < 6))
    pleural_fat = (cage > 0) & (cage < u(0, 4) * body.field(4, 9, 9))
    hu[pleural_fat & inside & ~rib] = FAT
