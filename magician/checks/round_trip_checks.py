"""Checks of a round trip: fetched results, held against the mask and the CT they were made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydicom import Dataset

from magician.checks import read_back
from magician.checks.read_back import SIDES, Frame, Measured
from magician.ct.volume import CTVolume
from magician.errors import ResultError
from magician.results.make import Results

CENTRE_TOLERANCE_MM = 0.05
VOLUME_TOLERANCE = 1e-4  # of a volume: spacings are stored with at most 16 characters
TISSUE_HU = -500  # denser voxels belong to the body
IDENTITY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
)


@dataclass(frozen=True)
class Check:
    """One check, and its outcome.

    Attributes
    ----------
    what : str
        The property that was checked.
    ok : bool
    expected, found : str
    """

    what: str
    ok: bool
    expected: str
    found: str


class RoundTripChecks:
    """The checks of one round trip, each a method that returns whether it is ok, and what it found.

    Parameters
    ----------
    volume : CTVolume
        The CT that was segmented.
    results : Results
        The results that were sent.
    held : dict
        What the PACS holds of the study: Series Instance UID by SOP Instance UID.
    seg, sr : Dataset, or None
        The objects that were fetched; None if the PACS does not hold them.
    """

    def __init__(
        self,
        volume: CTVolume,
        results: Results,
        held: dict[str, str],
        seg: Dataset | None,
        sr: Dataset | None,
    ) -> None:
        self.volume, self.results, self.held = volume, results, held
        self._seg, self._sr = seg, sr
        self.source = volume.headers[0]
        self.grid = read_back.grid_of(volume.headers)
        self.own_study = results.seg.StudyInstanceUID == self.source.StudyInstanceUID
        # Without the learner's CT, only the code that makes results knows the UIDs of its images
        self.ct = results.ct or (volume.headers if self.own_study else ())

    def run(self) -> Iterator[Check]:
        """Yield the outcome of every check, in the order of the table."""
        count = len(self.volume.headers)
        overlay = len(self.results.overlay)
        yield self._check("objects", f"SEG, SR, {overlay} overlay images", self._objects)
        whose = "those of the CT" if self.own_study else "a learner's, none of the CT's own"
        yield self._check("patient and study", whose, self._identity)
        frame = "that of the CT" if self.ct else "one of the learner's own"
        yield self._check("frame of reference", frame, self._frame_of_reference)
        yield self._check("references", "all held, in this study", self._references)
        yield self._check(
            "frames", f"{2 * count}: both lungs on each of {count} slices", self._frames
        )
        for label, side in enumerate(SIDES, start=1):
            expected = self.results.labels == label
            ml = float(expected.sum()) * abs(float(np.linalg.det(self.grid[:3, :3]))) / 1000
            centre = _centre_of_mass(expected, self.grid)
            yield self._check(
                f"{side} lung, voxels", f"{expected.sum()} voxels", self._voxels, side, expected
            )
            yield self._check(f"{side} lung, volume", f"{ml:.1f} ml", self._volumes, side, ml)
            yield self._check(f"{side} lung, centre", _in_mm(centre), self._centre, side, centre)
        yield self._check("sides", "right lung on the patient's right", self._sides)
        yield self._check(
            "report", "each volume points at its segment", self._references_of_the_report
        )

    def _check(self, what: str, expected: str, check: Callable, *arguments) -> Check:
        try:
            ok, found = check(*arguments)
        except ResultError as error:
            ok, found = False, str(error)
        return Check(what, bool(ok), expected, found)

    @cached_property
    def frames(self) -> list[Frame]:
        return read_back.frames_of(self.seg)

    @cached_property
    def measured(self) -> dict[str, Measured]:
        return read_back.measured_by(self.sr)

    @property
    def seg(self) -> Dataset:
        if self._seg is None:
            raise ResultError("There is no SEG.")
        return self._seg

    @property
    def sr(self) -> Dataset:
        if self._sr is None:
            raise ResultError("There is no SR.")
        return self._sr

    def _objects(self) -> tuple[bool, str]:
        overlay = sum(str(image.SOPInstanceUID) in self.held for image in self.results.overlay)
        fetched = {"SEG": self._seg, "SR": self._sr}
        kinds = [kind for kind, dataset in fetched.items() if dataset is not None]
        found = ", ".join([*kinds, f"{overlay} overlay images"])
        return len(kinds) == 2 and overlay == len(self.results.overlay), found

    def _identity(self) -> tuple[bool, str]:
        wrong = []
        if self.own_study:
            expected = self.source
        else:
            expected = self.ct[0] if self.ct else self.seg
            wrong = [
                f"{keyword} is that of the CT"
                for keyword in ("StudyInstanceUID", "PatientID", "PatientName")
                if self.source.get(keyword) and self.seg.get(keyword) == self.source.get(keyword)
            ]
        for kind, dataset in (("SEG", self.seg), ("SR", self.sr)):
            wrong += [
                f"the {kind} has another {keyword}"
                for keyword in IDENTITY
                if _differ(dataset, expected, keyword)
            ]
        return not wrong, "; ".join(wrong) or "the same in SEG and SR"

    def _frame_of_reference(self) -> tuple[bool, str]:
        found = self.seg.get("FrameOfReferenceUID")
        if self.ct:
            same = found == self.ct[0].FrameOfReferenceUID
        else:
            same = bool(found) and found != self.source.FrameOfReferenceUID
        return same, "it is" if same else "another, so that positions don't compare"

    def _references(self) -> tuple[bool, str]:
        named = read_back.referenced_by(self.seg) | read_back.referenced_by(self.sr)
        lost = len(named - set(self.held))
        found = f"{len(named) - lost} of {len(named)} objects are held"
        if lost:
            found += "; send the CT along (include_ct=True), or to the PACS that has it"
        return bool(named) and not lost, found

    def _frames(self) -> tuple[bool, str]:
        """Check that each slice has a frame of each lung, which names the CT image of the slice."""
        count, shape = len(self.volume.headers), self.results.labels.shape[1:]
        wanted = {(side, index) for side in SIDES for index in range(count)}
        images = {str(image.SOPInstanceUID): index for index, image in enumerate(self.ct)}
        places = [
            (frame.side, frame.slice_in(self.grid, shape), frame.source) for frame in self.frames
        ]
        missing = len(wanted - {(side, index) for side, index, _ in places})
        astray = sum(bool(images) and images.get(source) != index for _, index, source in places)
        wrong = [f"{missing} missing"] if missing else []
        wrong += [f"{astray} name another CT image than the one that lies there"] if astray else []
        return not wrong and len(places) == len(wanted), ", ".join([str(len(places)), *wrong])

    def _voxels(self, side: str, expected: np.ndarray) -> tuple[bool, str]:
        mask, lost = read_back.place(self.frames, side, self.grid, expected.shape)
        missing, extra = int((expected & ~mask).sum()), int((mask & ~expected).sum())
        found = f"{mask.sum()} voxels: {missing} missing, {extra} too many"
        return not (missing or extra or lost), found + (
            f", {lost} off the grid of the CT" if lost else ""
        )

    def _volumes(self, side: str, expected_ml: float) -> tuple[bool, str]:
        in_seg = read_back.volume_of(self.frames, side)
        report = self.measured.get(side)
        if report is None:
            return False, f"{in_seg:.1f} ml in the SEG, none in the report"
        found = f"{in_seg:.1f} ml in the SEG, {report.volume_ml:.1f} ml in the report"
        return np.allclose(
            [in_seg, report.volume_ml], expected_ml, rtol=VOLUME_TOLERANCE, atol=1e-4
        ), found

    def _centre(self, side: str, expected: np.ndarray) -> tuple[bool, str]:
        centre = read_back.centre_of(self.frames, side)
        off = float(np.linalg.norm(centre - expected))
        same = off <= CENTRE_TOLERANCE_MM or (np.isnan(centre).all() and np.isnan(expected).all())
        return same, _in_mm(centre) + ("" if same else f", {off:.1f} mm away")

    def _sides(self) -> tuple[bool, str]:
        """Check the sides in patient coordinates: x grows to the left, however the patient lay."""
        right, left = (read_back.centre_of(self.frames, side)[0] for side in SIDES)
        # a single lung has to lie to its side of the middle of the body
        if np.isnan([right, left]).any():
            middle = _centre_of_mass(self.volume.hu > TISSUE_HU, self.grid)[0]
            right, left = (middle if np.isnan(x) else x for x in (right, left))
        apart = left - right
        side = "right" if apart > 0 else "left"
        found = f"it lies {abs(apart):.1f} mm to the patient's {side} of the left lung"
        return apart > 0, found

    def _references_of_the_report(self) -> tuple[bool, str]:
        wrong = []
        segments = read_back.segments_of(self.seg)
        for side in SIDES:
            report = self.measured.get(side)
            if report is None:
                wrong.append(f"no {side} lung in the report")
            elif report.seg != self.seg.SOPInstanceUID:
                wrong.append(f"{side} lung: another SEG")
            elif (report.segment, report.tracking_uid) != segments.get(side):
                wrong.append(f"{side} lung: another segment or tracking UID")
        return not wrong, "; ".join(wrong) or "they do, with the same tracking UIDs"


def _differ(dataset: Dataset, other: Dataset, keyword: str) -> bool:
    return str(dataset.get(keyword) or "") != str(other.get(keyword) or "")


def _centre_of_mass(mask: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the centre of gravity of a mask (slices, rows, columns) in LPS mm.

    An empty mask has none: its coordinates are not a number.
    """
    total = mask.sum()
    if not total:
        return np.full(3, np.nan)
    others = ((1, 2), (0, 2), (0, 1))
    voxel = [
        mask.sum(axis=axes) @ np.arange(n) / total
        for axes, n in zip(others, mask.shape, strict=True)
    ]
    return grid[:3, :3] @ voxel + grid[:3, 3]


def _in_mm(point: np.ndarray) -> str:
    if np.isnan(point).any():
        return "nowhere"
    return "({:.1f}, {:.1f}, {:.1f}) mm".format(*(point.round(1) + 0.0))  # no -0.0
