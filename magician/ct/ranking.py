"""Ranks candidate series: each criterion removes those clearly worse than the best.

They are compared in rounds, the most important one first: whoever falls behind the best in a round
is out, and the round says why. Each round lets small differences pass, so that a later one can
decide between series that are as good.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pydicom import Dataset
from pydicom.multival import MultiValue

from magician.ct.geometry import Stack, numbers
from magician.ct.lung_search import PRECISION_MM, Lungs
from magician.ct.series import Series, image_type
from magician.errors import SeriesError

FINE_MM = 1.0  # thinner slices show a lung no better: they are noisier, and more to compute


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


def still_in(candidates: list[Candidate]) -> list[Candidate]:
    """Return those that nothing speaks against yet."""
    return [one for one in candidates if not one.out]


class Round(NamedTuple):
    """One comparison: the smallest score is the best, and those up to ``passes(best)`` stay in."""

    score: Callable[[Candidate], float]
    passes: Callable[[float], float]
    words: Callable[[Candidate, Candidate], str]


ROUNDS = [
    # a tenth is what lungs differ by between two breaths; the look itself is off by up to so much
    # at both ends
    Round(
        lambda one: -one.lungs.height_mm,
        lambda best: best + max(0.1 * -best, 2 * PRECISION_MM),
        lambda one, best: (
            f"It shows lungs over {one.lungs.height_mm:.0f} mm only; {best.called} over {best.lungs.height_mm:.0f} mm."
        ),
    ),
    Round(
        lambda one: one.lungs.cut_below + one.lungs.cut_above,
        lambda best: best,
        lambda one, best: (
            f"Its lungs go on {beyond(one)} its slices; {best.called} shows more of them."
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
        lambda one, best: (
            f"Its slices are {thick(one)}; {best.called} has {_mm(best.effective_mm)}."
        ),
    ),
    # a sharp kernel rings at edges and multiplies noise: both move the border and the density of a
    # lung
    Round(
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


def decide(entered: list[Candidate]) -> Candidate | None:
    """Compare series in rounds; tell the losers why, and return the one that is left, or None if
    all are out.
    """
    left = still_in(entered)
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


def beyond(one: Candidate) -> str:
    ends = (("below", one.lungs.cut_below), ("above", one.lungs.cut_above))
    return " and ".join(end for end, cut in ends if cut)


def sharpness(kernel: str) -> int:
    """Return how sharp a reconstruction is by the name of its kernel: 0 soft or medium, 1 unknown,
    2 sharp, 3 very.

    The names are each manufacturer's own: B31f, I70f or Br59 (Siemens; a number from 50 on is
    sharp), STANDARD, LUNG, BONE (GE), B, C, D, L, YA (Philips), FC08, FC51 (Canon, Toshiba).
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


def _thickness(header: Dataset) -> float | None:
    try:
        thickness = float(numbers(header, "SliceThickness", 1)[0])
    except SeriesError:
        return None
    return thickness if thickness > 0 else None


def thick(one: Candidate) -> str:
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
