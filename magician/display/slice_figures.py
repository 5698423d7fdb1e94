"""Figures of slices: true proportions, letters for the patient's sides, outlines and a scale bar.

This module is imported when a figure is drawn, because it needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from contourpy import contour_generator
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from magician.ct.volume import CTVolume
from magician.rendering.orientation import position_parts
from magician.rendering.overlay import OUTLINE, palette
from magician.rendering.planes import Plane, planes
from magician.rendering.windowing import window

DPI = 100
HALO = [withStroke(linewidth=1.5, foreground="black")]  # white letters are legible on bone, too
OUTLINE_COLOUR = tuple(OUTLINE / 255)
# The line of each plane in the others. Each has a style of its own, so that no colour is needed.
# Colour-blind readers can tell the colours apart, and none of them is the blue of the lungs.
LINES = {
    "axial": ((0, (6, 3)), "#e69f00"),
    "coronal": ((0, (1.5, 2)), "#f0e442"),
    "sagittal": ((0, (8, 2, 1.5, 2)), "#e58fbd"),
}
GAP_MM = 15.0  # the lines leave a gap around the point in which they cross


def default_style() -> AbstractContextManager:
    """Return a context in which matplotlib draws in its own style, whatever the notebook uses."""
    return style.context("default")


@dataclass(frozen=True)
class Slice:
    """One picture of a plane.

    Attributes
    ----------
    pixels : array of uint8, shape (rows, columns), or (rows, columns, 3) with the lungs in blue
    labels : array of uint8, shape (rows, columns), or None
        Each label is outlined by itself; 0 is outside.
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
        """Cut one slice of a plane out of a volume, windowed, with its lungs in blue."""
        grey = window(plane.picture(volume.hu, index), center, width)
        if labels is None:
            return cls(grey)
        cut_labels = plane.picture(labels, index).astype(np.uint8)
        return cls(palette()[(cut_labels > 0).astype(np.uint8), grey], cut_labels)


def grid(
    slices: list[Slice],
    captions: list[str],
    plane: Plane | None = None,
    *,
    columns: int = 6,
    tile: float = 1.5,
) -> Figure:
    """Draw pictures side by side.

    Pictures of a plane are in true proportions, with letters and a scale bar.

    Parameters
    ----------
    slices : list of Slice
    captions : list of str
        One for each slice.
    plane : Plane, optional
        The plane of all slices.
    columns : int
    tile : float
        Side of each picture in inches.
    """
    # the strip above each picture, for its caption, in inches
    rows, strip = -(-len(slices) // columns), 0.16
    size = (columns * tile, rows * (tile + strip))
    with default_style():
        figure = Figure(figsize=size, dpi=DPI, facecolor="white")
        for i, (picture, caption) in enumerate(zip(slices, captions, strict=True)):
            across, down = i % columns * tile, (rows - 1 - i // columns) * (tile + strip)
            axes = figure.add_axes(_box(size, across + 0.01, down + 0.01, tile - 0.02, tile - 0.02))
            axes.axis("off")
            _draw_slice(axes, picture, plane.spacing_mm if plane else (1, 1), outline=tile / 2.5)
            axes.set_title(caption, fontsize=7, pad=1, y=1)
            if plane:
                _write_letters(axes, plane.letters, size=6)
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
    shape, by_name = volume.hu.shape, planes(volume)
    sides_and_mm = position_parts(volume, position)
    sizes = {
        name: [shape[axis] * mm for axis, mm in zip(plane.axes[1:], plane.spacing_mm, strict=True)]
        for name, plane in by_name.items()
    }
    inch = 11.76 / sum(across for _, across in sizes.values())  # of one millimetre
    highest = max(down for down, _ in sizes.values()) * inch
    # A little more than whole pixels, because some versions of matplotlib round down
    size, left = (12, (round((highest + 0.36) * DPI) + 0.1) / DPI), 0.06
    with default_style():
        figure = Figure(figsize=size, dpi=DPI, facecolor="white")
        for name, plane in by_name.items():
            tall, wide = (mm * inch for mm in sizes[name])
            axes = figure.add_axes(_box(size, left, 0.06 + (highest - tall) / 2, wide, tall))
            left += wide + 0.06
            index, *place = plane.place_of(position, shape)
            cut = Slice.cut(volume, labels, plane, index, center, width)
            _draw_slice(axes, cut, plane.spacing_mm, outline=1)
            _write_letters(axes, plane.letters, size=10)
            scale_bar(axes, size=9)
            y, x = ((i + 0.5) * mm for i, mm in zip(place, plane.spacing_mm, strict=True))
            for other, other_plane in by_name.items():
                if other != name:
                    _draw_line(axes, (x, y), other_plane.axes[0] == plane.axes[1], *LINES[other])
            side_and_mm = sides_and_mm[("sagittal", "coronal", "axial").index(name)]
            title = f"{name}: {index + 1} of {shape[plane.axes[0]]}, {side_and_mm} mm"
            axes.set_title(title, fontsize=10, pad=6, y=1)
            _draw_frame(axes, *LINES[name])
        return figure


def _box(
    size: tuple[float, float], left: float, bottom: float, width: float, height: float
) -> list[float]:
    """Return a box in inches as shares of the size of a figure."""
    return [left / size[0], bottom / size[1], width / size[0], height / size[1]]


def _draw_line(
    axes: Axes, point: tuple[float, float], level: bool, dashes: tuple, colour: str
) -> None:
    """Draw a level or an upright line across a picture, with a gap around the point."""
    x, y = point
    for sign, edge in ((-1, 0), (1, axes.get_xlim()[1] if level else axes.get_ylim()[0])):
        start = (x if level else y) + sign * GAP_MM
        if (edge - start) * sign > 0:
            xs, ys = ([start, edge], [y, y]) if level else ([x, x], [start, edge])
            axes.plot(xs, ys, color=colour, linestyle=dashes, linewidth=1.2, path_effects=HALO)


def _draw_frame(axes: Axes, dashes: tuple, colour: str) -> None:
    """Draw the frame of a picture like the line that stands for it in the other pictures."""
    axes.set(xticks=[], yticks=[])
    # under the frame, so that its dashes can be told apart
    axes.patch.set(edgecolor="black", linewidth=4)
    axes.spines[:].set(color=colour, linestyle=dashes, linewidth=1.8)


def _draw_slice(axes: Axes, picture: Slice, spacing_mm: Sequence[float], outline: float) -> None:
    """Draw a slice on axes that count in millimetres, from its upper left corner."""
    down, across = (count * mm for count, mm in zip(picture.pixels.shape, spacing_mm, strict=False))
    axes.imshow(
        picture.pixels,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="antialiased",
        extent=(0, across, down, 0),
    )
    labels = np.zeros((1, 1)) if picture.labels is None else picture.labels
    for label in np.unique(labels[labels > 0]):
        lines = _outlines(labels == label, spacing_mm)
        axes.add_collection(
            LineCollection(lines, colors=[OUTLINE_COLOUR], linewidths=outline), autolim=False
        )
    axes.set(xlim=(0, across), ylim=(down, 0))


def _outlines(lung: np.ndarray, spacing_mm: Sequence[float]) -> list[np.ndarray]:
    """Return the outlines of a lung as lines in mm, arrays of shape (points, 2): x, y.

    `Axes.contour` gives the same lines, but a figure then keeps 8 MB for each of them.
    """
    padded = np.pad(lung, 1)  # so that a lung at the very edge is outlined, too
    y, x = (
        (np.arange(count) - 0.5) * mm for count, mm in zip(padded.shape, spacing_mm, strict=True)
    )
    return contour_generator(x, y, padded).lines(0.5)


def _write_letters(axes: Axes, letters: Sequence[str], size: float) -> None:
    """Write the letters of the patient's sides at the left, right, upper and lower edge."""
    edges = [(0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center")]
    edges += [(0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom")]
    common = {
        "color": "white",
        "fontsize": size,
        "transform": axes.transAxes,
        "path_effects": HALO,
    }
    for letter, (x, y, ha, va) in zip(letters, edges, strict=True):
        axes.text(x, y, letter, ha=ha, va=va, **common)


def scale_bar(axes: Axes, size: float, *, dark: bool = False) -> None:
    """Draw a bar of a round length at the lower left of axes that count in millimetres.

    It takes at most a third of the width.
    """
    left, right = axes.get_xlim()
    lengths = [10.0**power * factor for power in range(-1, 4) for factor in (1, 2, 5)]
    length = max(mm for mm in lengths if mm <= (right - left) / 3)
    name = f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm"
    # y is a share of the height
    start, transform = left + 0.04 * (right - left), axes.get_xaxis_transform()
    common = {
        "color": "black" if dark else "white",
        "path_effects": [] if dark else HALO,
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
