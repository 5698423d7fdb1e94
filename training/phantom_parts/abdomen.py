"""The abdomen of a phantom: fat and organs under the domes of the diaphragm, and the diaphragm."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from phantom_parts.body import Body
from phantom_parts.shapes import ellipsoid

GAS = (-1000, -940)  # of stomach and bowel; were it lighter, dark lung would be taken for it


def draw_abdomen(body: Body) -> None:
    """Draw fat, and organs that leave more or less of it in front, at the sides and under the
    domes.
    """
    rng, u, hu = body.rng, body.rng.uniform, body.hu
    below = (body.cage < 0) & (body.dome <= 0) & ~body.organs & ~body.paraspinal
    fat_hu = u(-135, -55)
    hu[below] = fat_hu
    hu[below] += u(0, 25) * body.field(5, 30, 30)[below]  # stranding
    mix = body.field(5, 12, 12)
    hu[below & (mix > u(0.3, 2.5))] = u(10, 60)
    liver = _draw_solid_organs(body, below)
    if rng.random() < 0.8:
        _draw_stomach(body, below)
    for _ in range(rng.integers(0, 6)):
        _draw_bowel(body, below & ~(liver & (rng.random() < 0.9)))
    # else the diaphragm is too thin to be seen, and what lies below it touches the lung
    if rng.random() < 0.7:
        under = (body.cage < 0) & (body.dome <= 0)
        hu[under & (body.dome > -u(0.5, 4.5)) & ~body.middle] = body.tissue
    # where a slice cuts the dome flat, it holds some of both sides: more in thick slices, and in
    # free breathing
    body.slice_mm = u(0.5, 6) if rng.random() < 0.85 else u(6, 18)
    share = np.clip(0.5 + body.dome / body.slice_mm, 0, 1)
    hu[below] += (share * np.minimum(u(-880, -650) - hu, 0))[below]
    body.under_dome = body.tissue if rng.random() < 0.6 else fat_hu


def _draw_solid_organs(body: Body, below: np.ndarray) -> np.ndarray:
    """Draw kidneys, liver and spleen; return the mask of the liver."""
    rng, u, hu, s = body.rng, body.rng.uniform, body.hu, body.size
    enhanced = u(0, 60) if body.contrast else u(-25, 10)
    kidneys = [
        ellipsoid(body, (side * u(40, 75) * s, u(20, 55), u(-130, -30)), u(20, 60, 3))
        for side in (-1, 1)
    ]
    hu[below & (np.minimum(*kidneys) < 1)] = u(25, 50) + 1.5 * enhanced
    liver = below & (body.x + 0.5 * body.y < u(20, 90)) & (body.x < u(-10, 60))
    liver &= _free_of_fat(body, u(1, 4))
    liver &= body.dome > -(u(40, 120) if rng.random() < 0.4 else 300)
    hu[liver] = u(45, 65) + enhanced
    centre = (u(70, 110) * s, u(20, 55), body.dome_top[1] - u(25, 60))
    spleen = below & (ellipsoid(body, centre, (u(25, 45), u(35, 60), u(35, 60))) < 1)
    spleen &= _free_of_fat(body, 0)
    hu[spleen] = u(40, 60) + enhanced
    return liver


def _free_of_fat(body: Body, least: float) -> np.ndarray:
    """Choose where fat leaves room: under the domes, along the wall and in front.

    The fat under the domes is at least ``least`` mm deep.
    """
    rng, u = body.rng, body.rng.uniform
    thick = np.maximum(1 + 0.6 * body.field(3, 5, 5), 0)
    free = body.dome < -(least + thick * u(3, 25) * (rng.random() < 0.4))
    if rng.random() < 0.4:
        free &= body.cage < -thick * u(3, 25)
    if rng.random() < 0.6:  # in front
        edge = body.half_depth * u(0.2, 1) + u(-0.6, 0.6) * body.x + 8 * (thick - 1)
        edge = edge + u(0, 1) * body.dome
        free &= body.y_cage > -edge
    return free


def _draw_stomach(body: Body, below: np.ndarray) -> None:
    """Draw a stomach close under the left dome, small to huge.

    It has a wall, and gas over fluid or food, or one of them alone.
    """
    rng, u, hu, s = body.rng, body.rng.uniform, body.hu, body.size
    centre = (u(30, 95) * s, u(-45, 35) * s, body.dome_top[1] - u(10, 60))
    huge = u(1.1, 1.4) if rng.random() < 0.2 else 1
    inside = ellipsoid(body, centre, huge * u(25, 55, 3), u(-1, 1))
    inside += u(0, 0.4) * body.field(5, 8, 8)
    stomach = below & (body.dome < -u(0, 6)) & (inside < 1)
    hu[stomach] = body.tissue
    lumen = ndimage.binary_erosion(stomach, np.ones((1, 3, 3)), iterations=int(rng.integers(2, 5)))
    hu[lumen] = u(-20, 70)
    if rng.random() < 0.6:  # food
        n = int(rng.integers(10, 60))
        lumps = body.field(8, n, n)[lumen]
        food = u(-60, 60) + u(10, 120) * lumps
        hu[lumen] = np.clip(food, -950 if rng.random() < 0.3 else -120, 120)
    if rng.random() < 0.8:
        level = centre[1] + u(-60, 60) + u(0, 10) * body.field(2, 6, 6) * (rng.random() < 0.3)
        hu[lumen & (body.scan_y - body.scan_y.mean() < level)] = u(*GAS)


def _draw_bowel(body: Body, free: np.ndarray) -> None:
    """Draw one loop; that of the left flexure of the colon lies right under the dome."""
    rng, u, hu, s = body.rng, body.rng.uniform, body.hu, body.size
    centre = (u(-110, 110) * s, u(-80, 40) * s, u(-90, -15))
    if rng.random() < 0.4:
        centre = (u(50, 120) * s, u(-60, 40) * s, body.dome_top[1] - u(10, 60))
    bowel = ellipsoid(body, centre, (u(12, 40), u(10, 30), u(10, 40)), u(-2, 2))
    near = free & (body.dome < -u(1, 8))
    hu[near & (bowel < 1)] = body.tissue
    lumen = near & (bowel < u(0.5, 0.85))
    if rng.random() < 0.4:  # stool: gas and solid in crumbs
        crumbs = body.field(8, 50, 50)[lumen]
        hu[lumen] = np.clip(u(-700, -100) + u(150, 450) * crumbs, -950, 80)
    else:
        hu[lumen & (body.y < centre[1] + u(-5, 15))] = u(*GAS)
