"""Both lungs as a surface in three dimensions.

Imported when a figure is drawn, and not before: it needs matplotlib and scikit-image.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation

from magician.display.slice_figures import DPI, plain, scale_bar

LUNGS = {1: "right", 2: "left"}
VIEWS = {"from the front, left and above": (30, 20), "from behind, right and below": (-150, -25)}
_STEP_MM = 3.0  # finer than that, nobody sees it
_LIGHT = np.array([-0.45, 0.55, 0.7])  # from the upper left, as the viewer sees it; its length is 1
# From shadow to light: the right lung is the lighter one, in a grey print, too
_SHADES = {"right": ((40, 110, 165), (222, 242, 255)), "left": ((6, 22, 55), (88, 130, 178))}


def surface(lung: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the surface of a mask as triangles, smoothed by about the size of a voxel.

    Parameters
    ----------
    lung : array of bool, shape (slices, rows, columns)
    affine : array, shape (4, 4)
        As in :class:`magician.CTVolume`.

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
    blocks = np.maximum(1, (_STEP_MM / steps_mm).astype(int))
    margins = [(3 * block, 3 * block + -len(range(*one.indices(size))) % block)
               for block, one, size in zip(blocks, box, lung.shape, strict=True)]  # fmt: skip
    padded = np.pad(lung[box].astype(np.float32), margins)
    rows = [
        x
        for count, block in zip(padded.shape, blocks, strict=True)
        for x in (count // block, block)
    ]
    coarse = gaussian_filter(padded.reshape(rows).mean(axis=(1, 3, 5)), 1)
    points, faces, *_ = marching_cubes(coarse, 0.5)
    slopes = np.stack([_between(slope, points) for slope in np.gradient(coarse)], axis=-1)
    normals = -slopes / blocks @ np.linalg.inv(affine[:3, :3])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    first = np.array([one.start for one in box]) - 3 * blocks
    voxels = first + points * blocks + (blocks - 1) / 2  # a block's middle, in voxels of the CT
    return voxels @ affine[:3, :3].T + affine[:3, 3], faces, normals


def _between(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    return map_coordinates(values, points.T, order=1)


def draw(labels: np.ndarray, affine: np.ndarray) -> Figure:
    """Draw both lungs from two sides, without perspective and to one scale, so that the scale bar
    holds everywhere.
    """
    found = {label: surface(labels == label, affine) for label in LUNGS if (labels == label).any()}
    points = np.concatenate([points for points, _, _ in found.values()])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    screens = {name: _screen(*angles) for name, angles in VIEWS.items()}
    reach = max(np.abs((points - middle) @ screen[:2].T).max() for screen in screens.values())
    with plain():
        figure = Figure(figsize=(9, 4.3), dpi=DPI, facecolor="white")
        for i, (name, screen) in enumerate(screens.items()):
            axes = figure.add_axes([0.5 * i, 0, 0.5, 0.94])
            axes.set(
                xlim=(-1.6 * reach, 1.05 * reach), ylim=(-1.1 * reach, 1.15 * reach), aspect="equal"
            )
            axes.axis("off")
            axes.set_title(name, fontsize=10, pad=2, y=1)
            turned = {
                LUNGS[label]: ((its - middle) @ screen.T, *more)
                for label, (its, *more) in found.items()
            }
            _lungs(axes, turned, screen)
            _jack(axes, (-1.32 * reach, -0.55 * reach), 0.15 * reach, screen)
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


def _lungs(axes: Axes, found: dict[str, tuple], screen: np.ndarray) -> None:
    """Paint surfaces, given as points on the screen, faces, and normals; their names stand above
    them.
    """
    values, faces, count = [], [], 0
    for i, (name, (points, its, normals)) in enumerate(found.items()):
        facing = normals @ screen.T
        light = np.clip(facing @ _LIGHT, 0, 1) * 0.8 + 0.2
        # what turns away is darker: this draws the outline
        light *= np.sqrt(np.clip(facing[:, 2], 0.03, 1))
        values.append(i + np.clip(light, 0, 0.99))
        faces.append(its + count)
        count += len(points)
        axes.text(
            points[:, 0].mean(),
            points[:, 1].max(),
            f"{name} lung",
            fontsize=10,
            ha="center",
            va="bottom",
        )
    seen, faces = np.concatenate([points for points, _, _ in found.values()]), np.concatenate(faces)
    # nearer triangles are painted over those behind them
    far_first = np.argsort(seen[faces, 2].mean(axis=1))
    shades = np.concatenate([np.linspace(*_SHADES[name], 128) for name in found]) / 255
    axes.tripcolor(
        Triangulation(seen[:, 0], seen[:, 1], faces[far_first]),
        np.concatenate(values),
        shading="gouraud",
        cmap=ListedColormap(shades),
        vmin=0,
        vmax=len(found),
    )


def _jack(axes: Axes, middle: tuple[float, float], length: float, screen: np.ndarray) -> None:
    """Draw the patient's six directions; those that point away from the viewer are fainter."""
    for letter, direction in zip("LRPAHF", np.kron(np.eye(3), [[1], [-1]]), strict=True):
        x, y, towards = screen @ direction * length
        colour = "black" if towards > 0 else "0.5"
        axes.plot([middle[0], middle[0] + x], [middle[1], middle[1] + y], color=colour, linewidth=1)
        place = middle[0] + 1.45 * x, middle[1] + 1.45 * y
        axes.text(*place, letter, color=colour, fontsize=10, ha="center", va="center")
