"""Exercises: what a learner made is examined, and the answer is a sentence (`check`).

An exercise looks at the artefact: a data set, a mask, what a PACS holds. A right answer of the kind
that one can look up is kept as a salted hash only; a measured one is computed again from the
learner's own study.
"""

from __future__ import annotations

import html
import inspect
import numbers
from dataclasses import dataclass

import numpy as np

from magician.errors import MagicianError
from magician.tables import Table
from magician.teaching import image_drills, network_drills
from magician.teaching.drills import Drill, Exercise, NotYet, start_drill
from magician.teaching.phantom import TeachingStudy
from magician.teaching.predictions import PREDICTIONS
from magician.teaching.progress import read_outcomes, record

__all__ = ["Answer", "check", "drill", "my_progress"]

LONGEST_SENTENCE = 400  # characters: a hostile object can describe itself at any length


@dataclass(frozen=True)
class Answer:
    """What `check` found. It is shown as a sentence.

    Attributes
    ----------
    exercise : str
    ok : bool
    sentence : str
        What was found; if it is wrong, what kind of mistake that is.
    """

    exercise: str
    ok: bool
    sentence: str

    def __repr__(self) -> str:
        return f"{self.exercise}: {'right' if self.ok else 'not yet'}. {self.sentence}"

    def _repr_html_(self) -> str:
        outcome = "right" if self.ok else "not yet"
        head = html.escape(f"{self.exercise}: {outcome}.")
        return f"<p><b>{head}</b> {html.escape(self.sentence)}</p>"


def check(exercise: str, *evidence: object, **answers: object) -> Answer:
    """Examine what you made in an exercise, and say what is right or wrong about it.

    The outcome is kept in your table, `my_progress`. Nothing leaves the computer.

    Parameters
    ----------
    exercise : str
        Its name, as the notebook writes it.
    *evidence, **answers
        What the exercise looks at: the notebook says which.

    Returns
    -------
    Answer
        ``.ok`` and ``.sentence``. A wrong type, a missing value or another learner's object is
        answered in a sentence, too: nothing is raised.
    """
    exercises = all_exercises()
    found = exercises.get(exercise) if isinstance(exercise, str) else None
    if found is None:
        names = ", ".join(repr(name) for name in exercises)
        return Answer(_words_of(exercise), False, f"No exercise has this name. Known: {names}.")
    try:
        form = inspect.signature(found.examine)
        form.bind(*evidence, **answers)
    except TypeError:
        return Answer(
            exercise, False, f"Write check({', '.join([repr(exercise), *form.parameters])})."
        )
    if answers and all(value is None for value in answers.values()):
        # as in a notebook that nobody has worked on: it does not count as tried
        return Answer(exercise, False, f"Fill in {_listed(list(answers))}.")
    try:
        answer = Answer(exercise, True, found.examine(*evidence, **answers))
    except NotYet as reason:
        answer = Answer(exercise, False, str(reason))
    except MagicianError as error:
        answer = Answer(exercise, False, _words_of(error))
    except Exception as error:  # learners hand in anything, and it can fail in any way
        seen = f"{type(error).__name__}: {_words_of(error)}"
        answer = Answer(exercise, False, f"This can't be examined ({seen}).")
    record(exercise, answer.ok, answer.sentence)
    return answer


def _words_of(something: object) -> str:
    """Describe anything on one line, also what refuses to be described."""
    try:
        words = " ".join(str(something).split())
    except Exception:
        words = f"an object of type {type(something).__name__}"
    return words if len(words) <= LONGEST_SENTENCE else f"{words[:LONGEST_SENTENCE]} ..."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def all_exercises() -> dict[str, Exercise]:
    """Return the exercises of all lessons by name, in the order of the lessons."""
    found = {**EXERCISES, **network_drills.EXERCISES, **image_drills.EXERCISES}
    return dict(sorted(found.items(), key=lambda item: item[1].lesson))


def my_progress() -> Table:
    """Show which exercises you have done, and how many predictions came true.

    Returns
    -------
    Table
        A row for each exercise: done, not yet, or not tried. The file that it is kept in is yours;
        the environment variable MAGICIAN_PROGRESS names another one.
    """
    known, problem = read_outcomes()
    exercises = all_exercises()
    rows = []
    for name, one in exercises.items():
        outcome = known.exercises.get(name)
        word = "not tried" if outcome is None else "done" if outcome["ok"] else "not yet"
        rows.append([str(one.lesson), name, one.title, word])
    done = sum(row[-1] == "done" for row in rows)
    answered = [known.predictions[key] for key in PREDICTIONS if key in known.predictions]
    true = sum(bool(prediction["true"]) for prediction in answered)
    summary = (
        f"{done} of {len(rows)} exercises are done. Predictions: {len(answered)} answered, "
        f"{true} of them came true."
    )
    columns = ["lesson", "exercise", "what you do", "outcome"]
    return Table(columns, rows, summary=f"{summary} {problem}".strip())


def drill(letter: str, *, name: str = "0") -> Drill:
    """Set up a failure drill, and show its symptom.

    The drill that was set up before is stopped, and its files are removed.

    Parameters
    ----------
    letter : str
        Which one: the notebooks list them.
    name : str
        Your name, as in the first cell of the lesson.

    Returns
    -------
    Drill
        ``.symptom``, ``.stop()``, and what you work with: the symptom names it.

    Raises
    ------
    ValueError
        If no drill has this letter.
    """
    kinds = {**network_drills.DRILLS, **image_drills.DRILLS}
    if not isinstance(letter, str) or letter.strip().upper() not in kinds:
        letters = ", ".join(sorted(kinds))
        raise ValueError(f"No drill has the letter {letter!r}. The letters are {letters}.")
    return start_drill(kinds[letter.strip().upper()], str(name))


# ---------------------------------------------------------------------- what an answer is made of


def _evidence(value: object, kind: type, name: str, source: str):
    """Return the evidence if it is of this kind."""
    if not isinstance(value, kind):
        raise NotYet(
            f"{name} is of type {type(value).__name__}, and should be what {source} returns."
        )
    return value


def _numbers(**answers: object) -> list[float]:
    """Return the answers as numbers; `NotYet` says which is missing or none."""
    for name, value in answers.items():
        if value is None or value is ...:
            raise NotYet(f"{name} is missing. Fill in {_listed(list(answers))}.")
        if isinstance(value, str):
            raise NotYet(f"{name} is a text. Write the number without quotes and without its unit.")
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
            raise NotYet(f"{name} is of type {type(value).__name__}, and should be one number.")
        if not abs(value) < 1e9:  # not a number is not smaller either
            raise NotYet(f"{name} is no number that can be measured here.")
    return [float(value) for value in answers.values()]


def _require_same_patient(headers, patient: TeachingStudy, what: str) -> None:
    """Raise `NotYet` unless the headers are of this patient."""
    own = str(patient.datasets[0].PatientID)
    found = {str(header.get("PatientID") or "") for header in headers}
    if len(found) > 1:
        raise NotYet(f"{what} is of {len(found)} patients. Take the files of one study.")
    if any(other.startswith("LEARNER-") for other in found):
        raise NotYet(
            f"{what} belongs to the results under an alias. Take the study of the patient."
        )
    if found != {own}:
        raise NotYet(
            f"{what} is of the patient {_words_of(*found)}, and yours has the PatientID {own}. "
            "Run the lesson again from the cell that makes the patient."
        )


EXERCISES: dict[str, Exercise] = {}
