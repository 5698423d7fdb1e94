"""What all figures of CT have in common: true proportions, letters of the patient's sides, a scale
bar; and the slices.

Imported when a figure is drawn, and not before: it needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from magician.ct.volume import CTVolume
from magician.rendering.orientation import position_parts
from magician.rendering.overlay import OUTLINE, palette
from magician.rendering.planes import Plane, planes
from magician.rendering.windowing import window

DPI = 100
_HALO = [withStroke(linewidth=1.5, foreground="black")]  # white letters can be read on bone, too
_OUTLINE = tuple(OUTLINE / 255)
# Where each plane cuts the others: a line style for each, so that no colour is needed; the colours
# are such that colour-blind readers tell them apart, and none of them is the blue of the lungs.
_LINES = {
    "axial": ((0, (6, 3)), "#e69f00"),
    "coronal": ((0, (1.5, 2)), "#f0e442"),
    "sagittal": ((0, (8, 2, 1.5, 2)), "#e58fbd"),
}
_GAP_MM = 15.0  # the lines leave free what lies around their crossing


def plain() -> AbstractContextManager:
    """Draw in matplotlib's own style, whatever the notebook around it uses."""
    return style.context("default")


@dataclass(frozen=True)
class Slice:
    """One picture of a plane.

    Attributes
    ----------
    pixels : array of uint8, shape (rows, columns), or (rows, columns, 3) with the lungs in blue
    labels : array of uint8, shape (rows, columns), or None
        What is outlined, each label by itself; 0 is outside.
    """

    pixels: np.ndarray
    labels: np.ndarray | None = None

    @classmethod
    def cut(
        cls,
        volume: CTVolume,
        labels: np.ndarray | None,
        plane: Plane,
        index: int,
        center: float,
        width: float,
    ) -> Slice:
        grey = window(plane.picture(volume.hu, index), center, width)
        if labels is None:
            return cls(grey)
        shown = plane.picture(labels, index).astype(np.uint8)
        return cls(palette()[(shown > 0).astype(np.uint8), grey], shown)


def grid(
    slices: list[Slice],
    captions: list[str],
    plane: Plane | None = None,
    *,
    columns: int = 6,
    tile: float = 1.5,
) -> Figure:
    """Draw pictures side by side; those of a plane in true proportions, with letters and a scale
    bar.
    """
    # the strip above each, for its caption, in inches
    rows, strip = -(-len(slices) // columns), 0.16
    size = (columns * tile, rows * (tile + strip))
    with plain():
        figure = Figure(figsize=size, dpi=DPI, facecolor="white")
        for i, (one, caption) in enumerate(zip(slices, captions, strict=True)):
            across, down = i % columns * tile, (rows - 1 - i // columns) * (tile + strip)
            axes = figure.add_axes(_box(size, across + 0.01, down + 0.01, tile - 0.02, tile - 0.02))
            axes.axis("off")
            _show(axes, one, plane.spacing_mm if plane else (1, 1), outline=tile / 2.5)
            axes.set_title(caption, fontsize=7, pad=1, y=1)
            if plane:
                _edges(axes, plane.letters, size=6)
                scale_bar(axes, size=6)
        return figure


def three_planes(
    volume: CTVolume,
    labels: np.ndarray | None,
    position: tuple[int, int, int],
    center: float,
    width: float,
) -> Figure:
    """Draw the three planes through a voxel beside each other, to one scale."""
    shape, shown = volume.hu.shape, planes(volume)
    sizes = {
        name: [shape[axis] * mm for axis, mm in zip(plane.axes[1:], plane.spacing_mm, strict=True)]
        for name, plane in shown.items()
    }
    inch = 11.76 / sum(across for _, across in sizes.values())  # of one millimetre
    highest = max(down for down, _ in sizes.values()) * inch
    # Whole pixels, and not a hair less: some versions of matplotlib round down
    size, left = (12, (round((highest + 0.36) * DPI) + 0.1) / DPI), 0.06
    with plain():
        figure = Figure(figsize=size, dpi=DPI, facecolor="white")
        for name, plane in shown.items():
            tall, wide = (mm * inch for mm in sizes[name])
            axes = figure.add_axes(_box(size, left, 0.06 + (highest - tall) / 2, wide, tall))
            left += wide + 0.06
            index, *place = plane.place_of(position, shape)
            cut = Slice.cut(volume, labels, plane, index, center, width)
            _show(axes, cut, plane.spacing_mm, outline=1)
            _edges(axes, plane.letters, size=10)
            scale_bar(axes, size=9)
            y, x = ((i + 0.5) * mm for i, mm in zip(place, plane.spacing_mm, strict=True))
            for other, its in shown.items():
                if other != name:
                    _line(axes, (x, y), its.axes[0] == plane.axes[1], *_LINES[other])
            where = position_parts(volume, position)[("sagittal", "coronal", "axial").index(name)]
            axes.set_title(
                f"{name}: {index + 1} of {shape[plane.axes[0]]}, {where} mm",
                fontsize=10,
                pad=6,
                y=1,
            )
            _frame(axes, *_LINES[name])
        return figure


def _box(
    size: tuple[float, float], left: float, bottom: float, width: float, height: float
) -> list[float]:
    """Return a place in inches as shares of a figure."""
    return [left / size[0], bottom / size[1], width / size[0], height / size[1]]


def _line(axes: Axes, point: tuple[float, float], level: bool, dashes: tuple, colour: str) -> None:
    """Draw a level or an upright line from edge to edge of a picture, less what lies around the
    point.
    """
    x, y = point
    for sign, edge in ((-1, 0), (1, axes.get_xlim()[1] if level else axes.get_ylim()[0])):
        start = (x if level else y) + sign * _GAP_MM
        if (edge - start) * sign > 0:
            xs, ys = ([start, edge], [y, y]) if level else ([x, x], [start, edge])
            axes.plot(xs, ys, color=colour, linestyle=dashes, linewidth=1.2, path_effects=_HALO)


def _frame(axes: Axes, dashes: tuple, colour: str) -> None:
    """Frame a picture as the line is drawn that stands for it in the others."""
    axes.set(xticks=[], yticks=[])
    # under the frame, so that its dashes can be told apart
    axes.patch.set(edgecolor="black", linewidth=4)
    axes.spines[:].set(color=colour, linestyle=dashes, linewidth=1.8)


def _show(axes: Axes, one: Slice, spacing_mm: Sequence[float], outline: float) -> None:
    """Show a slice on axes that count in millimetres, from its upper left corner."""
    down, across = (count * mm for count, mm in zip(one.pixels.shape, spacing_mm, strict=False))
    axes.imshow(
        one.pixels,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="antialiased",
        extent=(0, across, down, 0),
    )
    for label in np.unique(one.labels[one.labels > 0]) if one.labels is not None else ():
        lung = np.pad(one.labels == label, 1)  # so that a lung at the very edge is outlined, too
        y, x = (
            (np.arange(count) - 0.5) * mm for count, mm in zip(lung.shape, spacing_mm, strict=True)
        )
        axes.contour(x, y, lung, levels=[0.5], colors=[_OUTLINE], linewidths=outline)
    axes.set(xlim=(0, across), ylim=(down, 0))


def _edges(axes: Axes, letters: Sequence[str], size: float) -> None:
    """Write the letters of the left, right, upper and lower edge."""
    edges = [(0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center")]
    edges += [(0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom")]
    common = {
        "color": "white",
        "fontsize": size,
        "transform": axes.transAxes,
        "path_effects": _HALO,
    }
    for letter, (x, y, ha, va) in zip(letters, edges, strict=True):
        axes.text(x, y, letter, ha=ha, va=va, **common)


def scale_bar(axes: Axes, size: float, *, dark: bool = False) -> None:
    """Draw a bar of a round length, at most a third of the width, at the lower left; the axes count
    in millimetres.
    """
    left, right = axes.get_xlim()
    lengths = [10.0**power * factor for power in range(-1, 4) for factor in (1, 2, 5)]
    length = max(mm for mm in lengths if mm <= (right - left) / 3)
    name = f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm"
    # y is a share of the height
    start, transform = left + 0.04 * (right - left), axes.get_xaxis_transform()
    common = {
        "color": "black" if dark else "white",
        "path_effects": [] if dark else _HALO,
        "transform": transform,
    }
    axes.plot(
        [start, start + length],
        [0.04, 0.04],
        linewidth=size / 4,
        solid_capstyle="butt",
        label=name,
        **common,
    )
    axes.text(start, 0.055, name, fontsize=size, va="bottom", **common)
