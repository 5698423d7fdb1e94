"""Selects the series of a folder that is the CT to read, and says of each other one why not.

Three kinds of series are rejected first: those that form no volume, those that no scanner measured,
and those that show no lungs. `magician.ct.ranking` compares the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
)

from magician.ct.geometry import nearest_plane, read_numbers, stack_slices
from magician.ct.hounsfield import decode_slice, read_image
from magician.ct.lung_search import find_lungs
from magician.ct.multiframe import ENHANCED
from magician.ct.ranking import Candidate, cut_ends, describe_slices, rank_series, remaining
from magician.ct.series import Series, image_type
from magician.errors import SeriesError
from magician.progress import track

# Values of Image Type that name pictures computed from other images
COMPUTED = {
    "MIP",
    "MINIP",
    "MAX_IP",
    "MIN_IP",
    "MPR",
    "REFORMATTED",
    "PROJECTION IMAGE",
    "SCREEN SAVE",
}


@dataclass(frozen=True)
class SeriesSummary:
    """One series of a folder, in a form for a table.

    Attributes
    ----------
    series_instance_uid, modality, description : str
    images : int
        Number of DICOM objects.
    chosen : bool
        Whether `read_series` reads this series when it is called without a series.
    reason : str
        One sentence: why it was chosen, or why not.
    number : int
        Series Number, 0 if it has none.
    slices : int
        Number of images without localizers; each frame of a multi-frame image counts. 0 if the
        series is no CT.
    thickness_mm, step_mm : float or None
        Slice Thickness, and the distance from slice to slice; None if it is unknown.
    coverage_mm : float
        The height from below the first slice to above the last.
    kernel : str
        Convolution Kernel.
    lung_mm : float or None
        The height of the lungs that were seen; None if the series was rejected before the search.
    """

    series_instance_uid: str
    modality: str
    description: str
    images: int
    chosen: bool
    reason: str
    number: int = 0
    slices: int = 0
    thickness_mm: float | None = None
    step_mm: float | None = None
    coverage_mm: float = 0.0
    kernel: str = ""
    lung_mm: float | None = None


def unreadable_reason(series: Series) -> str | None:
    """Return why a series can't be read as a CT volume at all; None if it may be one."""
    classes = {str(header.get("SOPClassUID")) for header in series.headers}
    if classes == {XRayRadiationDoseSRStorage}:
        return "It is a dose report: numbers about the radiation, no images."
    if SecondaryCaptureImageStorage in classes:
        return "It holds secondary captures: pictures, without Hounsfield units or positions."
    if CTImageStorage in classes and classes & ENHANCED:
        return "It mixes single images and multi-frame images: ask the PACS for one kind of them."
    if not (classes == {CTImageStorage} or classes <= ENHANCED) or series.modality != "CT":
        names = sorted({UID(sop_class).name for sop_class in classes} - {"CT Image Storage"})
        kinds = f": {', '.join(names)}" if names else ""
        return f"It holds no CT images (modality {series.modality or 'not given'}){kinds}."
    if series.fault:
        return series.fault
    if not series.slices:
        return "It holds only localizers (scouts): pictures for planning the scan."
    if len(series.slices) < 2:
        return "It holds one image only, which has no thickness to measure."
    return None


def unsuitable_reason(series: Series) -> str | None:
    """Return why a readable series is read on request only; None if it may be chosen."""
    for i in series.slices:
        values = image_type(series.headers[i])
        if "DERIVED" in values[:1] or COMPUTED & set(values):
            return f"Its images are derived from other images (Image Type {', '.join(values)})."
    plane = _plane(series.headers[series.slices[0]])
    if plane != "axial":
        return f"Its images are {plane}, not axial."
    return None


def select_series(series_list: list[Series], *, progress: bool) -> list[SeriesSummary]:
    """Choose at most one series to read; return a summary of each, in the same order."""
    candidates = [Candidate(series) for series in series_list]
    for candidate in candidates:
        series = candidate.series
        candidate.rejection = unreadable_reason(series) or unsuitable_reason(series)
    for candidate in track(remaining(candidates), "looking for lungs", "series", progress=progress):
        candidate.rejection = _examine(candidate)
    compared = remaining(candidates)
    if len({str(candidate.header.get("StudyInstanceUID")) for candidate in compared}) > 1:
        for candidate in compared:
            candidate.rejection = (
                "The folder holds CT of several studies: say which series to read."
            )
    best = rank_series(compared)
    return [_summary(candidate, candidate is best, len(compared)) for candidate in candidates]


def _examine(candidate: Candidate) -> str | None:
    """Find the geometry and the lungs of a series; return why it is rejected, or None."""
    series = candidate.series
    try:
        candidate.stack = stack_slices([series.headers[i] for i in series.slices])
        order = [series.slices[i] for i in candidate.stack.order]
        candidate.lungs = find_lungs(
            lambda i: _read_slice(series, order[i]), len(order), candidate.stack.spacing_mm
        )
    except SeriesError as error:
        return f"It can't be read exactly. {error}"
    if not candidate.lungs.height_mm:
        return (
            f"No lungs are seen in the {candidate.lungs.decoded} of its {len(order)} slices "
            f"that were looked at."
        )
    return None


def _read_slice(series: Series, index: int) -> np.ndarray:
    """Return one slice of a series in HU, shape (rows, columns)."""
    header, path = series.headers[index], series.paths[index]
    if header.get("SOPClassUID") in ENHANCED:
        return decode_slice(path, header, path)
    image = read_image(path)
    return decode_slice(image, image, path)


def _summary(candidate: Candidate, chosen: bool, compared: int) -> SeriesSummary:
    series = candidate.series
    has_slices = unreadable_reason(series) is None
    return SeriesSummary(
        series_instance_uid=series.uid,
        modality=series.modality,
        description=series.description,
        images=series.images,
        chosen=chosen,
        reason=_reason_of_choice(candidate, compared) if chosen else candidate.rejection,
        number=series.number,
        slices=len(series.slices) if has_slices else 0,
        thickness_mm=candidate.thickness_mm if has_slices else None,
        step_mm=candidate.step_mm if candidate.stack else None,
        coverage_mm=candidate.coverage_mm if candidate.stack else 0.0,
        kernel=candidate.kernel,
        lung_mm=candidate.lungs.height_mm if candidate.lungs else None,
    )


def _reason_of_choice(best: Candidate, compared: int) -> str:
    rank = f"The best of {compared} for lungs"
    if compared == 1:
        rank = "The only series of axial CT images that shows lungs"
    kernel = f", kernel {best.kernel}" if best.kernel else ""
    more = f", and they go on {cut_ends(best)}" if cut_ends(best) else ""
    return (
        f"{rank}: {len(best.series.slices)} slices, {describe_slices(best)}{kernel}; "
        f"lungs over {best.lungs.height_mm:.0f} of {best.coverage_mm:.0f} mm{more}."
    )


def _plane(header: Dataset) -> str:
    """Return "sagittal", "coronal" or "axial": the plane that is nearest to an image."""
    try:
        rows, columns = read_numbers(header, "ImageOrientationPatient", 6).reshape(2, 3)
    except SeriesError:
        return "axial"  # `stack_slices` says later what is wrong with it
    return nearest_plane(np.cross(rows, columns))
