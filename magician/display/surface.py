"""The surface of both lungs in three dimensions.

This module is imported when a figure is drawn, because it needs matplotlib and scikit-image.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation

from magician.display.slice_figures import DPI, default_style, scale_bar

LUNGS = {1: "right", 2: "left"}
VIEWS = {"from the front, left and above": (30, 20), "from behind, right and below": (-150, -25)}
STEP_MM = 3.0  # a finer surface looks the same
LIGHT = np.array([-0.45, 0.55, 0.7])  # right, up, towards the viewer; length 1
# From shadow to light; the right lung is lighter than the left, in a grey print, too
SHADES = {"right": ((40, 110, 165), (222, 242, 255)), "left": ((6, 22, 55), (88, 130, 178))}


def surface(lung: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the surface of a mask as triangles, smoothed by about the size of a voxel.

    Parameters
    ----------
    lung : array of bool, shape (slices, rows, columns)
    affine : array, shape (4, 4)
        As in `CTVolume`.

    Returns
    -------
    points : array, shape (n, 3), LPS in mm
    faces : array of int, shape (m, 3)
        Which three points make up each triangle.
    normals : array, shape (n, 3)
        The directions out of the lung at the points, in LPS, of length 1.
    """
    from scipy.ndimage import find_objects, gaussian_filter
    from skimage.measure import marching_cubes

    (box,) = find_objects(lung.astype(np.uint8))
    steps_mm = np.linalg.norm(affine[:3, :3], axis=0)
    blocks = np.maximum(1, (STEP_MM / steps_mm).astype(int))
    margins = [
        (3 * block, 3 * block + (extent.start - extent.stop) % block)
        for block, extent in zip(blocks, box, strict=True)
    ]
    padded = np.pad(lung[box].astype(np.float32), margins)
    in_blocks = [
        length
        for count, block in zip(padded.shape, blocks, strict=True)
        for length in (count // block, block)
    ]
    coarse = gaussian_filter(padded.reshape(in_blocks).mean(axis=(1, 3, 5)), 1)
    points, faces, *_ = marching_cubes(coarse, 0.5)
    slopes = np.stack([_interpolated(slope, points) for slope in np.gradient(coarse)], axis=-1)
    normals = -slopes / blocks @ np.linalg.inv(affine[:3, :3])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    first = np.array([extent.start for extent in box]) - 3 * blocks
    voxels = first + points * blocks + (blocks - 1) / 2  # a block's middle, in voxels of the CT
    return voxels @ affine[:3, :3].T + affine[:3, 3], faces, normals


def _interpolated(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    return map_coordinates(values, points.T, order=1)


def draw(labels: np.ndarray, affine: np.ndarray) -> Figure:
    """Draw both lungs from two sides, without perspective and to one scale.

    The scale bar is therefore right everywhere.
    """
    surfaces = {
        label: surface(labels == label, affine) for label in LUNGS if (labels == label).any()
    }
    points = np.concatenate([points for points, _, _ in surfaces.values()])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    screens = {name: _screen(*angles) for name, angles in VIEWS.items()}
    reach = max(np.abs((points - middle) @ screen[:2].T).max() for screen in screens.values())
    with default_style():
        figure = Figure(figsize=(9, 4.3), dpi=DPI, facecolor="white")
        for i, (name, screen) in enumerate(screens.items()):
            axes = figure.add_axes([0.5 * i, 0, 0.5, 0.94])
            axes.set(
                xlim=(-1.6 * reach, 1.05 * reach), ylim=(-1.1 * reach, 1.15 * reach), aspect="equal"
            )
            axes.axis("off")
            axes.set_title(name, fontsize=10, pad=2, y=1)
            turned = {
                LUNGS[label]: ((points - middle) @ screen.T, faces, normals)
                for label, (points, faces, normals) in surfaces.items()
            }
            _paint_lungs(axes, turned, screen)
            _draw_directions(axes, (-1.32 * reach, -0.55 * reach), 0.15 * reach, screen)
            scale_bar(axes, 9, dark=True)
        return figure


def _screen(azimuth: float, elevation: float) -> np.ndarray:
    """Return the directions to the right, up, and towards the viewer, in LPS, array (3, 3); angles
    in degrees.

    Azimuth 0 is from the front, 90 from the patient's left; elevation 90 from the head.
    """
    turn, tilt = np.radians([azimuth, elevation])
    right = np.array([np.cos(turn), np.sin(turn), 0])
    level = np.array([np.sin(turn), -np.cos(turn), 0])
    head = np.array([0, 0, 1])
    return np.stack(
        [
            right,
            head * np.cos(tilt) - level * np.sin(tilt),
            level * np.cos(tilt) + head * np.sin(tilt),
        ]
    )


def _paint_lungs(axes: Axes, lungs: dict[str, tuple], screen: np.ndarray) -> None:
    """Paint the surfaces of lungs, given as points on the screen, faces and normals, with names."""
    values, all_faces, count = [], [], 0
    for i, (name, (points, faces, normals)) in enumerate(lungs.items()):
        facing = normals @ screen.T
        light = np.clip(facing @ LIGHT, 0, 1) * 0.8 + 0.2
        # a surface that turns away is darker, which draws the outline
        light *= np.sqrt(np.clip(facing[:, 2], 0.03, 1))
        values.append(i + np.clip(light, 0, 0.99))
        all_faces.append(faces + count)
        count += len(points)
        axes.text(
            points[:, 0].mean(),
            points[:, 1].max(),
            f"{name} lung",
            fontsize=10,
            ha="center",
            va="bottom",
        )
    seen = np.concatenate([points for points, _, _ in lungs.values()])
    triangles = np.concatenate(all_faces)
    # nearer triangles are painted over those behind them
    far_first = np.argsort(seen[triangles, 2].mean(axis=1))
    shades = np.concatenate([np.linspace(*SHADES[name], 128) for name in lungs]) / 255
    axes.tripcolor(
        Triangulation(seen[:, 0], seen[:, 1], triangles[far_first]),
        np.concatenate(values),
        shading="gouraud",
        cmap=ListedColormap(shades),
        vmin=0,
        vmax=len(lungs),
    )


def _draw_directions(
    axes: Axes, middle: tuple[float, float], length: float, screen: np.ndarray
) -> None:
    """Draw the patient's six directions; those that point away from the viewer are fainter."""
    for letter, direction in zip("LRPAHF", np.kron(np.eye(3), [[1], [-1]]), strict=True):
        x, y, towards = screen @ direction * length
        colour = "black" if towards > 0 else "0.5"
        axes.plot([middle[0], middle[0] + x], [middle[1], middle[1] + y], color=colour, linewidth=1)
        place = middle[0] + 1.45 * x, middle[1] + 1.45 * y
        axes.text(*place, letter, color=colour, fontsize=10, ha="center", va="center")
