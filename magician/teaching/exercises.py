"""Exercises: what a learner made is examined, and the answer is a sentence (`check`).

An exercise looks at the artefact: a data set, a mask, what a PACS holds. A right answer of the kind
that one can look up is kept as a salted hash only; a measured one is computed again from the
learner's own study.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from magician.teaching import image_drills, network_drills
from magician.teaching.drills import Drill, Exercise, NotYet, start_drill
from magician.teaching.progress import record

__all__ = ["Answer", "check", "drill"]


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
    exercises = {**EXERCISES, **network_drills.EXERCISES, **image_drills.EXERCISES}
    found = exercises.get(exercise) if isinstance(exercise, str) else None
    if found is None:
        names = ", ".join(repr(name) for name in exercises)
        return Answer(str(exercise), False, f"No exercise has this name. The names are {names}.")
    try:
        inspect.signature(found.examine).bind(*evidence, **answers)
    except TypeError:
        form = str(inspect.signature(found.examine)).split(" -> ")[0]
        return Answer(exercise, False, f"Write check({exercise!r}, ...) with {form}.")
    try:
        answer = Answer(exercise, True, found.examine(*evidence, **answers))
    except NotYet as reason:
        answer = Answer(exercise, False, str(reason))
    except Exception as error:  # learners hand in anything, and it can fail in any way
        seen = f"{type(error).__name__}: {error}"
        answer = Answer(exercise, False, f"This can't be examined ({seen}).")
    record(exercise, answer.ok, answer.sentence)
    return answer


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


EXERCISES: dict[str, Exercise] = {}
