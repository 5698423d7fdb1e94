"""Which series of a folder is the CT to read, and why not the others; a part of
:mod:`magician.ct.volume`.

First goes what can't be read as a volume, or is not what a scanner measured, or shows no lungs. The
rest is compared in `magician.ct.ranking`.
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

from magician.ct.geometry import numbers, stack
from magician.ct.hounsfield import decode, read_whole
from magician.ct.lung_search import look_for_lungs
from magician.ct.multiframe import ENHANCED
from magician.ct.ranking import Candidate, beyond, decide, still_in, thick
from magician.ct.series import Series, image_type
from magician.errors import SeriesError
from magician.progress import track

_COMPUTED = {
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
        Whether :func:`magician.ct.volume.read_series` reads this one when it is not told which.
    reason : str
        One sentence: why it was chosen, or why not.
    number : int
        Series Number, 0 if it has none.
    slices : int
        Images that are no localizers, each frame of a multi-frame image counted; 0 if they are not
        CT.
    thickness_mm, step_mm : float or None
        Slice Thickness, and the distance from slice to slice; None where there is none.
    coverage_mm : float
        How far the slices reach, from below the first to above the last.
    kernel : str
        Convolution Kernel.
    lung_mm : float or None
        Over which height lungs were seen; None if nobody looked, as something else ruled the series
        out.
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


def why_unreadable(series: Series) -> str:
    """Return why a series can't be a CT volume, whoever asks for it; empty if it may be one."""
    classes = {str(header.get("SOPClassUID")) for header in series.headers}
    if classes == {XRayRadiationDoseSRStorage}:
        return "It is a dose report: numbers about the radiation, no images."
    if SecondaryCaptureImageStorage in classes:
        return "It holds secondary captures: pictures, without Hounsfield units or positions."
    if CTImageStorage in classes and classes & ENHANCED:
        return "It mixes single images and multi-frame images: ask the PACS for one kind of them."
    if not (classes == {CTImageStorage} or classes <= ENHANCED) or series.modality != "CT":
        kinds = ", ".join(sorted({UID(one).name for one in classes} - {"CT Image Storage"}))
        return f"It holds no CT images (modality {series.modality or 'not given'}){': ' + kinds if kinds else ''}."
    if series.fault:
        return series.fault
    if not series.slices:
        return "It holds only localizers (scouts): pictures for planning the scan."
    if len(series.slices) < 2:
        return "It holds one image only, which has no thickness to measure."
    return ""


def why_second_choice(series: Series) -> str:
    """Return why a readable series is not read unless somebody asks for it; empty if it may be
    chosen.
    """
    for i in series.slices:
        values = image_type(series.headers[i])
        if "DERIVED" in values[:1] or _COMPUTED & set(values):
            return f"Its images are derived from other images (Image Type {', '.join(values)})."
    plane = _plane(series.headers[series.slices[0]])
    if plane != "axial":
        return f"Its images are {plane}, not axial."
    return ""


def choose(series: list[Series], *, progress: bool) -> list[SeriesSummary]:
    """Say of each series whether it is the one to read, and why."""
    candidates = [Candidate(one) for one in series]
    for candidate in candidates:
        candidate.out = why_unreadable(candidate.series) or why_second_choice(candidate.series)
    for candidate in track(still_in(candidates), "looking for lungs", "series", progress=progress):
        candidate.out = _look(candidate)
    entered = still_in(candidates)
    if len({str(one.first.get("StudyInstanceUID")) for one in entered}) > 1:
        for candidate in entered:
            candidate.out = "The folder holds CT of several studies: say which series to read."
    best = decide(entered)
    return [_summary(one, one is best, len(entered)) for one in candidates]


def _look(candidate: Candidate) -> str:
    """Find out where slices and lungs are; return why the series is out, if it is."""
    series = candidate.series
    try:
        candidate.where = where = stack([series.headers[i] for i in series.slices])
        order = [series.slices[i] for i in where.order]
        candidate.lungs = look_for_lungs(
            lambda i: _slice(series, order[i]), len(order), where.spacing_mm
        )
    except SeriesError as error:
        return f"It can't be read exactly. {error}"
    if not candidate.lungs.height_mm:
        return f"No lungs are seen in the {candidate.lungs.looked_at} of its {len(order)} slices that were looked at."
    return ""


def _slice(series: Series, index: int) -> np.ndarray:
    header, path = series.headers[index], series.paths[index]
    if header.get("SOPClassUID") in ENHANCED:
        return decode(path, header, path)
    image = read_whole(path)
    return decode(image, image, path)


def _summary(one: Candidate, chosen: bool, entered: int) -> SeriesSummary:
    series, has_slices = one.series, not why_unreadable(one.series)
    return SeriesSummary(
        series_instance_uid=series.uid,
        modality=series.modality,
        description=series.description,
        images=series.images,
        chosen=chosen,
        reason=_praise(one, entered) if chosen else one.out,
        number=series.number,
        slices=len(series.slices) if has_slices else 0,
        thickness_mm=one.thickness_mm if has_slices else None,
        step_mm=one.step_mm if one.where else None,
        coverage_mm=one.coverage_mm if one.where else 0.0,
        kernel=one.kernel,
        lung_mm=one.lungs.height_mm if one.lungs else None,
    )


def _praise(best: Candidate, entered: int) -> str:
    what = (
        "The only series of axial CT images that shows lungs"
        if entered == 1
        else f"The best of {entered} for lungs"
    )
    more = f", and they go on {beyond(best)}" if beyond(best) else ""
    kernel = f", kernel {best.kernel}" if best.kernel else ""
    return (
        f"{what}: {len(best.series.slices)} slices, {thick(best)}{kernel}; lungs over {best.lungs.height_mm:.0f} of "
        f"{best.coverage_mm:.0f} mm{more}."
    )


def _plane(header: Dataset) -> str:
    """Return how the slices lie: by the axis of the body that their normal is closest to."""
    try:
        axes = numbers(header, "ImageOrientationPatient", 6).reshape(2, 3)
    except SeriesError:
        return "axial"  # whoever checks the geometry says what is wrong with it
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(np.cross(*axes))))]
