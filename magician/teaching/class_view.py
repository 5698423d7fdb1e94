"""The view of a class: what each learner has done, found from what the class PACS holds.

Nothing else is asked: neither the learners' computers nor what they typed. The web page shows it.
"""

from __future__ import annotations

import logging
import textwrap
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from magician.anatomy.chest import MATRIX, PIXEL_MM, SLICE_MM, SLICES
from magician.checks.conformance import check_conformance
from magician.checks.segmentation_reader import read_segmentation
from magician.ct.volume import CTVolume
from magician.practice_pacs.pacs import PracticePacs
from magician.results.identity import learner_uid
from magician.segmentation.lungs import dice
from magician.teaching.classroom import LearnersStudy
from magician.teaching.phantom import ACCESSION_NUMBER, teaching_study
from magician.teaching.phantom_headers import FEET_Z_MM, Patient

logger = logging.getLogger(__name__)

COLUMNS = (
    "learner", "has retrieved", "has sent", "SEG conformant", "agreement with the truth", "report",
)  # fmt: skip
SHAPE = (SLICES, MATRIX, MATRIX)
GOOD_DICE = 0.95  # what the first lesson expects of the network
LONGEST_WHY = 160
MOST_NAMES = 10
# Of a SEG that is examined; our own has 186 frames of 512 x 512 pixels, of one bit each
MOST_PIXELS, MOST_BYTES = 2**27, 2**25


@dataclass(frozen=True)
class Cell:
    """A cell of the table: its text, how it is coloured, and a sentence below it."""

    text: str
    state: str = "open"  # done, part, open, wrong
    why: str = ""


@dataclass(frozen=True)
class ClassState:
    """What a class has done so far: a row for each learner, and sentences below the table."""

    rows: tuple[tuple[Cell, ...], ...]
    remarks: tuple[str, ...] = ()
    columns: tuple[str, ...] = COLUMNS


@dataclass(frozen=True)
class _Origin:
    """Where the results of a study come from: under which alias, and from which study."""

    alias: str
    source: Patient


@dataclass
class _Member:
    """A learner of the class, and the studies that are this learner's patient."""

    study: LearnersStudy
    truth: bytes = b""  # deflated
    sources: dict[str, Patient] = field(default_factory=dict)  # by StudyInstanceUID
    images: frozenset[str] = frozenset()


class ClassView:
    """Finds what each learner has done; call it for the present state.

    From `start` on a thread examines each SEG that arrives, so that a call is quick and the PACS
    never waits. Of several SEGs the newest counts. A mask that is sent a second time is not new: a
    PACS keeps the first object that it got under a UID.

    Parameters
    ----------
    pacs : PracticePacs
        The class PACS; it must be started. The thread ends when it stops.
    studies : sequence of LearnersStudy
        The learners.
    """

    def __init__(self, pacs: PracticePacs, studies: Sequence[LearnersStudy]) -> None:
        self._pacs = pacs
        self._members = [_member_of(study) for study in studies]
        self._examined: dict[str, tuple[Cell, Cell]] = {}  # by SOPInstanceUID of the SEG
        self._origins: dict[tuple[str, str], _Origin | None] = {}  # by study and learner
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="class view", daemon=True)

    def start(self) -> None:
        """Begin to examine: first the truths that are not kept yet, then what arrives."""
        self._thread.start()
        self._pacs.when_stopped(self.stop)

    def stop(self) -> None:
        """End the thread, soon: it may be in the middle of an examination."""
        self._stopping.set()
        self._thread.join(timeout=2)

    def keep_truth(self, study: LearnersStudy, truth: np.ndarray) -> None:
        """Keep the truth of a learner's patient, deflated: about 0.2 MB.

        Parameters
        ----------
        truth : array of uint8, shape (93, 512, 512), as in `TeachingStudy`
        """
        for member in self._members:
            if member.study == study:
                member.truth = zlib.compress(truth.tobytes(), 1)

    def __call__(self) -> ClassState:
        """Return what the class has done by now."""
        held = self._pacs.held("STUDY")
        rows, known = [], set()
        for member in self._members:
            results = [(study, one) for study in held if (one := self._origin(study, member))]
            known |= {study["StudyInstanceUID"] for study, _ in results}
            rows.append(self._row(member, results))
        others = [
            study["PatientName"].removesuffix("^")
            for study in held
            if study["PatientID"].startswith("LEARNER-") and study["StudyInstanceUID"] not in known
        ]
        names = ", ".join(others[:MOST_NAMES])
        more = f" and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
        remark = f"Nobody here has the patient of these results: {names}{more}."
        return ClassState(tuple(rows), (remark,) if others else ())

    def _origin(self, study: dict, member: _Member) -> _Origin | None:
        """Return `_origin_of`, worked out once for each study and learner."""
        if "SEG" not in study["ModalitiesInStudy"] and "SR" not in study["ModalitiesInStudy"]:
            return None
        key = (study["StudyInstanceUID"], member.study.name)
        if key not in self._origins:
            self._origins[key] = _origin_of(study, member)
        return self._origins[key]

    def _row(self, member: _Member, results: list[tuple[dict, _Origin]]) -> tuple[Cell, ...]:
        """Make the row of a learner; of several aliases the one that came last counts."""
        fetched, all_images = len(member.images & self._pacs.sent), len(member.images)
        state = "done" if fetched == all_images else "part" if fetched else "open"
        retrieved = Cell(f"{fetched} of {all_images}" if fetched else "no", state)
        name = Cell(member.study.name, why=f"accession {member.study.accession_number}")
        if not results:
            return name, retrieved, *[Cell("no")] * 4
        study, origin = results[-1]
        count = int(study["NumberOfStudyRelatedInstances"])
        if study["StudyInstanceUID"] in member.sources:
            count -= all_images  # without an alias, results lie beside the images
        more = f", and {len(results) - 1} earlier" if len(results) > 1 else ""
        objects = "1 object" if count == 1 else f"{count} objects"
        sent = Cell(objects, "done", f"as {origin.alias}{more}")
        series = self._pacs.held("SERIES", StudyInstanceUID=study["StudyInstanceUID"])
        by_modality = {one["Modality"]: one for one in series}
        report = Cell("yes", "done") if "SR" in by_modality else Cell("no")
        if "SEG" not in by_modality:
            return name, retrieved, sent, Cell("no SEG"), Cell("no SEG"), report
        uid = self._newest_seg(by_modality["SEG"])["SOPInstanceUID"]
        conformant, agreement = self._examined.get(uid, (Cell("is examined"), Cell("is examined")))
        return name, retrieved, sent, conformant, agreement, report

    def _newest_seg(self, series: dict) -> dict:
        keys = {key: series[key] for key in ("StudyInstanceUID", "SeriesInstanceUID")}
        return self._pacs.held("IMAGE", **keys)[-1]

    # ------------------------------------------------------------------- the thread that examines

    def _work(self) -> None:
        for member in self._members:
            if not member.truth and not self._stopping.is_set():
                truth = teaching_study(seed=member.study.name, progress=False).truth
                self.keep_truth(member.study, truth)
        while not self._stopping.wait(0.5):
            try:
                self._examine_arrivals()
            except Exception as error:  # objects come from anybody, and must not end the thread
                if not self._stopping.is_set():
                    logger.warning("The class view could not look into its PACS: %s", error)

    def _examine_arrivals(self) -> None:
        """Examine the SEGs that are new."""
        held = self._pacs.held("STUDY")
        for member in self._members:
            for study in held:
                if self._stopping.is_set():
                    return
                if origin := self._origin(study, member):
                    self._examine_study(member, study, origin)

    def _examine_study(self, member: _Member, study: dict, origin: _Origin) -> None:
        for series in self._pacs.held("SERIES", StudyInstanceUID=study["StudyInstanceUID"]):
            if series["Modality"] == "SEG":
                seg = self._newest_seg(series)
                if seg["SOPInstanceUID"] not in self._examined:
                    cells = self._examine(member, origin, seg)
                    self._examined[seg["SOPInstanceUID"]] = cells

    def _examine(self, member: _Member, origin: _Origin, held: dict) -> tuple[Cell, Cell]:
        """Return what a SEG is worth: whether it is conformant, and how true."""
        try:
            size = prod(
                int(held[keyword] or 0) for keyword in ("Rows", "Columns", "NumberOfFrames")
            )
            path = Path(held["path"])
            if size > MOST_PIXELS or path.stat().st_size > MOST_BYTES:
                too_large = Cell("too large", "wrong", "a mask of this patient is much smaller")
                return too_large, too_large
            seg = dcmread(path)
            (checked,) = check_conformance([seg]).objects  # alone: whether it fits its CT is below
            why = _shortened("; ".join([*checked.complaints, *(checked.errors or ())]))
            conformant = Cell("yes", "done") if checked.ok else Cell("no", "wrong", why)
        except Exception as error:  # a hostile object can fail in any way
            unread = Cell("can't be read", "wrong", _shortened(str(error)))
            return unread, unread
        try:
            return conformant, self._agreement(member, origin, seg)
        except Exception as error:
            return conformant, Cell("can't be compared", "wrong", _shortened(str(error)))

    def _agreement(self, member: _Member, origin: _Origin, seg: Dataset) -> Cell:
        """Return the Dice coefficient of each lung with the truth."""
        truth = np.frombuffer(zlib.decompress(member.truth), np.uint8).reshape(SHAPE)
        labels = read_segmentation(seg, _empty_volume(origin.source))
        right, left = (dice(labels == label, truth == label) for label in (1, 2))
        text = f"right {right:.3f}, left {left:.3f}"
        if min(right, left) >= GOOD_DICE:
            return Cell(text, "done")
        exchanged = min(dice(labels == 1, truth == 2), dice(labels == 2, truth == 1)) >= GOOD_DICE
        why = "right and left are exchanged" if exchanged else f"{GOOD_DICE} and more is good"
        return Cell(text, "wrong", why)


def _shortened(words: str) -> str:
    return textwrap.shorten(words, LONGEST_WHY, placeholder=" …")


def _member_of(study: LearnersStudy) -> _Member:
    # who works with the practice PACS of the notebook has the same patient under another number
    numbers = (study.accession_number, ACCESSION_NUMBER)
    patients = [Patient(study.name, number, disease=True, kernel="soft") for number in numbers]
    return _Member(
        study,
        sources={patient.uid("study"): patient for patient in patients},
        images=frozenset(study.instance_uids()),
    )


def _origin_of(study: dict, member: _Member) -> _Origin | None:
    """Tell where the results of a study come from; None if not from this learner's patient.

    Only who has the learner's patient can make these UIDs.
    """
    alias, study_uid = study["PatientName"].removesuffix("^"), study["StudyInstanceUID"]
    for uid, source in member.sources.items():
        if alias and study_uid == learner_uid(uid, uid, alias):
            return _Origin(alias, source)
        if study_uid == uid:
            return _Origin("the patient itself", source)
    return None


def _empty_volume(patient: Patient) -> CTVolume:
    """Return the grid of a teaching study as a volume whose values take no memory."""
    header = Dataset()
    header.StudyInstanceUID = patient.uid("study")
    header.FrameOfReferenceUID = patient.uid("frame of reference")
    nothing = np.broadcast_to(np.float32(0), SHAPE)
    spacing = (SLICE_MM, PIXEL_MM, PIXEL_MM)
    return CTVolume(nothing, (header,) * SLICES, spacing, grid_of_the_study())


def grid_of_the_study() -> np.ndarray:
    """Return the affine (4, 4) of every teaching study: (slice, row, column, 1) to LPS mm."""
    corner = -(MATRIX - 1) / 2 * PIXEL_MM
    rows = [
        [0, 0, PIXEL_MM, corner],
        [0, PIXEL_MM, 0, corner],
        [SLICE_MM, 0, 0, FEET_Z_MM],
        [0, 0, 0, 1],
    ]
    return np.array(rows, float)
