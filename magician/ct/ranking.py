"""Ranks candidate series: each criterion removes those clearly worse than the best.

The most important criterion comes first. A series that it removes is told the reason. Each
criterion lets small differences pass, so that a later one can decide between series that are nearly
equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pydicom import Dataset
from pydicom.multival import MultiValue

from magician.ct.geometry import Stack, read_numbers
from magician.ct.lung_search import PRECISION_MM, Lungs
from magician.ct.series import Series, image_type
from magician.errors import SeriesError

FINE_MM = 1.0  # thinner slices show a lung no better: they are noisier, and take longer


@dataclass
class Candidate:
    """A series that may be chosen, and what is known about it.

    Attributes
    ----------
    series : Series
    rejection : str or None
        The reason why the series is not chosen; None while it may be.
    stack : Stack or None
        The geometry of its slices; None if nobody looked, or if they form no volume.
    lungs : Lungs or None
        The lungs that it shows; None if nobody looked.
    header : Dataset
        The header of its first slice.
    thickness_mm : float or None
        Slice Thickness; None if it is missing.
    kernel : str
        Convolution Kernel; empty if it is missing.
    label : str
        What to call the series in a sentence.
    """

    series: Series
    rejection: str | None = None
    stack: Stack | None = None
    lungs: Lungs | None = None
    header: Dataset = field(init=False)

    def __post_init__(self) -> None:
        series = self.series
        self.header = series.headers[series.slices[0]] if series.slices else series.headers[0]
        self.thickness_mm = _thickness(self.header)
        self.kernel = _text(self.header.get("ConvolutionKernel"))
        self.label = f"series {series.number}" if series.number else f"the series {series.uid}"

    @property
    def step_mm(self) -> float:
        """The distance from slice to slice."""
        return self.stack.spacing_mm[0]

    @property
    def coverage_mm(self) -> float:
        """The height from below the first slice to above the last."""
        return self.step_mm * len(self.series.slices)

    @property
    def resolution_mm(self) -> float:
        """The thickness of a slice, or the distance to the next one if that is larger."""
        return max(self.thickness_mm or 0.0, self.step_mm)


def remaining(candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates that have not been rejected."""
    return [candidate for candidate in candidates if candidate.rejection is None]


class Criterion(NamedTuple):
    """A comparison of candidates: the lowest score is the best.

    Attributes
    ----------
    score : function of a candidate
    limit : function of the best score
        Returns the highest score that passes.
    reason : function of a rejected candidate and the chosen one
        Returns the sentence that says why.
    """

    score: Callable[[Candidate], float]
    limit: Callable[[float], float]
    reason: Callable[[Candidate, Candidate], str]


CRITERIA = [
    # The height of lungs changes by a tenth from breath to breath. The search adds an error of
    # PRECISION_MM at both ends.
    Criterion(
        lambda candidate: -candidate.lungs.height_mm,
        lambda best: best + max(0.1 * -best, 2 * PRECISION_MM),
        lambda candidate, best: (
            f"It shows lungs over {candidate.lungs.height_mm:.0f} mm only; "
            f"{best.label} over {best.lungs.height_mm:.0f} mm."
        ),
    ),
    Criterion(
        lambda candidate: candidate.lungs.cut_below + candidate.lungs.cut_above,
        lambda best: best,
        lambda candidate, best: (
            f"Its lungs go on {cut_ends(candidate)} its slices; {best.label} shows more of them."
        ),
    ),
    Criterion(
        lambda candidate: float(_has_gaps(candidate)),
        lambda best: best,
        lambda candidate, best: (
            f"Its slices are {_mm(candidate.thickness_mm)} thick and {_mm(candidate.step_mm)} "
            f"apart, with nothing imaged between; {best.label} has no gaps."
        ),
    ),
    Criterion(
        lambda candidate: max(candidate.resolution_mm, FINE_MM),
        lambda best: 1.25 * best,
        lambda candidate, best: (
            f"Its slices are {describe_slices(candidate)}; "
            f"{best.label} has {_mm(best.resolution_mm)}."
        ),
    ),
    # A sharp kernel rings at edges and multiplies noise: both move the border and the density of a
    # lung.
    Criterion(
        lambda candidate: sharpness(candidate.kernel),
        lambda best: best,
        lambda candidate, best: (
            f"Its kernel, {candidate.kernel or 'not given'}, "
            f"{'is sharp' if sharpness(candidate.kernel) > 1 else 'may be sharp'}, "
            f"with noise and edges that disturb measuring; "
            f"{best.label} has {best.kernel or 'none given'}."
        ),
    ),
    Criterion(
        lambda candidate: float("SECONDARY" in image_type(candidate.header)[1:2]),
        lambda best: best,
        lambda candidate, best: (
            f"Its images were made after the examination "
            f"(Image Type {', '.join(image_type(candidate.header))}); "
            f"those of {best.label} during it."
        ),
    ),
    Criterion(
        lambda candidate: -candidate.step_mm,
        lambda best: 0.75 * best,
        lambda candidate, best: (
            f"It has a slice every {_mm(candidate.step_mm)}, which shows a lung no better than "
            f"{best.label} with one every {_mm(best.step_mm)}, and takes longer."
        ),
    ),
]


def rank_series(candidates: list[Candidate]) -> Candidate | None:
    """Reject all candidates but the best, each with its reason; return the best.

    It is None if all candidates were rejected before.
    """
    left = remaining(candidates)
    if not left:
        return None
    rejected: list[tuple[Candidate, Callable[[Candidate, Candidate], str]]] = []
    for criterion in CRITERIA:
        limit = criterion.limit(min(map(criterion.score, left))) + 1e-9
        worse = [candidate for candidate in left if criterion.score(candidate) > limit]
        rejected += [(candidate, criterion.reason) for candidate in worse]
        left = [candidate for candidate in left if criterion.score(candidate) <= limit]
    best = min(left, key=lambda candidate: (candidate.series.number, candidate.series.uid))
    rejected += [(candidate, _reason_of_equals) for candidate in left if candidate is not best]
    for candidate, reason in rejected:
        candidate.rejection = reason(candidate, best)
    return best


def _has_gaps(candidate: Candidate) -> bool:
    thickness_mm = candidate.thickness_mm
    return thickness_mm is not None and candidate.step_mm > 1.1 * thickness_mm


def _reason_of_equals(candidate: Candidate, best: Candidate) -> str:
    phase, best_phase = _phase(candidate), _phase(best)
    more = ""
    if phase != best_phase:
        more = f" It is of another moment or phase ({phase}; the other: {best_phase})."
    return f"It would do as well as {best.label}, which comes first by number.{more}"


def _phase(candidate: Candidate) -> str:
    has_contrast = candidate.header.get("ContrastBolusAgent")
    contrast = "with contrast" if has_contrast else "no contrast named"
    time = _text(candidate.header.get("AcquisitionTime")).split(".")[0]
    return f"{contrast}, at {time[:2]}:{time[2:4]}:{time[4:6]}" if len(time) == 6 else contrast


def cut_ends(candidate: Candidate) -> str:
    """Return where the lungs go on outside the series: "below", "above", both, or empty."""
    ends = (("below", candidate.lungs.cut_below), ("above", candidate.lungs.cut_above))
    return " and ".join(end for end, is_cut in ends if is_cut)


def sharpness(kernel: str) -> int:
    """Return how sharp a kernel is by its name: 0 soft or medium, 1 unknown, 2 sharp, 3 very sharp.

    The names are each manufacturer's own: B31f, I70f or Br59 (Siemens; a number from 50 on is
    sharp), STANDARD, LUNG, BONE (GE), B, C, D, L, YA (Philips), FC08, FC51 (Canon, Toshiba).
    """
    name = kernel.upper().strip()
    for pattern, level in KERNELS:
        if re.fullmatch(pattern, name):
            return level
    if found := re.match(r"[A-Z]{1,2}(\d\d)", name):
        number = int(found[1])
        return 3 if number >= 70 else 2 if number >= 50 else 0
    return 1


KERNELS = [
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


def describe_slices(candidate: Candidate) -> str:
    """Return the thickness of the slices, and their distance if that is different."""
    thickness_mm, step_mm = candidate.thickness_mm, candidate.step_mm
    if thickness_mm is None:
        return f"{_mm(step_mm)} apart"
    apart = "" if abs(thickness_mm - step_mm) < 0.05 else f" and {_mm(step_mm)} apart"
    return f"{_mm(thickness_mm)} thick{apart}"


def _thickness(header: Dataset) -> float | None:
    try:
        thickness = float(read_numbers(header, "SliceThickness", 1)[0])
    except SeriesError:
        return None
    return thickness if thickness > 0 else None


def _mm(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") + " mm"


def _text(value: object) -> str:
    """Return the first value of an element as text, empty if there is none."""
    first = (value or [""])[0] if isinstance(value, (list, MultiValue)) else value
    return "" if first is None else str(first).strip()
