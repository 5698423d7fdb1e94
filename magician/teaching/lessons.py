"""The lessons: what each starts from (`lesson`), and which cell makes which name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from magician.client.find import find_studies
from magician.client.store import store
from magician.ct.volume import CTVolume, read_series
from magician.errors import MagicianError
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.results.make import Results, make_results, save
from magician.segmentation.lungs import LungSegmentation, segment_lungs
from magician.teaching.phantom import TeachingStudy, teaching_study

__all__ = ["lesson"]

FILES = "tutorial-files"  # all files of the lessons lie below this folder


@dataclass(frozen=True)
class _Start:
    """What every lesson starts from."""

    pacs: PracticePacs = field(repr=False)
    patient: TeachingStudy
    folder: Path

    def stop(self) -> None:
        """Stop the PACS of the lesson and remove its files; harmless when that is done already."""
        self.pacs.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class FailureLesson(_Start):
    """What lesson 02, *When it fails*, starts from: a practice PACS that holds one study.

    Attributes
    ----------
    pacs : PracticePacs
        It listens, and holds the 95 objects of the study.
    patient : TeachingStudy
    folder : Path
        An empty folder for what the lesson retrieves: ``tutorial-files/lesson-02``.
    node : Node
        How to reach the PACS.
    study : Dataset
        What the PACS answers when it is asked for the study.
    """

    node: Node
    study: Dataset = field(repr=False)


@dataclass(frozen=True)
class ResultLesson(_Start):
    """What lesson 03, *Is it right?*, starts from: results that a PACS holds beside their CT.

    Attributes
    ----------
    pacs : PracticePacs
        The PACS to which the results were sent. It holds the 95 objects of the study and, in the
        same study, the results.
    patient : TeachingStudy
    folder : Path
        ``tutorial-files/lesson-03``; the 95 files of the study lie in its folder ``ct``.
    volume : CTVolume
        The axial series.
    segmentation : LungSegmentation
        Its lungs, as the bundled network found them.
    results : Results
        Of this segmentation, for the patient of the CT.
    target : Node
        How to reach the PACS.
    """

    volume: CTVolume = field(repr=False)
    segmentation: LungSegmentation = field(repr=False)
    results: Results = field(repr=False)
    target: Node


_STARTED: dict[int, _Start] = {}  # the lessons of this process, by number


def lesson(number: int, *, name: int | str = "0") -> FailureLesson | ResultLesson:
    """Bring everything that lesson 2 or 3 starts from, whatever was or was not run before.

    It takes some seconds. A second call for the same lesson starts it afresh: the PACS of the first
    call is stopped, its files are removed.

    Parameters
    ----------
    number : int
        2 for *When it fails*, 3 for *Is it right?*. Lesson 1 makes everything itself.
    name : int or str
        Your name: another name gives another patient. It is written nowhere.

    Returns
    -------
    FailureLesson or ResultLesson
        With named parts. Its ``stop()`` cleans up.

    Raises
    ------
    ValueError
        If there is no such lesson, or `name` is neither a text nor a whole number.
    MagicianError
        If its files can't be written here.
    """
    if number == 1 and type(number) is int:
        raise ValueError(
            "Lesson 01 makes everything itself: open 01_connect_ai_to_pacs.ipynb, and run its "
            "cells from the first one. Only lessons 02 and 03 begin with lesson(2) and lesson(3)."
        )
    if type(number) is not int or number not in _LESSONS:
        raise ValueError(
            f"There is no lesson {number!r}: write lesson(2) or lesson(3), a number without quotes."
        )
    if isinstance(name, bool) or not isinstance(name, (int, str)) or not str(name).strip():
        raise ValueError(f"name is your name in quotes, for instance name='Ada', not {name!r}.")
    if number in _STARTED:
        _STARTED.pop(number).stop()
    patient = teaching_study(seed=name)
    folder = _empty_folder(Path(FILES).absolute() / f"lesson-{number:02d}")
    pacs = PracticePacs(ae_title=f"LESSON{number}").start()
    try:
        pacs.add(patient.datasets)
        _STARTED[number] = _LESSONS[number](pacs, patient, folder)
    except BaseException:  # an interrupt too
        pacs.stop()
        raise
    return _STARTED[number]


def _empty_folder(folder: Path) -> Path:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise MagicianError(
            f"{folder} can't be written ({error.strerror}): open the notebook from a folder of "
            f"your own."
        ) from error
    return folder


def _start_failures(pacs: PracticePacs, patient: TeachingStudy, folder: Path) -> FailureLesson:
    (study,) = find_studies(pacs.node, patient_id=patient.datasets[0].PatientID)
    return FailureLesson(pacs, patient, folder, pacs.node, study)


def _start_results(pacs: PracticePacs, patient: TeachingStudy, folder: Path) -> ResultLesson:
    save(patient.datasets, folder / "ct")
    volume = read_series(folder / "ct")
    segmentation = segment_lungs(volume)
    results = make_results(volume, segmentation)
    store(pacs.node, results.all)
    return ResultLesson(pacs, patient, folder, volume, segmentation, results, pacs.node)


_LESSONS = {2: _start_failures, 3: _start_results}
