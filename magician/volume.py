"""Read one CT series as one exact volume in Hounsfield units, or say why that can't be done.

Axis order is (slice, row, column) throughout, coordinates are DICOM's patient coordinates in mm: LPS, x grows to the
patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array

from magician._progress import track
from magician._series import SeriesSummary, choose, find_series
from magician._slices import name, numbers, stack
from magician.errors import SeriesError

if TYPE_CHECKING:
    import SimpleITK

__all__ = ["CTVolume", "SeriesSummary", "list_series", "read_series", "window"]

_logger = logging.getLogger(__name__)

AIR_HU = -1024.0  # what stands for pixels outside the reconstructed field of view


@dataclass(frozen=True, eq=False)
class CTVolume:
    """One CT series as a volume.

    Attributes
    ----------
    hu : array of float32, shape (slices, rows, columns), in HU
        Slices from feet to head; of a series that is not axial, along its slice normal.
    headers : tuple of Dataset
        The header of each slice in the same order, without its pixel data.
    spacing_mm : tuple of float
        Distance between neighbouring voxels: (slice, row, column).
    affine : array of float, shape (4, 4)
        Maps (slice, row, column, 1) to the centre of that voxel in LPS mm.
    paths : tuple of Path
        The file of each slice, in the same order; empty if the volume did not come from files.
    """

    hu: np.ndarray
    headers: tuple[Dataset, ...]
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    paths: tuple[Path, ...] = ()

    def to_sitk(self) -> SimpleITK.Image:
        """Return the volume as a SimpleITK image; ITK's axis order is (column, row, slice), its space is LPS too."""
        import SimpleITK as sitk  # noqa: N813

        image = sitk.GetImageFromArray(self.hu)
        image.SetSpacing(self.spacing_mm[::-1])
        image.SetOrigin(self.affine[:3, 3].tolist())
        directions = self.affine[:3, :3] / np.array(self.spacing_mm)
        image.SetDirection(directions[:, ::-1].ravel().tolist())
        return image


def list_series(folder: str | os.PathLike[str], *, progress: bool = True) -> list[SeriesSummary]:
    """List the series in a folder and below it, and say which of them is the CT to read, and why.

    Files that are not DICOM are ignored. At most one series is chosen: axial CT images that are not derived from
    others; among several, the one with the most images. What takes more than two seconds shows a progress bar, unless
    ``progress`` is False.

    Returns
    -------
    list of SeriesSummary
        In order of series number.

    Raises
    ------
    SeriesError
        If there is no such folder, or no DICOM file in it.
    """
    series, _ = find_series(folder, progress=progress)
    return choose(series)


def read_series(
    folder: str | os.PathLike[str], series_instance_uid: str | None = None, *, progress: bool = True
) -> CTVolume:
    """Read one CT series from a folder and the folders below it.

    Parameters
    ----------
    folder : path
    series_instance_uid : str, optional
        The series to read. Left out, it is the one that :func:`list_series` marks as chosen.
    progress : bool
        Show a progress bar for each step that takes more than two seconds.

    Returns
    -------
    CTVolume

    Raises
    ------
    SeriesError
        If there is no such series, or if it can't be read exactly: a slice is missing or there twice, the spacing
        is uneven, the gantry was tilted, images of two scans are mixed, pixel data are damaged, and the like.

    Notes
    -----
    Stored values become HU by Rescale Slope and Intercept of each slice (PS3.3 C.11.1.1.2). Pixels that the header
    declares as padding (PS3.3 C.7.5.1.1.2) become air, -1024 HU. Localizers within the series are left out.
    """
    series, damaged = find_series(folder, progress=progress)
    if damaged:
        raise SeriesError(
            f"{len(damaged)} DICOM file(s) can't be read, and might belong to the series, for instance {damaged[0]}. "
            f"Retrieve the study again, or remove them."
        )
    summaries = choose(series)
    if series_instance_uid is None:
        series_instance_uid = next((one.series_instance_uid for one in summaries if one.chosen), None)
    wanted = next((one for one in series if one.uid == series_instance_uid), None)
    if wanted is None:
        what = f"no series {series_instance_uid}" if series_instance_uid else "no series that can be chosen"
        raise SeriesError(f"There is {what} in {folder}. There is: {_inventory(summaries)}")
    if why := wanted.why_unreadable():
        raise SeriesError(f"The series {wanted.uid} can't be read as a CT volume. {why}")
    if len(wanted.slices) < len(wanted.paths):
        _logger.info("left out %d localizer(s) of the series", len(wanted.paths) - len(wanted.slices))
    return _read_slices([wanted.paths[i] for i in wanted.slices], progress)


def _inventory(summaries: list[SeriesSummary]) -> str:
    return " ".join(
        f"{one.series_instance_uid} ({one.modality or '?'}, {one.images} images): {one.reason}" for one in summaries
    )


def _read_slices(paths: list[Path], progress: bool) -> CTVolume:
    headers = [_read_whole(path) for path in track(paths, "reading", "file", progress=progress)]
    where = stack(headers)
    headers = [headers[i] for i in where.order]
    paths = [paths[i] for i in where.order]
    hu = None
    images = list(zip(headers, paths, strict=True))
    for i, (header, path) in enumerate(track(images, "decoding", "slice", progress=progress)):
        plane = _decode(header, path)
        del header.PixelData  # or a volume would hold every image twice
        if hu is None:
            hu = np.empty((len(paths), *plane.shape), np.float32)
        hu[i] = plane
    return CTVolume(hu, tuple(headers), where.spacing_mm, where.affine, tuple(paths))


def _read_whole(path: Path) -> Dataset:
    try:
        return dcmread(path)
    except Exception as error:  # whatever pydicom says about a damaged file
        raise SeriesError(f"The file {path} can't be read: {error}") from error


def _decode(header: Dataset, path: Path) -> np.ndarray:
    """Return one slice in HU, float32 (rows, columns)."""
    if "PixelData" not in header:
        raise SeriesError(f"{name(header)} has no pixel data; its file {path} may be cut short.")
    slope, intercept = _rescale(header)
    try:
        raw = pixel_array(header, correct_unused_bits=False)
        padding = _padding(header, raw)
        plain = raw.ndim == 2 and header.HighBit == header.BitsStored - 1
    except Exception as error:  # decoders raise what they like about damaged or unknown pixel data
        raise SeriesError(f"The pixel data of {name(header)} ({path}) can't be decoded: {error}") from error
    if not plain:
        raise SeriesError(f"{name(header)} ({path}) is not a plain single-frame CT image.")
    # Bits above the stored ones are not part of the value (PS3.5 8.1.1); shifting up and down repeats the sign.
    unused = header.BitsAllocated - header.BitsStored
    stored = raw << unused >> unused
    hu = (stored * slope + intercept).astype(np.float32)
    if padding is not None:
        hu[padding] = AIR_HU
    return hu


def _rescale(header: Dataset) -> tuple[float, float]:
    """Return slope and intercept in double precision, as far as the values are Hounsfield units."""
    if header.get("RescaleType", "HU") not in ("HU", "US", "", None):
        raise SeriesError(f"{name(header)} holds {header.RescaleType} and not Hounsfield units (Rescale Type).")
    slope = float(numbers(header, "RescaleSlope", 1)[0])
    if slope == 0:
        raise SeriesError(f"{name(header)} has Rescale Slope 0.")
    return slope, float(numbers(header, "RescaleIntercept", 1)[0])


def _padding(header: Dataset, raw: np.ndarray) -> np.ndarray | None:
    """Return which stored values the header declares as padding, or None."""
    if header.get("PixelPaddingValue") is None:
        return None
    # Some headers give a negative value as unsigned, 63536 for -2000: read its bits as the pixels are.
    low = high = np.array(int(header.PixelPaddingValue)).astype(raw.dtype)
    if header.get("PixelPaddingRangeLimit") is not None:
        limit = np.array(int(header.PixelPaddingRangeLimit)).astype(raw.dtype)
        low, high = min(low, limit), max(low, limit)
    return (raw >= low) & (raw <= high)


def window(hu: np.ndarray, center: float, width: float) -> np.ndarray:
    """Map Hounsfield units to grey levels (PS3.3 C.11.2.1.2.1, LINEAR).

    Parameters
    ----------
    hu : array, shape (..., rows, columns), in HU
    center, width : float, in HU; ``width`` must be at least 1

    Returns
    -------
    array of uint8, same shape; 0 is black, 255 is white; not-a-number becomes black

    Raises
    ------
    ValueError
        If ``width`` is less than 1, or ``center`` or ``width`` is not a finite number.
    """
    if not (math.isfinite(center) and math.isfinite(width) and width >= 1):
        raise ValueError(f"A window needs a finite center and a width of at least 1: got {center} and {width}.")
    offset = np.asarray(hu, np.float64) - (center - 0.5)
    if width == 1:
        return np.where(offset > 0, 255, 0).astype(np.uint8)
    grey = offset * (255 / (width - 1)) + 127.5
    # The standard's three cases (below, above, between) are one line cut off at both ends; fmax takes 0 over NaN.
    return np.rint(np.minimum(np.fmax(grey, 0), 255)).astype(np.uint8)
