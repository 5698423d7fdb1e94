"""The skeleton of a phantom, but for the ribs: spine, breastbone, shoulders and arms."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from phantom_parts.body import FAT, Body
from phantom_parts.shapes import paint_tube


def draw_skeleton(body: Body) -> None:
    """Draw the bones around the cavity of the chest, and the flesh of arms that hang down."""
    _draw_spine(body)
    _draw_breastbone(body)
    u = body.rng.uniform
    joint = (  # of the left shoulder
        body.half_width * u(1.0, 1.25),
        u(-10, 35),
        body.height + u(-35, 30) + (0 if body.arms_down else 25),
    )
    bones = _cover_shoulder_bones(body, joint)
    if body.arms_down:
        _draw_flesh_of_arms(body, joint)
    _draw_shoulder_blades(body)
    inside = (bones > 0.5) & ((body.skin > 2) | body.arms_down)
    body.hu[inside] = body.bone * u(0.6, 1)
    core = ndimage.gaussian_filter(bones, (0, 1.5, 1.5)) > 0.93
    body.hu[inside & core] = body.marrow


def _draw_spine(body: Body) -> None:
    """Draw vertebrae, discs and the canal; remember the tissue around them as ``paraspinal``."""
    u, hu, s = body.rng.uniform, body.hu, body.size
    x = body.x - u(-12, 12) * np.sin(body.z / u(90, 200) + u(0, 6))
    lean = np.clip(body.z / body.height, -0.5, 1.3)
    y = body.y - (body.half_depth - u(4, 16) * s) - u(-5, 10) * lean
    radius = u(15, 22) * s
    vertebra = (x / (1.15 * radius)) ** 2 + (y / radius) ** 2
    disc = np.abs(((body.z / (u(20, 30) * s)) % 1) - 0.5) < u(0.05, 0.13)
    body.paraspinal = (x / (1.15 * radius + u(2, 7))) ** 2 + (
        np.minimum(y, 0) / (radius + u(2, 6))
    ) ** 2 < 1
    body.paraspinal &= y < 45
    behind = (y > radius * 0.6) & (np.abs(x) < u(28, 48) * s) & (body.skin > 8)
    hu[behind & (body.field(4, 10, 10) > -1.4)] = body.tissue - 5
    hu[body.paraspinal] = u(-90, 40)
    hu[vertebra < 1], hu[vertebra < 0.8] = body.bone * 0.7, body.marrow
    hu[(vertebra < 1) & disc] = u(60, 130)
    canal = (x / (9 * s)) ** 2 + ((y - radius - 9 * s) / (8 * s)) ** 2
    arch = (canal < 2.6) | ((np.abs(x) < 4 * s) & (y > radius) & (y < radius + u(35, 50) * s))
    wings = np.abs(y - radius - 12 * s - 0.25 * np.abs(x)) < 4.5 * s
    wings &= (np.abs(x) < 34 * s) & ~disc
    hu[(arch | wings) & (body.skin > 4) & (y > radius * 0.8)] = body.bone * u(0.6, 1)
    hu[canal < 1] = u(0, 40)


def _draw_breastbone(body: Body) -> None:
    u, s, h = body.rng.uniform, body.size, body.height
    plate = (np.abs(body.x - body.shift * 0.2) < u(12, 22) * s) & (body.y_cage < 0)
    plate &= (body.cage > 1) & (body.cage < u(9, 15))
    plate &= (body.z > u(-0.05, 0.2) * h) & (body.z < 0.88 * h)
    body.hu[plate] = body.marrow
    body.hu[plate & ((body.cage < 3) | (body.cage > 8))] = body.bone * 0.7


def _cover_shoulder_bones(body: Body, joint: tuple[float, float, float]) -> np.ndarray:
    """Cover (0 to 1) collar bones, upper arms and their heads."""
    u, s, h = body.rng.uniform, body.size, body.height
    bones = body.blank()
    for side in (-1, 1):
        head = (side * joint[0], *joint[1:])
        inner_end = (side * 20 * s, -body.half_depth * u(0.55, 0.8), h * u(0.8, 0.95))
        middle = (side * body.half_width * 0.6, -body.half_depth * u(0.2, 0.6), h * u(0.9, 1.08))
        outer_end = (side * joint[0], joint[1] - 10, joint[2] + 12)
        paint_tube(body, bones, [inner_end, middle, outer_end], u(5, 8))
        reach = (u(5, 40), u(-20, 30), -200) if body.arms_down else (u(0, 60), u(-30, 30), 80)
        elbow = np.array(joint) + reach
        paint_tube(body, bones, [head, (side * elbow[0], *elbow[1:])], u(10, 13))
        paint_tube(body, bones, [head, head], u(19, 25))
    return bones


def _draw_flesh_of_arms(body: Body, joint: tuple[float, float, float]) -> None:
    u, hu, s = body.rng.uniform, body.hu, body.size
    flesh = body.blank()
    for side in (-1, 1):
        shoulder = (side * joint[0] * 1.02, *joint[1:])
        elbow = (side * (joint[0] + u(10, 45)), u(-10, 30), joint[2] - 220)
        paint_tube(body, flesh, [shoulder, elbow], u(32, 50) * s)
    arm = (flesh > 0.5) & (body.skin <= 0)
    hu[arm] = body.tissue
    hu[arm & (ndimage.gaussian_filter(flesh, (0, 3, 3)) < 0.75)] = FAT


def _draw_shoulder_blades(body: Body) -> None:
    u, s, h = body.rng.uniform, body.size, body.height
    depth = body.cage - u(14, 30) - 7 * body.field(3, 5, 5)
    blade = np.abs(depth) < u(1.6, 4)
    blade &= np.arctan2(body.y_cage, np.abs(body.x)) > np.deg2rad(u(-15, 15))
    blade &= (np.abs(body.x) > u(45, 70) * s) & (body.z > u(0.3, 0.55) * h)
    blade &= (body.z < h + 20) & (body.skin > 6)
    body.hu[blade] = body.bone * 0.8
