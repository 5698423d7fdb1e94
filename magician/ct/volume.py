"""The CT volume: one series as one exact array in Hounsfield units, or the reason why not.

Axis order is (slice, row, column) throughout, coordinates are DICOM's patient coordinates in mm:
LPS, x grows to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset

from magician.ct.geometry import stack_slices
from magician.ct.hounsfield import decode_slice, read_image
from magician.ct.memory import reuse_freed_memory
from magician.ct.multiframe import frames_of
from magician.ct.selection import SeriesSummary, select_series, unreadable_reason
from magician.ct.series import Series, collect_series
from magician.errors import SeriesError
from magician.progress import track

if TYPE_CHECKING:
    import SimpleITK

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CTVolume:
    """One CT series as a volume.

    Attributes
    ----------
    hu : array of float32, shape (slices, rows, columns), in HU
        Slices from feet to head. The slices of a series that is not axial run along its normal.
    headers : tuple of Dataset
        The header of each slice in the same order, without its pixel data. The headers of an
        enhanced multi-frame CT are made from its functional groups, one for each frame, with its
        `frame_number`.
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
        """Return the volume as a SimpleITK image.

        Its axis order is (column, row, slice); its coordinates are in LPS mm, too.
        """
        import SimpleITK as sitk  # noqa: N813

        image = sitk.GetImageFromArray(self.hu)
        image.SetSpacing(self.spacing_mm[::-1])
        image.SetOrigin(self.affine[:3, 3].tolist())
        directions = self.affine[:3, :3] / np.array(self.spacing_mm)
        image.SetDirection(directions[:, ::-1].ravel().tolist())
        return image


def list_series(folder: str | os.PathLike[str], *, progress: bool = True) -> list[SeriesSummary]:
    """List the series in a folder and below it, say which of them is the CT to read, and why.

    At most one series is chosen, for measuring lungs. Its images are axial, are not derived from
    other images, form an exact volume, and show lungs. These criteria decide between several
    series, the most important first: the height of the lungs that it shows; both ends of the lungs;
    no gaps between slices; thin slices, down to 1 mm; a kernel that is not sharp; images made
    during the examination; no more slices than needed; the lower series number. Some slices of each
    candidate are decoded to look for lungs.

    Files that are not DICOM are ignored. A step that takes more than two seconds shows a progress
    bar, unless `progress` is False.

    Returns
    -------
    list of SeriesSummary
        In order of series number. Each has a sentence that says why it was chosen, or why not.

    Raises
    ------
    SeriesError
        If there is no such folder, or no DICOM file in it.
    """
    series_list, _ = collect_series(folder, progress=progress)
    return select_series(series_list, progress=progress)


def read_series(
    folder: str | os.PathLike[str], series_instance_uid: str | None = None, *, progress: bool = True
) -> CTVolume:
    """Read one CT series from a folder and the folders below it.

    Parameters
    ----------
    folder : path
    series_instance_uid : str, optional
        The series to read. By default, it is the one that `list_series` marks as chosen.
    progress : bool
        Show a progress bar for each step that takes more than two seconds.

    Returns
    -------
    CTVolume

    Raises
    ------
    SeriesError
        If there is no such series, or if it can't be read exactly: a slice is missing or there
        twice, the spacing is uneven, the gantry was tilted, images of two scans are mixed, pixel
        data are damaged, and the like.

    Notes
    -----
    Stored values become HU by Rescale Slope and Intercept of each slice (PS3.3 C.11.1.1.2). Pixels
    that the header declares as padding (PS3.3 C.7.5.1.1.2) become air, -1024 HU. Localizers within
    the series are left out.
    """
    series_list, damaged = collect_series(folder, progress=progress)
    if damaged:
        raise SeriesError(
            f"{len(damaged)} DICOM file(s) can't be read, and might belong to the series, "
            f"for instance {damaged[0]}. Retrieve the study again, or remove them."
        )
    series = _choose_series(series_list, series_instance_uid, folder, progress)
    if reason := unreadable_reason(series):
        raise SeriesError(f"The series {series.uid} can't be read as a CT volume. {reason}")
    localizers = len(series.headers) - len(series.slices)
    if localizers:
        logger.info("left out %d localizer(s) of the series", localizers)
    return _read_slices(
        [series.headers[i] for i in series.slices],
        [series.paths[i] for i in series.slices],
        progress,
    )


def _choose_series(
    series_list: list[Series], uid: str | None, folder: str | os.PathLike[str], progress: bool
) -> Series:
    for series in series_list:
        if series.uid == uid:
            return series
    summaries = select_series(series_list, progress=progress)
    for series, summary in zip(series_list, summaries, strict=True):
        if uid is None and summary.chosen:
            return series
    missing = f"no series {uid}" if uid else "no series that can be chosen"
    others = " ".join(
        f"{summary.series_instance_uid} ({summary.modality or '?'}, {summary.images} images): "
        f"{summary.reason}"
        for summary in summaries
    )
    raise SeriesError(f"There is {missing} in {folder}. There is: {others}")


@reuse_freed_memory()
def _read_slices(headers: list[Dataset], paths: list[Path], progress: bool) -> CTVolume:
    """Read slices, each a file or a frame of one, and stack them.

    `headers` and `paths` come from `collect_series`, one for each slice. These headers hold a few
    elements only; the volume gets the complete ones.
    """
    of_frames = {
        path for header, path in zip(headers, paths, strict=True) if hasattr(header, "frame_number")
    }
    enhanced = {path: read_image(path) for path in of_frames}
    frames = {path: frames_of(image) for path, image in enhanced.items()}
    headers = [
        frames[path][header.frame_number - 1] if path in frames else header
        for header, path in zip(headers, paths, strict=True)
    ]
    stack = stack_slices(headers)
    headers = [headers[i] for i in stack.order]
    paths = [paths[i] for i in stack.order]
    hu = None
    # each image is read when its turn comes: all at once would need half as much memory again
    for i, path in enumerate(track(paths, "reading", "slice", progress=progress)):
        if path not in frames:
            headers[i] = read_image(path)
        plane = decode_slice(enhanced.get(path, headers[i]), headers[i], path)
        if path not in frames:
            del headers[i].PixelData  # `hu` holds the same pixels
        if hu is None:
            hu = np.empty((len(paths), *plane.shape), np.float32)
        hu[i] = plane
    return CTVolume(hu, tuple(headers), stack.spacing_mm, stack.affine, tuple(paths))
