"""The trees of a phantom's lungs: vessels and airways that branch from the hila to the pleura."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from phantom_parts.body import FAT, Body
from phantom_parts.lungs import SIDES
from phantom_parts.shapes import paint_rods

Rods = tuple[np.ndarray, np.ndarray, np.ndarray]  # starts and ends (n, 3), radii (n,), in mm


def draw_trees(body: Body) -> None:
    """Draw arteries, veins and airways; take the hila out of the label of the lungs."""
    u = body.rng.uniform
    covers = {name: body.blank() for name in ("vessels", "walls", "lumen", "central")}
    finest = u(0.4, 0.95)
    for side, value in SIDES:
        _cover_trees(body, covers, side, value, finest)
    lung = body.label > 0
    hila = _outline_hila(body, covers["central"])
    vessels, walls = covers["vessels"], covers["walls"]
    if body.rng.random() < 0.15:
        vessels *= u(0.2, 0.7)
    hu, paint = body.hu, lung & (vessels > 0)
    hu[hila] = np.maximum(hu[hila], FAT + 20)
    level = body.blood if body.contrast else u(20, 60)
    hu[paint] += (vessels * (level - hu))[paint]
    paint = lung & (walls > 0)
    hu[paint] += (walls * np.maximum(u(-300, 40) - hu, 0))[paint]
    body.tree_lumen = np.where(lung, covers["lumen"], 0)
    body.label[hila] = 0


def _cover_trees(
    body: Body, covers: dict[str, np.ndarray], side: int, value: int, finest: float
) -> None:
    """Cover (0 to 1) the trees of one lung, and what of them lies near the hilum as ``central``."""
    rng, u, s = body.rng, body.rng.uniform, body.size
    hilum = body.to_scanner(body.hilum[side])[0]
    i, j, k = np.nonzero(body.label[:, ::4, ::4] == value)
    if len(i) < 30:
        return
    voxels = np.stack([body.scan_x.ravel()[k * 4], body.scan_y.ravel()[j * 4], body.slice_z[i]], 1)

    def is_inside(points: np.ndarray) -> np.ndarray:
        return body.label[body.index(points)] == value

    for kind in ("artery", "vein", "airway"):
        if kind == "airway":
            radius, roots = u(2.5, 4.5), rng.integers(3, 6)
        else:
            radius, roots = u(4, 6.5), rng.integers(7, 14)
        root = hilum + rng.normal(0, 5, 3)
        start, end, radii = grow_tree(rng, root, voxels, radius * s, roots, finest, is_inside)
        if kind == "airway":
            keep = radii > 0.9
            wall = u(0.5, 1.4)
            paint_rods(body, covers["walls"], start[keep], end[keep], radii[keep] + wall)
            paint_rods(body, covers["lumen"], start[keep], end[keep], radii[keep])
        else:
            paint_rods(body, covers["vessels"], start, end, radii)
        near = (np.linalg.norm((start + end) / 2 - hilum, axis=1) < 32 * s) & (radii > 3.0 * s)
        paint_rods(body, covers["central"], start[near], end[near], radii[near] + 0.7)


def _outline_hila(body: Body, central: np.ndarray) -> np.ndarray:
    """Outline the hila, which belong to the mediastinum and not to the lungs.

    Only what hangs together with the mediastinum is hilum; a vessel on its own lies in the lung.
    """
    blur = (0, *[1.5 / body.pixel] * 2)
    hila = ndimage.gaussian_filter(np.maximum(central, body.middle), blur) > 0.5
    hila &= body.label > 0
    within_a_slice = np.array([[[0] * 3] * 3, [[1] * 3] * 3, [[0] * 3] * 3], bool)
    hila &= ndimage.binary_propagation(body.middle, within_a_slice, mask=body.middle | hila)
    return hila


def grow_tree(
    rng: np.random.Generator,
    root: np.ndarray,
    voxels: np.ndarray,
    radius: float,
    roots: int,
    finest: float,
    is_inside: Callable[[np.ndarray], np.ndarray],
) -> Rods:
    """Grow a tree that forks towards random places of a lung until it is too fine.

    Parameters
    ----------
    rng : Generator
    root : array, shape (3,), in mm
    voxels : array, shape (n, 3), in mm; the places to grow to
    radius, finest : radius of the first branches, and the radius at which a branch ends, in mm
    roots : number of first branches
    is_inside : tells for points (n, 3) whether they lie in the lung
    """
    goals = voxels[rng.integers(len(voxels), size=int(roots))]
    start = np.repeat(root[None], len(goals), 0)
    direction = goals - start
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-6
    radii = radius * rng.uniform(0.7, 1.0, len(goals))
    rods = []
    for generation in range(14):
        length = radii * rng.uniform(3, 7, len(radii)) + rng.uniform(3, 9, len(radii))
        end = start + direction * length[:, None]
        rods.append((start, end, radii))
        alive = (is_inside(end) | (generation < 2)) & (radii > finest)
        start, direction, radii = end[alive], direction[alive], radii[alive]
        if not len(radii) or sum(len(rod[2]) for rod in rods) > 1800:
            break
        direction = _fork(rng, direction)
        start = np.concatenate([start, start])
        radii = np.concatenate(
            [
                radii * rng.uniform(0.78, 0.95, len(radii)),
                radii * rng.uniform(0.55, 0.85, len(radii)),
            ]
        )
    return tuple(np.concatenate(parts) for parts in zip(*rods, strict=True))


def _fork(rng: np.random.Generator, direction: np.ndarray) -> np.ndarray:
    """Turn each direction (n, 3) into two (2 n, 3): a stem that goes on, and a branch aside."""
    side = rng.standard_normal(direction.shape)
    side -= (side * direction).sum(1, keepdims=True) * direction
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-6
    stem = np.deg2rad(rng.uniform(8, 35, len(direction)))[:, None]
    branch = np.deg2rad(rng.uniform(25, 65, len(direction)))[:, None]
    return np.concatenate(
        [
            np.cos(stem) * direction + np.sin(stem) * side,
            np.cos(branch) * direction - np.sin(branch) * side,
        ]
    )
