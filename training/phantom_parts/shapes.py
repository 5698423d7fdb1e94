"""Shapes of a phantom: superellipses, ellipsoids, rods and bent tubes."""

from __future__ import annotations

import numpy as np

from phantom_parts.body import Body


def distance_outside(
    x: np.ndarray, y: np.ndarray, half_width: np.ndarray, half_depth: np.ndarray, power: float
) -> np.ndarray:
    """Measure the distance in mm, along the ray from the axis, outward from a superellipse."""
    rho = (np.abs(x / half_width) ** power + np.abs(y / half_depth) ** power) ** (1 / power)
    return np.hypot(x, y) * (1 - 1 / np.maximum(rho, 0.05))


def ellipsoid(body: Body, centre, axes, turn: float = 0.0) -> np.ndarray:
    """Give a number that is below 1 inside an ellipsoid.

    Parameters
    ----------
    body : Body
    centre : x, y, z, anatomical, in mm
    axes : the three half-axes, in mm
    turn : angle in the axial plane, in radians
    """
    dx, dy, dz = body.x - float(centre[0]), body.y - float(centre[1]), body.z - float(centre[2])
    c, s = float(np.cos(turn)), float(np.sin(turn))
    axes = [float(a) for a in axes]
    return (
        ((c * dx + s * dy) / axes[0]) ** 2
        + ((c * dy - s * dx) / axes[1]) ** 2
        + (dz / axes[2]) ** 2
    )


def random_ellipsoid(body: Body, mask: np.ndarray, radius: float) -> np.ndarray:
    """Give an ellipsoid (below 1 inside) of about ``radius`` mm around a random voxel of a mask."""
    i, j, k = np.nonzero(mask[:, ::8, ::8])
    n = body.rng.integers(len(i)) if len(i) else 0
    centre = (
        (0, 0, 0) if not len(i) else [c[i[n], j[n] * 8, k[n] * 8] for c in (body.x, body.y, body.z)]
    )
    return ellipsoid(body, centre, radius * body.rng.uniform(0.7, 1.4, 3))


def paint_tube(body: Body, cover: np.ndarray, points, radius: float) -> np.ndarray:
    """Cover (0 to 1) a bent tube through anatomical points (n, 3).

    Changes ``cover`` in place, and returns it.
    """
    grid = body.to_scanner(np.asarray(points))
    return paint_rods(body, cover, grid[:-1], grid[1:], radius)


def paint_rods(body: Body, cover: np.ndarray, start, end, radius) -> np.ndarray:
    """Cover (0 to 1) rods with round ends. Changes ``cover`` in place, and returns it.

    ``start`` and ``end`` are points (n, 3) in the scanner's coordinates, ``radius`` is one number
    or n of them.
    """
    for p, q, r in zip(
        np.asarray(start), np.asarray(end), np.broadcast_to(radius, len(start)), strict=True
    ):
        low, high = min(p[2], q[2]) - r, max(p[2], q[2]) + r
        for i in np.flatnonzero((body.slice_z >= low) & (body.slice_z <= high)):
            _paint_rod(body, cover[i], p, q, r, body.slice_z[i] - p[2])
    return cover


def _paint_rod(
    body: Body, plane: np.ndarray, p: np.ndarray, q: np.ndarray, r: float, dz: float
) -> None:
    """Cover a rod from ``p`` to ``q`` on one slice, which lies ``dz`` above ``p``."""
    size, pixel = body.shape[1], body.pixel
    first_x, first_y = body.scan_x.flat[0], body.scan_y.flat[0]
    d = q - p
    norm = float(d @ d) + 1e-6
    # the part of the rod that comes near this slice
    if abs(d[2]) > 1e-3:
        t = np.clip(np.sort(((dz - r) / d[2], (dz + r) / d[2])), 0, 1)
    else:
        t = np.array([0.0, 1.0])
    ends = p[:2] + t[:, None] * d[:2]
    (low_x, low_y), (high_x, high_y) = ends.min(0) - r - pixel, ends.max(0) + r + pixel
    j0, j1 = max(int((low_y - first_y) / pixel), 0), int((high_y - first_y) / pixel) + 2
    k0, k1 = max(int((low_x - first_x) / pixel), 0), int((high_x - first_x) / pixel) + 2
    if j1 <= 0 or k1 <= 0 or j0 >= size or k0 >= size:
        return
    xs, ys = body.scan_x.ravel(), body.scan_y.ravel()
    dx, dy = xs[None, k0:k1] - p[0], ys[j0:j1, None] - p[1]
    along = np.clip((dx * d[0] + dy * d[1] + dz * d[2]) / norm, 0, 1)
    distance = np.sqrt(
        (dx - along * d[0]) ** 2 + (dy - along * d[1]) ** 2 + (dz - along * d[2]) ** 2
    )
    patch = plane[j0:j1, k0:k1]
    np.maximum(patch, np.clip((r - distance) / pixel + 0.5, 0, 1), out=patch)
