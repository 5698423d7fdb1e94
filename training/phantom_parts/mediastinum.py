"""The mediastinum of a phantom: heart, vessels, airways and gullet, the fat that joins them, and
the neck above. Nothing of it belongs to the lungs.

``side`` is -1 for the right and 1 for the left.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from phantom_parts.body import FAT, Body
from phantom_parts.shapes import ellipsoid, paint_tube


def draw_mediastinum(body: Body) -> None:
    """Draw the mediastinum; remember its outline as ``middle`` and its organs as ``organs``."""
    u, h = body.rng.uniform, body.height
    heart_hu = body.tissue + u(-5, 15)
    carina = np.array((body.shift * 0.6, u(5, 22), u(0.5, 0.63) * h))
    width = body.half_width / 130
    body.hilum = {
        side: np.array((body.shift + side * u(30, 46) * width, u(2, 24), u(0.4, 0.53) * h))
        for side in (-1, 1)
    }
    heart = _outline_heart(body)
    blood = body.blank()
    _cover_great_vessels(body, blood)
    nodes = _cover_lung_vessels(body, blood)
    gullet, gullet_radius = _place_gullet(body)
    oesophagus = paint_tube(body, body.blank(), gullet, gullet_radius)
    core = _outline_sheet(body)
    organs = (heart < 1) | (np.maximum(blood, nodes) > 0.5) | (oesophagus > 0.5)
    _cover_airways(body, carina)
    organs |= body.airway_wall > 0.5
    body.middle = _outline_middle(body, core, organs)
    body.organs = organs
    _draw_fat_and_heart(body, heart, heart_hu)
    body.hu[nodes > 0.5] = u(-60, 60)
    body.hu[blood > 0.5] = body.blood
    body.hu[oesophagus > 0.5] = body.tissue - 10
    if body.rng.random() < 0.3:
        gas = paint_tube(body, body.blank(), gullet, gullet_radius * u(0.2, 0.75))
        body.hu[(gas > 0.5) & (body.field(8, 2, 2) > 0)] = -900


def _outline_heart(body: Body) -> np.ndarray:
    """Give a number that is below 1 in the ventricles or in the left atrium."""
    u, s, h, x0 = body.rng.uniform, body.size, body.height, body.shift
    width = body.half_width / 130
    centre = (x0 + u(10, 36) * width, -body.half_depth * u(0.12, 0.4), h * u(0.14, 0.3))
    ratio = u(0.8, 1.2)
    axes = (u(42, 72) * width * ratio, u(32, 56) * s / ratio, u(45, 72) * s)
    ventricles = ellipsoid(body, centre, axes, u(0.2, 0.9))
    centre = (x0 + u(-8, 8), u(8, 24), h * u(0.28, 0.36))
    axes = (u(30, 46) * width, u(16, 26) * s, u(22, 36) * s)
    return np.minimum(ventricles, ellipsoid(body, centre, axes))


def _cover_great_vessels(body: Body, blood: np.ndarray) -> None:
    """Cover (0 to 1) aorta, pulmonary trunk, great veins and the arteries of the neck."""
    u, s, h, x0, b = body.rng.uniform, body.size, body.height, body.shift, body.half_depth
    spine = b - 28 * s  # front of the spine
    arch, aorta_radius = u(0.62, 0.76) * h, u(11, 18) * s
    aorta = [
        (x0 - 8, -b * 0.3, 0.3 * h),
        (x0 - 16, -b * 0.3, 0.5 * h),
        (x0 - 6, -b * 0.2, arch - 8),
        (x0 + 12, b * 0.05, arch),
        (x0 + 24, spine - 26, arch - 12),
        (x0 + 24, spine - 14, 0.5 * h),
        (x0 + 16, spine - 6, 0.15 * h),
        (8, spine, -130),
    ]
    pulmonary_trunk = [(x0 + 14, -b * 0.4, 0.36 * h), (x0 + 14, -b * 0.15, 0.5 * h)]
    upper_vena_cava = [
        (x0 - 24, -b * 0.15, 0.4 * h),
        (x0 - 24, -b * 0.2, 0.76 * h),
        (x0 - 22, -b * 0.3, h + 60),
    ]
    left_brachiocephalic_vein = [
        (x0 - 24, -b * 0.2, 0.74 * h),
        (x0 + 20, -b * 0.4, 0.82 * h),
        (x0 + 38, -b * 0.2, h + 40),
    ]
    right_neck_artery = [(x0 - 4, -b * 0.15, arch), (x0 - 14, -b * 0.1, h + 60)]
    left_neck_artery = [(x0 + 16, 0, arch), (x0 + 20, b * 0.05, h + 60)]
    lower_vena_cava = [(x0 - 22, 0, 0.22 * h), (x0 - 24, 12, -130)]
    for points, radius in (
        (aorta, aorta_radius),
        (pulmonary_trunk, u(11, 17) * s),
        (upper_vena_cava, u(6, 10) * s),
        (left_brachiocephalic_vein, u(5, 9) * s),
        (right_neck_artery, u(5, 8) * s),
        (left_neck_artery, u(4, 7) * s),
        (lower_vena_cava, u(9, 15) * s),
    ):
        paint_tube(body, blood, points, radius)


def _cover_lung_vessels(body: Body, blood: np.ndarray) -> np.ndarray:
    """Cover (0 to 1) the arteries and veins of the lungs; return the cover of nodes and fat."""
    u, s, h, x0, b = body.rng.uniform, body.size, body.height, body.shift, body.half_depth
    nodes = body.blank()
    trunk = np.array((x0 + 12, -b * 0.12, u(0.46, 0.52) * h))
    for side in (-1, 1):
        hilum = body.hilum[side]
        artery = [trunk, (trunk + hilum) / 2 + (0, -4, 3), hilum + (side * 8, -4, 6)]
        paint_tube(body, blood, artery, u(7, 12) * s)
        for dz in (-22, -8):
            end = hilum + (side * u(2, 14), u(-14, 2), dz)
            paint_tube(body, blood, [(x0 + side * 15, 12, 0.32 * h), end], u(5, 8) * s)
        node = [hilum, hilum + (side * u(4, 12), 0, u(-20, 15))]
        paint_tube(body, nodes, node, u(7, 14) * s)
    return nodes


def _place_gullet(body: Body) -> tuple[list[tuple[float, float, float]], float]:
    """Choose points along the gullet, and its radius."""
    u, s, h, b = body.rng.uniform, body.size, body.height, body.half_depth
    spine = b - 28 * s
    gullet = [(body.shift * 0.5 + u(-6, 12), spine - u(6, 14), z) for z in (-100, 0.2 * h, 0.6 * h)]
    gullet.append((u(-3, 8), b * 0.35, h + 60))
    return gullet, u(5, 10) * s


def _outline_sheet(body: Body) -> np.ndarray:
    """Outline the sheet between the lungs; remember x relative to it as ``midline``.

    It is a thin junction line in front, and wide at the great vessels.
    """
    u, h, b = body.rng.uniform, body.height, body.half_depth
    line_x = body.shift * 0.9 + u(-12, 12) * np.clip(-body.y / b, 0, 1)
    to_back = 1 / (1 + np.exp(-np.clip((body.y + u(0.15, 0.55) * b) / u(5, 12), -30, 30)))
    to_top = 1 / (1 + np.exp(-np.clip((body.z - u(0.7, 0.85) * h) / 12, -30, 30)))
    sheet = u(0.6, 5) + (u(7, 18) * to_back + u(8, 26) * to_top) * (body.half_width / 130)
    triangle = np.clip((-body.y_cage - u(0.75, 0.95) * b) / 8, 0, 1) * u(0, 25)
    body.midline = body.x - line_x
    return np.abs(body.midline) < sheet + triangle


def _cover_airways(body: Body, carina: np.ndarray) -> None:
    """Cover (0 to 1) the air of windpipe and main bronchi, and the air with their walls."""
    u, s, h, b = body.rng.uniform, body.size, body.height, body.half_depth
    body.airway, body.airway_wall = body.blank(), body.blank()
    windpipe_radius, bronchus_radius, wall = u(6.5, 11) * s, u(4.5, 7.5) * s, u(1, 2.2)
    for cover, more in ((body.airway, 0.0), (body.airway_wall, wall)):
        top = (u(-6, 6), b * u(0.1, 0.3), h + 70)
        windpipe = [top, (body.shift * 0.5, b * 0.15, 0.8 * h), carina]
        paint_tube(body, cover, windpipe, windpipe_radius + more)
        for side in (-1, 1):
            bronchus = [carina, body.hilum[side] + (0, 4, 0)]
            paint_tube(body, cover, bronchus, bronchus_radius + more)


def _outline_middle(body: Body, core: np.ndarray, organs: np.ndarray) -> np.ndarray:
    """Outline the mediastinum: its organs, the fat in the creases between them, and fat pads."""
    u = body.rng.uniform
    smooth = ndimage.gaussian_filter(
        (core | organs).astype(np.float32), (0, *[u(2, 5) / body.pixel] * 2)
    )
    middle = core | organs | (smooth > u(0.45, 0.6))
    if body.rng.random() < 0.4:  # fat pads beside the heart
        centre = (body.shift + u(-60, 80), -body.half_depth * 0.6, u(-5, 20))
        middle |= ellipsoid(body, centre, (u(20, 50), u(15, 35), u(15, 35))) < 1
    return middle


def _draw_fat_and_heart(body: Body, heart: np.ndarray, heart_hu: float) -> None:
    u, hu = body.rng.uniform, body.hu
    inside = body.middle & (body.cage < 0)
    hu[inside] = FAT + u(-10, 40)
    texture = body.field(5, 26, 26)
    hu[inside & (texture > u(0.8, 2.2))] = u(-20, 60)
    radius = np.minimum(np.sqrt(heart), 2)
    hu[radius < 1] = heart_hu
    cavity = (radius < u(0.7, 0.9)) & (texture + body.field(3, 8, 8) > -1.2)
    hu[cavity] = body.blood * u(0.7, 1.1)


def draw_neck(body: Body) -> None:
    """Draw fat and muscle between the organs of the neck, above the apices of the lungs."""
    neck = (body.cage < 0) & (body.cap <= 0) & ~body.organs & ~body.paraspinal
    mix = body.field(5, 12, 12)
    body.hu[neck] = np.where(mix > body.rng.uniform(-1, 0.3), body.tissue, FAT)[neck]
