"""Look at it: tables, montages and a viewer with sliders, for notebooks.

Nothing here prints or draws by itself: each function returns something that a notebook shows when it is the last
line of a cell. Figures are drawn from numpy arrays by `magician.volume.window`, the same function that the viewer
uses, and never change what a model sees.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue

from magician._overlay import checked_labels, paint, patient_orientation
from magician.segmentation import LungSegmentation
from magician.volume import CTVolume, window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from magician._window_viewer import WindowViewer


class Table:
    """Rows and columns that a notebook shows as a table, and anything else as text."""

    def __init__(self, columns: Sequence[str], cells: list[list[str]]) -> None:
        self.columns, self.cells = list(columns), cells

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.cells, strict=True)]
        lines = [self.columns, ["-" * width for width in widths], *self.cells]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="text-align:left">{html.escape(name)}</th>' for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row) + "</tr>"
            for row in self.cells
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Picture:
    """A figure that a notebook shows as a JPEG, with a sentence that says what is to be seen.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    description : str
    """

    def __init__(self, figure: Figure, description: str) -> None:
        self.figure, self.description = figure, description

    def __repr__(self) -> str:
        return self.description

    def _repr_jpeg_(self) -> bytes:
        buffer = BytesIO()
        self.figure.savefig(buffer, format="jpeg", pil_kwargs={"quality": 85, "optimize": True})
        return buffer.getvalue()


def show_table(rows: Iterable, columns: Sequence[str] | Mapping[str, str]) -> Table:
    """Show some attributes of some objects as a table.

    Parameters
    ----------
    rows : iterable of Dataset, dict, or any object with attributes
    columns : sequence of str, or dict
        Keywords or attribute names, such as ``"StudyDate"``; as a dict, with the headings to use for them.
    """
    headings = list(columns.values()) if isinstance(columns, Mapping) else list(columns)
    return Table(headings, [[_cell(row, name) for name in columns] for row in rows])


def _cell(row, name: str) -> str:
    value = row.get(name, "") if isinstance(row, (Dataset, Mapping)) else getattr(row, name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, MultiValue):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def montage(
    volume: CTVolume,
    segmentation: LungSegmentation | np.ndarray | None = None,
    *,
    center: float = 40,
    width: float = 400,
    tiles: int = 24,
) -> Picture:
    """Show axial slices side by side, from feet to head, seen from the feet as radiologists do.

    Parameters
    ----------
    volume : CTVolume
    segmentation : LungSegmentation, or array of uint8 on the grid of ``volume.hu``, optional
        Its lungs are drawn in blue, with an outline that also shows in a grey print.
    center, width : float, in HU
    tiles : int
        How many slices to show, evenly spread over the volume.
    """
    count = len(volume.hu)
    shown = np.unique(np.linspace(0, count - 1, min(tiles, count)).round().astype(int))
    labels = checked_labels(segmentation, volume)
    images = [_slice(volume, labels, index, center, width) for index in shown]
    captions = [f"{index + 1}   {volume.affine[2] @ [index, 0, 0, 1]:+.0f} mm" for index in shown]
    what = "the lungs in blue" if segmentation is not None else f"window centre {center:g}, width {width:g} HU"
    description = (
        f"Montage: {len(shown)} of {count} axial slices from feet to head, {what}; "
        f"each with its number and height; letters mark the sides of the patient."
    )
    return Picture(_grid(images, captions, _sides(volume)), description)


def compare(volume: CTVolume, masks: Mapping[str, np.ndarray], index: int, *, center: float = 40, width: float = 400):
    """Show one slice several times, each time with another mask drawn in blue.

    Parameters
    ----------
    volume : CTVolume
    masks : dict of name to array, shape of ``volume.hu``, zero outside
    index : int
        Which slice, counted from 0 at the feet.
    center, width : float, in HU

    Returns
    -------
    Picture
    """
    images = [_slice(volume, checked_labels(mask, volume), index, center, width) for mask in masks.values()]
    description = f"Slice {index + 1} of {len(volume.hu)} with, in blue, " + "; ".join(masks) + "."
    return Picture(_grid(images, list(masks), _sides(volume), columns=len(masks), tile=3.2), description)


def contact_sheet(datasets: Sequence[Dataset], *, tiles: int = 12) -> Picture:
    """Show the pixels of DICOM images as they are, for instance those of an overlay series fetched from a PACS."""
    shown = np.unique(np.linspace(0, len(datasets) - 1, min(tiles, len(datasets))).round().astype(int))
    images = [datasets[index].pixel_array for index in shown]
    captions = [f"image {datasets[index].get('InstanceNumber', '')}" for index in shown]
    description = f"{len(shown)} of {len(datasets)} images of the series {datasets[0].get('SeriesDescription', '')!r}."
    return Picture(_grid(images, captions, ("", "")), description)


def window_viewer(
    volume: CTVolume,
    segmentation: LungSegmentation | np.ndarray | None = None,
    *,
    center: float = 40,
    width: float = 400,
) -> WindowViewer:
    """Show one slice with sliders for slice, window centre and window width.

    Works wherever ipywidgets 7.7 or later does, Colab included. The widget's ``slice``, ``center`` and ``width`` are
    sliders; setting their ``.value`` in Python moves them too.
    """
    from magician._window_viewer import WindowViewer

    return WindowViewer(volume, checked_labels(segmentation, volume), center, width)


def _slice(volume: CTVolume, labels: np.ndarray | None, index: int, center: float, width: float) -> np.ndarray:
    if labels is None:
        return window(volume.hu[index], center, width)
    return paint(volume.hu[index], labels[index].astype(np.uint8), center, width)


def _sides(volume: CTVolume) -> tuple[str, str]:
    """The letters for the left and the right edge of an image, such as ("R", "L")."""
    towards = patient_orientation(volume.headers[0])[0]
    opposite = str.maketrans("RLAPHF", "LRPAFH")
    return towards[0].translate(opposite), towards[0]


def _grid(images: list, captions: list[str], sides: tuple[str, str], *, columns: int = 6, tile: float = 1.5) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: no global state, nothing is shown twice

    rows = -(-len(images) // columns)
    figure = Figure(figsize=(columns * tile, rows * (tile + 0.16)), dpi=100, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, image, caption in zip(figure.axes, images, captions, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        axes.set_title(caption, fontsize=7, pad=1)
        for x, letter in zip((0.02, 0.98), sides, strict=True):
            alignment = "left" if x < 0.5 else "right"
            axes.text(x, 0.5, letter, color="white", fontsize=6, ha=alignment, va="center", transform=axes.transAxes)
    return figure
