"""The lessons: what each starts from (`lesson`), and which cell makes which name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from pydicom.dataset import Dataset

from magician.client.find import find_studies
from magician.client.store import store
from magician.ct.volume import CTVolume, read_series
from magician.errors import USUAL_MODE, MagicianError, WrongArgument, cell_of, lines_to_show
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.results.make import Results, make_results, save
from magician.segmentation.lungs import LungSegmentation, segment_lungs
from magician.teaching.phantom import TeachingStudy, teaching_study

__all__ = ["lesson"]

# Of each lesson the cells, in order, that make a name which another cell uses
CELLS: dict[int, dict[str, str]] = {
    1: {
        "2": "Path dcmread np shutil",
        "3": "PACS pacs practice",
        "3a": "patient",
        "5": "query",
        "6": "folder study",
        "7b": "got",
        "8a": "slices volume",
        "10": "segmentation",
        "10b": "litres",
        "11": "results",
        "12": "target",
        "13": "stored",
        "14": "back",
    },
    2: {
        "2.1": "NAME start",
        "2.8": "given",
        "2.10": "matches",
        "2.14": "pair",
        "2.15": "moved",
        "2.18": "stepped",
        "2.19": "again",
    },
    3: {
        "3.1": "NAME np results segmentation start volume",
        "3.9": "given",
        "3.15": "pair",
        "3.21": "repaired",
    },
}

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
        raise WrongArgument(
            "Lesson 01 makes everything itself: open 01_connect_ai_to_pacs.ipynb, and run its "
            "cells from the first one. Only lessons 02 and 03 begin with lesson(2) and lesson(3)."
        )
    if type(number) is not int or number not in _LESSONS:
        raise WrongArgument(
            f"There is no lesson {number!r}: write lesson(2) or lesson(3), a number without quotes."
        )
    if isinstance(name, bool) or not isinstance(name, (int, str)) or not str(name).strip():
        raise WrongArgument(f"name is your name in quotes, for instance name='Ada', not {name!r}.")
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


def explain_missing_name(name: str, label: str, library: Collection[str] = ()) -> str:
    """Tell which cell makes a name that is missing.

    Parameters
    ----------
    name : str
    label : str
        Of the cell that uses it: ``"8a"`` in lesson 01, ``"2.3"`` in lesson 02.
    library : collection of str
        The names that one imports from the library.

    Returns
    -------
    str
        One or two sentences; empty if the lesson makes no such name.
    """
    if name in library:
        return (
            f"`{name}` belongs to the library. Write `from magician import {name}` as the second "
            f"line of this cell, and run it again."
        )
    lesson_number = label.split(".")[0] if "." in label else "1"
    cells = CELLS.get(int(lesson_number) if lesson_number.isdecimal() else 0, {})
    maker = next((cell for cell, names in cells.items() if name in names.split()), label)
    if maker == label:
        return ""
    first = next(iter(cells))
    which = f"Cell {maker}" if maker == first else f"Cells {first} to {maker} in order"
    return (
        f"`{name}` is made in Cell {maker}, which has not been run to its end since this kernel "
        f"started. Run {which}, then this cell again."
    )


def show_name_error(
    shell: Any, error: NameError, library: Collection[str], tb_offset: int | None = None
) -> None:
    """Show a NameError in a notebook: which cell makes the name, or the usual traceback.

    Only an error in a cell of a lesson is explained, and none in a function of a library.

    Parameters
    ----------
    shell : IPython's shell
    error : NameError
    library : collection of str
        The names that one imports from the library.
    tb_offset : int, optional
        As IPython's handlers get it.
    """
    lines, _ = cell_of(error.__traceback__, shell)
    label = re.match(r"# Cell ([\w.]+):", lines[0]) if lines else None
    if label and type(error) is NameError and _innermost(error.__traceback__) is shell.user_ns:
        sentence = explain_missing_name(error.name or "", label[1], library)
        if sentence:
            shown = lines_to_show(error, sentence, shell)
            error._render_traceback_ = lambda: shown  # IPython asks for it, once
    shell.showtraceback((type(error), error, error.__traceback__), tb_offset=tb_offset)
    vars(error).pop("_render_traceback_", None)  # %tb shows the whole traceback


def is_from_here(error: BaseException) -> bool:
    """Tell whether a function of this library has raised an error."""
    return str(_innermost(error.__traceback__).get("__name__")).split(".")[0] == "magician"


def show_value_error(shell: Any, error: ValueError, tb_offset: int | None = None) -> None:
    """Show a ValueError in a notebook: the message of one of ours, else the usual traceback."""
    plain = is_from_here(error) and not isinstance(error, WrongArgument)  # which shows itself
    shown = lines_to_show(error, str(error), shell) if plain else None
    if shown and shell.InteractiveTB.mode == USUAL_MODE:
        error._render_traceback_ = lambda: shown  # IPython asks for it, once
    shell.showtraceback((type(error), error, error.__traceback__), tb_offset=tb_offset)
    vars(error).pop("_render_traceback_", None)  # %tb shows the whole traceback


def _innermost(traceback: TracebackType | None) -> dict[str, Any]:
    """Return the global names of the function that failed."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_globals if traceback is not None else {}
