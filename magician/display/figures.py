"""Figures of a CT and its lungs, and the viewer with sliders, for notebooks.

Nothing here prints or draws by itself. Each function returns an object that a notebook shows when
it is the last line of a cell. Figures and viewers map HU to grey by the same function, `window`,
and never change what a model sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset

from magician.ct.volume import CTVolume
from magician.display.picture import Picture
from magician.errors import WrongArgument
from magician.rendering.overlay import checked_labels
from magician.rendering.planes import planes
from magician.segmentation.lungs import LungSegmentation

if TYPE_CHECKING:
    from magician.display.slider_viewer import SliderViewer
    from magician.rendering.planes import Plane


def montage(
    volume: CTVolume,
    segmentation: LungSegmentation | np.ndarray | None = None,
    *,
    center: float = 40,
    width: float = 400,
    tiles: int = 24,
) -> Picture:
    """Show slices side by side, in the plane in which they were made.

    Axial slices go from feet to head and are seen from the feet. Each is in true proportions, with
    its number, its position in the patient in mm, letters and a scale bar.

    Parameters
    ----------
    volume : CTVolume
    segmentation : LungSegmentation, or array of uint8 on the grid of ``volume.hu``, optional
        Its lungs are drawn in blue, with an outline that also shows in a grey print.
    center, width : float, in HU
    tiles : int
        How many slices to show, evenly spread over the volume.
    """
    from magician.display.slice_figures import Slice, grid

    count = len(volume.hu)
    indices = _spread_evenly(tiles, count)
    labels, (name, plane) = checked_labels(segmentation, volume), _acquired_plane(volume)
    images = [Slice.cut(volume, labels, plane, index, center, width) for index in indices]
    along = volume.affine[("sagittal", "coronal", "axial").index(name)]
    captions = [f"{index + 1}   {along @ [index, 0, 0, 1]:+.0f} mm" for index in indices]
    if segmentation is None:
        colours = f"window centre {center:g}, width {width:g} HU"
    else:
        colours = "the lungs in blue"
    order, place = (" from feet to head", "height") if name == "axial" else ("", "position")
    description = (
        f"Montage: {len(indices)} of {count} {name} slices{order}, {colours}; each with its number "
        f"and {place}; letters mark the sides of the patient."
    )
    return Picture(grid(images, captions, plane), description)


def compare(
    volume: CTVolume,
    masks: Mapping[str, np.ndarray],
    index: int,
    *,
    center: float = 40,
    width: float = 400,
):
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
    from magician.display.slice_figures import Slice, grid

    _, plane = _acquired_plane(volume)
    images = [
        Slice.cut(volume, checked_labels(mask, volume), plane, index, center, width)
        for mask in masks.values()
    ]
    description = f"Slice {index + 1} of {len(volume.hu)} with, in blue, " + "; ".join(masks) + "."
    return Picture(grid(images, list(masks), plane, columns=len(masks), tile=3.2), description)


def three_planes(
    volume: CTVolume,
    segmentation: LungSegmentation | np.ndarray | None = None,
    *,
    position: Sequence[int] | None = None,
    center: float = 40,
    width: float = 400,
) -> Picture:
    """Show an axial, a coronal and a sagittal slice through one point.

    All are in true proportions and to one scale. Lines show where the slices cut each other; a line
    has the style of the frame of the slice that it stands for.

    Parameters
    ----------
    volume : CTVolume
    segmentation : LungSegmentation, or array of uint8 on the grid of ``volume.hu``, optional
        Its lungs are drawn in blue, with an outline.
    position : sequence of int, optional
        The voxel (slice, row, column), counted from 0; the middle of the volume without it.
    center, width : float, in HU

    Raises
    ------
    ValueError
        If the mask has another shape than the volume, or the position lies outside it.
    """
    from magician.display.slice_figures import three_planes as draw

    shape = volume.hu.shape
    voxel = (
        tuple(int(i) for i in position)
        if position is not None
        else tuple(count // 2 for count in shape)
    )
    if len(voxel) != 3 or any(not 0 <= i < count for i, count in zip(voxel, shape, strict=True)):
        raise WrongArgument(
            f"The position (slice, row, column) is {voxel}; the volume has the shape {shape}."
        )
    lungs = " with the lungs in blue" if segmentation is not None else ""
    description = (
        f"An axial, a coronal and a sagittal slice through one point{lungs}, "
        f"window centre {center:g}, width {width:g} HU, in true proportions; "
        f"lines show where they cut each other, letters the sides of the patient."
    )
    figure = draw(volume, checked_labels(segmentation, volume), voxel, center, width)
    return Picture(figure, description, ", ".join(axes.get_title() for axes in figure.axes) + ".")


def lung_surface(volume: CTVolume, segmentation: LungSegmentation | np.ndarray) -> Picture:
    """Show both lungs as a surface in three dimensions, from the front and from behind.

    Parameters
    ----------
    volume : CTVolume
    segmentation : LungSegmentation, or array of uint8 on the grid of ``volume.hu``
        1 is the right lung, 2 the left one.

    Raises
    ------
    ValueError
        If the mask has another shape than the volume, doesn't tell right from left, or is empty.
    """
    from magician.display.surface import VIEWS, draw

    labels, lungs = _lungs(volume, segmentation)
    description = (
        f"The surface of the {' and the '.join(lungs)} lung in three dimensions, "
        f"seen {' and '.join(VIEWS)}; the right lung is lighter than the left; "
        f"letters show the directions in the patient."
    )
    return Picture(draw(labels, volume.affine), description, drawn=True)


def density_histogram(volume: CTVolume, segmentation: LungSegmentation | np.ndarray) -> Picture:
    """Show the density of each lung: a histogram in HU, with mean, median and two ranges.

    Lung below -950 HU counts as emphysema (Gevenois 1995, thin slices in full inspiration). Lung
    from -600 to -250 HU is denser than lung with air in it, and not solid: ground glass, among
    others (Podolanczuk 2016). Arguments and errors are those of `lung_surface`.
    """
    from magician.display.histogram import Density, draw

    labels, lungs = _lungs(volume, segmentation)
    densities = {name: Density.of(volume.hu[labels == label]) for name, label in lungs.items()}
    description = (
        "Histogram of the density of each lung in HU, with mean and median, and with the ranges "
        "of emphysema (below -950 HU) and of ground glass and other high attenuation (-600 to "
        "-250 HU) marked."
    )
    numbers = "; ".join(f"{name} lung: {density}" for name, density in densities.items()) + "."
    return Picture(draw(densities), description, numbers, drawn=True)


def contact_sheet(datasets: Sequence[Dataset], *, tiles: int = 12) -> Picture:
    """Show the pixels of DICOM images as they are, such as an overlay series fetched from a PACS.

    Parameters
    ----------
    datasets : sequence of Dataset
        Images with pixel data, in the order in which to show them.
    tiles : int
        How many images to show, evenly spread over the series.
    """
    from magician.display.slice_figures import Slice, grid

    indices = _spread_evenly(tiles, len(datasets))
    images = [Slice(datasets[index].pixel_array) for index in indices]
    captions = [f"image {datasets[index].get('InstanceNumber', '')}" for index in indices]
    series = datasets[0].get("SeriesDescription", "")
    description = f"{len(indices)} of {len(datasets)} images of the series {series!r}."
    return Picture(grid(images, captions), description)


def window_viewer(
    volume: CTVolume,
    segmentation: LungSegmentation | np.ndarray | None = None,
    *,
    center: float = 40,
    width: float = 400,
) -> SliderViewer:
    """Show one slice with sliders for slice, window centre and window width.

    It works wherever ipywidgets 7.7 or later does, Colab included. The ``slice``, ``center`` and
    ``width`` of the widget are sliders; setting their ``.value`` in Python moves them, too.
    """
    from magician.display.slider_viewer import SliderViewer

    return SliderViewer(volume, checked_labels(segmentation, volume), center, width)


def _spread_evenly(tiles: int, count: int) -> np.ndarray:
    """Return indices below ``count``, at most so many as tiles, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(tiles, count)).round().astype(int))


def _acquired_plane(volume: CTVolume) -> tuple[str, Plane]:
    """Return the name of the plane in which the images were made, and the plane."""
    return next((name, plane) for name, plane in planes(volume).items() if plane.axes[0] == 0)


def _lungs(
    volume: CTVolume, segmentation: LungSegmentation | np.ndarray
) -> tuple[np.ndarray, dict[str, int]]:
    """Return labels on the grid of a volume, and the label of each lung among them, by its side."""
    labels = np.asarray(checked_labels(segmentation, volume))
    if labels.dtype == bool:
        raise WrongArgument(
            "The mask is true or false and can't tell right from left: labels 1 and 2 are needed."
        )
    lungs = {name: label for name, label in (("right", 1), ("left", 2)) if (labels == label).any()}
    if not lungs:
        raise WrongArgument(
            "The mask holds neither a right lung (label 1) nor a left one (label 2)."
        )
    return labels, lungs
