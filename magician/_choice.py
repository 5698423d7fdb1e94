"""Which series of a folder is the CT to read, and why not the others; a part of :mod:`magician.volume`.

First goes what can't be read as a volume, or is not what a scanner measured. The rest is compared in rounds, the most
important one first: whoever falls behind the best in a round is out, and the round says why. Each round lets small
differences pass, so that a later one can decide between series that are as good.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, CTImageStorage, SecondaryCaptureImageStorage, XRayRadiationDoseSRStorage

from magician._enhanced import ENHANCED
from magician._glimpse import Lungs, look_for_lungs
from magician._pixels import decode, read_whole
from magician._progress import track
from magician._series import Series, image_type
from magician._slices import Stack, numbers, stack
from magician.errors import SeriesError

FINE_MM = 1.0  # thinner slices show a lung no better: they are noisier, and more to compute
_COMPUTED = {"MIP", "MINIP", "MAX_IP", "MIN_IP", "MPR", "REFORMATTED", "PROJECTION IMAGE", "SCREEN SAVE"}


@dataclass(frozen=True)
class SeriesSummary:
    """One series of a folder, in a form for a table.

    Attributes
    ----------
    series_instance_uid, modality, description : str
    images : int
        Number of DICOM objects.
    chosen : bool
        Whether :func:`magician.volume.read_series` reads this one when it is not told which.
    reason : str
        One sentence: why it was chosen, or why not.
    number : int
        Series Number, 0 if it has none.
    slices : int
        Images that are no localizers, each frame of a multi-frame image counted; 0 if they are not CT.
    thickness_mm, step_mm : float or None
        Slice Thickness, and the distance from slice to slice; None where there is none.
    coverage_mm : float
        How far the slices reach, from below the first to above the last.
    kernel : str
        Convolution Kernel.
    lung_mm : float or None
        Over which height lungs were seen; None if nobody looked, as something else ruled the series out.
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


@dataclass
class Candidate:
    """One series, what is known about it, and why it is out."""

    series: Series
    out: str = ""
    where: Stack | None = None
    lungs: Lungs | None = None
    first: Dataset = field(init=False)

    def __post_init__(self) -> None:
        series = self.series
        self.first = series.headers[series.slices[0]] if series.slices else series.headers[0]
        self.thickness_mm = _thickness(self.first)
        self.kernel = _text(self.first.get("ConvolutionKernel"))
        self.called = f"series {series.number}" if series.number else f"the series {series.uid}"

    @property
    def step_mm(self) -> float:
        return self.where.spacing_mm[0]

    @property
    def coverage_mm(self) -> float:
        return self.step_mm * len(self.series.slices)

    @property
    def effective_mm(self) -> float:
        """How thick a slice is, or how far the next one is away, whichever is more."""
        return max(self.thickness_mm or 0.0, self.step_mm)


def why_unreadable(series: Series) -> str:
    """Return why a series can't be a CT volume, whoever asks for it; empty if it may be one."""
    classes = {str(header.get("SOPClassUID")) for header in series.headers}
    if classes == {XRayRadiationDoseSRStorage}:
        return "It is a dose report: numbers about the radiation, no images."
    if SecondaryCaptureImageStorage in classes:
        return "It holds secondary captures: pictures, without Hounsfield units or positions."
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
    """Return why a readable series is not read unless somebody asks for it; empty if it may be chosen."""
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
    for candidate in track(_still_in(candidates), "looking for lungs", "series", progress=progress):
        candidate.out = _look(candidate)
    entered = _still_in(candidates)
    if len({str(one.first.get("StudyInstanceUID")) for one in entered}) > 1:
        for candidate in entered:
            candidate.out = "The folder holds CT of several studies: say which series to read."
    best = _best(entered)
    return [_summary(one, one is best, len(entered)) for one in candidates]


def _still_in(candidates: list[Candidate]) -> list[Candidate]:
    return [one for one in candidates if not one.out]


def _look(candidate: Candidate) -> str:
    """Find out where slices and lungs are; return why the series is out, if it is."""
    series = candidate.series
    try:
        candidate.where = where = stack([series.headers[i] for i in series.slices])
        order = [series.slices[i] for i in where.order]
        candidate.lungs = look_for_lungs(lambda i: _slice(series, order[i]), len(order), where.spacing_mm)
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


class Round(NamedTuple):
    """One comparison: the smallest score is the best, and those up to ``passes(best)`` stay in."""

    score: Callable[[Candidate], float]
    passes: Callable[[float], float]
    words: Callable[[Candidate, Candidate], str]


ROUNDS = [
    Round(  # a tenth is what lungs differ by between two breaths, and the precision of the look
        lambda one: -one.lungs.height_mm,
        lambda best: 0.9 * best,
        lambda one, best: (
            f"It shows lungs over {one.lungs.height_mm:.0f} mm only; {best.called} over {best.lungs.height_mm:.0f} mm."
        ),
    ),
    Round(
        lambda one: float(one.thickness_mm is not None and one.step_mm > 1.1 * one.thickness_mm),
        lambda best: best,
        lambda one, best: (
            f"Its slices are {_mm(one.thickness_mm)} thick and {_mm(one.step_mm)} apart, with nothing imaged between; "
            f"{best.called} has no gaps."
        ),
    ),
    Round(
        lambda one: max(one.effective_mm, FINE_MM),
        lambda best: 1.25 * best,
        lambda one, best: f"Its slices are {_thick(one)}; {best.called} has {_mm(best.effective_mm)}.",
    ),
    Round(  # a sharp kernel rings at edges and multiplies noise: both move the border and the density of a lung
        lambda one: sharpness(one.kernel),
        lambda best: best,
        lambda one, best: (
            f"Its kernel, {one.kernel or 'not given'}, {'is sharp' if sharpness(one.kernel) > 1 else 'may be sharp'}, "
            f"with noise and edges that disturb measuring; {best.called} has {best.kernel or 'none given'}."
        ),
    ),
    Round(
        lambda one: float("SECONDARY" in image_type(one.first)[1:2]),
        lambda best: best,
        lambda one, best: (
            f"Its images were made after the examination (Image Type {', '.join(image_type(one.first))}); "
            f"those of {best.called} during it."
        ),
    ),
    Round(
        lambda one: -one.step_mm,
        lambda best: 0.75 * best,
        lambda one, best: (
            f"It has a slice every {_mm(one.step_mm)}, which shows a lung no better than {best.called} with one every "
            f"{_mm(best.step_mm)}, and takes longer."
        ),
    ),
]


def _best(entered: list[Candidate]) -> Candidate | None:
    """Compare in rounds; tell the losers why, and return the one that is left."""
    left = _still_in(entered)
    if not left:
        return None
    lost: list[tuple[Candidate, Callable]] = []
    for one_round in ROUNDS:
        limit = one_round.passes(min(map(one_round.score, left))) + 1e-9
        lost += [(one, one_round.words) for one in left if one_round.score(one) > limit]
        left = [one for one in left if one_round.score(one) <= limit]
    best = min(left, key=lambda one: (one.series.number, one.series.uid))
    lost += [(one, _no_worse) for one in left if one is not best]
    for one, words in lost:
        one.out = words(one, best)
    return best


def _no_worse(one: Candidate, best: Candidate) -> str:
    phase = ""
    if _phase(one) != _phase(best):
        phase = f" It is of another moment or phase ({_phase(one)}; the other: {_phase(best)})."
    return f"It would do as well as {best.called}, which comes first by number.{phase}"


def _phase(one: Candidate) -> str:
    contrast = "with contrast" if one.first.get("ContrastBolusAgent") else "no contrast named"
    time = _text(one.first.get("AcquisitionTime")).split(".")[0]
    return f"{contrast}, at {time[:2]}:{time[2:4]}:{time[4:6]}" if len(time) == 6 else contrast


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
    what = "The only series of axial CT images that shows lungs" if entered == 1 else f"The best of {entered} for lungs"
    ends = [end for end, cut in (("below", best.lungs.cut_below), ("above", best.lungs.cut_above)) if cut]
    beyond = f", and they go on {' and '.join(ends)}" if ends else ""
    kernel = f", kernel {best.kernel}" if best.kernel else ""
    return (
        f"{what}: {len(best.series.slices)} slices, {_thick(best)}{kernel}; lungs over {best.lungs.height_mm:.0f} of "
        f"{best.coverage_mm:.0f} mm{beyond}."
    )


def sharpness(kernel: str) -> int:
    """Return how sharp a reconstruction is by the name of its kernel: 0 soft or medium, 1 unknown, 2 sharp, 3 very.

    The names are each manufacturer's own: B31f, I70f or Br59 (Siemens; a number from 50 on is sharp), STANDARD,
    LUNG, BONE (GE), B, C, D, L, YA (Philips), FC08, FC51 (Canon, Toshiba).
    """
    name = kernel.upper().strip()
    for pattern, level in _KERNELS:
        if re.fullmatch(pattern, name):
            return level
    if found := re.match(r"[A-Z]{1,2}(\d\d)", name):
        number = int(found[1])
        return 3 if number >= 70 else 2 if number >= 50 else 0
    return 1


_KERNELS = [
    (r"FC(3\d|8\d).*", 3),  # Canon: bones, inner ear
    (r"FC5\d.*", 2),  # lungs
    (r"FC\d\d.*", 0),
    (r".*(BONE|EDGE|ULTRA|VERY SHARP).*", 3),
    (r".*(LUNG|SHARP|DETAIL\+).*", 2),
    (r".*(SOFT|STANDARD|STND|DETAIL|CHEST|SMOOTH|MEDIUM).*", 0),
    (r"E|YD", 3),  # Philips
    (r"D|L|YC", 2),
    (r"[ABC]|EB|EC|Y[AB]", 0),
]


def _plane(header: Dataset) -> str:
    """Return how the slices lie: by the axis of the body that their normal is closest to."""
    try:
        axes = numbers(header, "ImageOrientationPatient", 6).reshape(2, 3)
    except SeriesError:
        return "axial"  # whoever checks the geometry says what is wrong with it
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(np.cross(*axes))))]


def _thickness(header: Dataset) -> float | None:
    try:
        thickness = float(numbers(header, "SliceThickness", 1)[0])
    except SeriesError:
        return None
    return thickness if thickness > 0 else None


def _thick(one: Candidate) -> str:
    if one.thickness_mm is None:
        return f"{_mm(one.step_mm)} apart"
    apart = "" if abs(one.thickness_mm - one.step_mm) < 0.05 else f" and {_mm(one.step_mm)} apart"
    return f"{_mm(one.thickness_mm)} thick{apart}"


def _mm(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") + " mm"


def _text(value: object) -> str:
    """Return the first value of an element as text, empty if there is none."""
    first = (value or [""])[0] if isinstance(value, (list, MultiValue)) else value
    return "" if first is None else str(first).strip()
