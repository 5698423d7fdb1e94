"""What all figures of CT have in common: true proportions, letters of the patient's sides, a scale bar; and the slices.

Imported when a figure is drawn, and not before: it needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot: no global state, nothing is shown twice
from matplotlib.patheffects import withStroke

from magician._overlay import paint
from magician._planes import Plane, places, planes
from magician.volume import CTVolume, window

# As they are drawn, whatever style the notebook around them uses: `with plain():`
plain = lambda: style.context("default")  # noqa: E731
_HALO = [withStroke(linewidth=1.5, foreground="black")]  # white letters can be read on bone, too
# Where each plane cuts the others: a line style for each, so that no colour is needed; the colours are of a set that
# colour-blind readers tell apart, and none of them is the blue of the lungs.
_LINES = {
    "axial": ((0, (6, 3)), "#e69f00"),
    "coronal": ((0, (1.5, 2)), "#f0e442"),
    "sagittal": ((0, (8, 2, 1.5, 2)), "#e58fbd"),
}
_GAP_MM = 15.0  # the lines leave free what lies around their crossing


def cut(volume: CTVolume, labels: np.ndarray | None, plane: Plane, index: int, center: float, width: float):
    """Return one picture of a plane: array of uint8, (rows, columns), or (rows, columns, 3) with the lungs in blue."""
    hu = plane.picture(volume.hu, index)
    if labels is None:
        return window(hu, center, width)
    return paint(hu, plane.picture(labels, index).astype(np.uint8), center, width)


def grid(
    images: list, captions: list[str], plane: Plane | None = None, *, columns: int = 6, tile: float = 1.5
) -> Figure:
    """Draw pictures side by side; those of a plane in true proportions, with letters and a scale bar."""
    with plain():
        rows = -(-len(images) // columns)
        figure = Figure(figsize=(columns * tile, rows * (tile + 0.16)), dpi=100, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
        for axes in figure.subplots(rows, columns, squeeze=False).flat:
            axes.axis("off")
        for axes, image, caption in zip(figure.axes, images, captions, strict=False):
            _show(axes, image, plane.spacing_mm if plane else (1, 1))
            axes.set_title(caption, fontsize=7, pad=1)
            if plane:
                _edges(axes, plane.letters, size=6)
                scale_bar(axes, size=6)
        return figure


def three_planes(
    volume: CTVolume, labels: np.ndarray | None, position: tuple[int, int, int], center: float, width: float
) -> Figure:
    """Draw the three planes through a voxel beside each other, to one scale."""
    shape, shown = volume.hu.shape, planes(volume)
    sizes = {name: [shape[axis] * mm for axis, mm in zip(plane.axes[1:], plane.spacing_mm, strict=True)]
             for name, plane in shown.items()}  # fmt: skip
    inches = 12 / sum(across for _, across in sizes.values())
    with plain():
        figure = Figure(
            figsize=(12, max(down for down, _ in sizes.values()) * inches + 0.3), dpi=100, layout="constrained"
        )
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        ratios = [across for _, across in sizes.values()]
        for axes, (name, plane) in zip(figure.subplots(1, 3, width_ratios=ratios), shown.items(), strict=True):
            index, down, across = plane.place(position, shape)
            _show(axes, cut(volume, labels, plane, index, center, width), plane.spacing_mm)
            _edges(axes, plane.letters, size=10)
            scale_bar(axes, size=9)
            point = ((across + 0.5) * plane.spacing_mm[1], (down + 0.5) * plane.spacing_mm[0])
            for other, way in zip([one for one in shown if one != name], _ways(plane, shown, name), strict=True):
                _line(axes, point, way, *_LINES[other])
            place = places(volume, position)[("sagittal", "coronal", "axial").index(name)]
            axes.set_title(f"{name}: {index + 1} of {shape[plane.axes[0]]}, {place} mm", fontsize=10, pad=4)
            _frame(axes, *_LINES[name])
        return figure


def _ways(plane: Plane, shown: dict[str, Plane], name: str) -> list[str]:
    """Return whether each of the two other planes runs "across" or "down" a picture of this one."""
    stepped = [other.axes[0] for key, other in shown.items() if key != name]
    return ["across" if axis == plane.axes[1] else "down" for axis in stepped]


def _line(axes: Axes, point: tuple[float, float], way: str, dashes, colour: str) -> None:
    """Draw a line through a point from edge to edge of a picture, less what lies around the point."""
    x, y = point
    right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
    for sign in (-1, 1):
        near = sign * _GAP_MM
        far = (0, right if way == "across" else bottom)[sign > 0]
        xs, ys = ([x + near, far], [y, y]) if way == "across" else ([x, x], [y + near, far])
        axes.plot(xs, ys, color=colour, linestyle=dashes, linewidth=1.2, path_effects=_HALO, gid=f"line {way}")


def _frame(axes: Axes, dashes, colour: str) -> None:
    """Frame a picture as the line is drawn that stands for it in the others."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=colour, linestyle=dashes, linewidth=1.8)


def _show(axes: Axes, image: np.ndarray, spacing_mm: Sequence[float]) -> None:
    """Show an image on axes that count in millimetres, from its upper left corner."""
    down, across = (count * mm for count, mm in zip(image.shape, spacing_mm, strict=False))
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="antialiased", extent=(0, across, down, 0))


def _edges(axes: Axes, letters: Sequence[str], size: float) -> None:
    """Write the letters of the left, right, upper and lower edge."""
    where = [(0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"),
             (0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom")]  # fmt: skip
    for letter, (x, y, ha, va) in zip(letters, where, strict=True):
        axes.text(x, y, letter, color="white", fontsize=size, ha=ha, va=va, transform=axes.transAxes, path_effects=_HALO)


def scale_bar(axes: Axes, size: float, *, colour: str = "white", y: float = 0.04) -> None:
    """Draw a bar of a round length, at most a third of the width, at the lower left; the axes count in millimetres."""
    left, right = axes.get_xlim()
    lengths = [10.0**power * factor for power in range(-1, 4) for factor in (1, 2, 5)]
    length = max(mm for mm in lengths if mm <= abs(right - left) / 3)
    halo = _HALO if colour == "white" else []
    start = left + 0.04 * (right - left)
    transform = axes.get_xaxis_transform()  # x in millimetres, y as a share of the height
    axes.plot([start, start + length], [y, y], color=colour, linewidth=size / 4, solid_capstyle="butt",
              transform=transform, path_effects=halo, gid="scale bar")  # fmt: skip
    name = f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm"
    axes.text(start, y + 0.015, name, color=colour, fontsize=size, va="bottom", transform=transform, path_effects=halo)
