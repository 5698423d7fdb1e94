"""The scanner around a phantom: table, blanket and wires, and what the reconstruction does."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from phantom_parts.body import Body
from phantom_parts.shapes import paint_rods


def draw_surroundings(body: Body) -> None:
    """Draw the table with its pad, a blanket, and wires on the chest."""
    rng, u, hu = body.rng, body.rng.uniform, body.hu
    outside = ndimage.binary_fill_holes(hu.max(0) > -500) == 0
    back = body.half_depth + body.ribs + body.muscle + body.fat + u(14, 40)
    y = (-1 if body.prone else 1) * body.scan_y[0] - back
    surface = y + u(0, 0.0012) * body.scan_x[0] ** 2
    if rng.random() < 0.85:
        pad = (surface > 0) & (surface < u(3, 30)) & outside
        upper = np.abs(surface - u(4, 30)) < u(1, 3)
        lower = np.abs(surface - u(40, 70)) < u(1, 3)
        hu[:, pad], hu[:, outside & (upper | lower)] = u(-980, -700), u(-300, 300)
    if rng.random() < 0.3:  # blanket
        cloth = (body.skin < 0) & (body.skin > -u(5, 25)) & (np.abs(body.field(3, 12, 12)) < 0.2)
        hu[cloth & outside] = u(-900, -500)
    wires = body.blank()
    for _ in range(rng.integers(0, 4)):
        x, y = u(-130, 130, 2), [-body.half_depth - u(10, 40)] * 2
        ends = body.to_scanner(np.stack([x, y, u(-50, body.height, 2)], 1))
        paint_rods(body, wires, ends[:1], ends[1:], u(1, 2))
    hu[wires > 0.5] = u(200, 2500)


def reconstruct(body: Body) -> None:
    """Turn the drawn HU into an image: blur, kernel, slice thickness, noise, field of view."""
    _open_windpipe(body)
    _sharpen(body)
    shoulder = body.shoulder
    if body.thick:
        size = body.shape[1]
        body.hu = np.repeat(body.hu.reshape(-1, 3, size, size).mean(1), 1, 0)
        body.label, shoulder = body.label[1::3], shoulder[1::3]
    _add_noise(body, shoulder)
    body.hu += body.rng.uniform(-20, 20)
    if body.rng.random() < 0.5:
        _cut_circle(body)
    body.hu = np.clip(body.hu, -1024, 1500)


def _open_windpipe(body: Body) -> None:
    """Draw windpipe and main bronchi over everything else: a wall, and air."""
    hu, wall = body.hu, body.airway_wall > 0.5
    hu[wall] = np.where(hu[wall] > -300, hu[wall], 0)
    hu += body.airway * (body.rng.uniform(-1000, -940) - hu)
    np.clip(hu, -1024, 2500, out=hu)


def _sharpen(body: Body) -> None:
    """Blur as every kernel does; a sharp kernel overshoots at edges."""
    rng, u = body.rng, body.rng.uniform
    blur = u(0.25, 0.95)
    hu = ndimage.gaussian_filter(body.hu, (0, blur, blur))
    if rng.random() < 0.35:
        hu += u(0.3, 1.6) * (hu - ndimage.gaussian_filter(hu, (0, 1.5, 1.5)))
    body.hu = hu


def _add_noise(body: Body, shoulder: np.ndarray) -> None:
    """Add noise of a random grain, and streaks from side to side at the shoulders."""
    rng, u, hu = body.rng, body.rng.uniform, body.hu
    if body.arms_down:  # the bones of the arms streak through every slice
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
    noise = level * noise * (1 + u(0, 1.5) * shoulder)
    hu += noise + (u(10, 90) if rng.random() < 0.6 else 0) * streaks


def _cut_circle(body: Body) -> None:
    """Leave only the circle that the scanner reconstructs."""
    x, y, size = body.scan_x[0], body.scan_y[0], body.shape[1]
    square = (x - body.scan_x.mean()) ** 2 + (y - body.scan_y.mean()) ** 2
    cut = square > (size * body.pixel / 2 * body.rng.uniform(0.96, 1.02)) ** 2
    body.hu[:, cut] = -1024
    body.label[:, cut] = 0
