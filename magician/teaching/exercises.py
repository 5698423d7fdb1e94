"""Exercises: what a learner made is examined, and the answer is a sentence (`check`).

An exercise looks at the artefact: a data set, a mask, what a PACS holds. A right answer of the kind
that one can look up is kept as a salted hash only; a measured one is computed again from the
learner's own study.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from magician.teaching.progress import record

__all__ = ["Answer", "check"]


class NotYet(Exception):
    """What is wrong with an answer: one or two sentences for the learner."""


@dataclass(frozen=True)
class Exercise:
    """An exercise, and the function that examines what a learner made.

    Attributes
    ----------
    lesson : int
        The lesson that it belongs to.
    title : str
        What the learner does, in a few words: a row of `my_progress`.
    examine : function
        Takes the evidence and the answers of `check`. It returns a sentence if they are right, and
        raises `NotYet` if they are not.
    """

    lesson: int
    title: str
    examine: Callable[..., str]


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
    found = all_exercises().get(exercise) if isinstance(exercise, str) else None
    if found is None:
        names = ", ".join(repr(name) for name in all_exercises())
        return Answer(
            str(exercise), False, f"There is no exercise of this name. There are {names}."
        )
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
        answer = Answer(
            exercise, False, f"This can't be examined ({type(error).__name__}: {error})."
        )
    record(exercise, answer.ok, answer.sentence)
    return answer


def is_answer(exercise: str, value: object, digest: str) -> bool:
    """Tell whether a word or an integer is the right one, of which only the hash is known."""
    return digest_of(exercise, value) == digest


def digest_of(exercise: str, value: object) -> str:
    """The hash of an answer, salted with its exercise; letter case and outer spaces do not count."""
    word = " ".join(str(value).lower().split())
    return hashlib.sha256(f"magician\x1f{exercise}\x1f{word}".encode()).hexdigest()[:16]


def all_exercises() -> dict[str, Exercise]:
    """List the exercises of all lessons by name, in the order of the lessons."""
    from magician.teaching.image_drills import EXERCISES as image_drills
    from magician.teaching.network_drills import EXERCISES as network_drills

    return {**EXERCISES, **network_drills, **image_drills}


EXERCISES: dict[str, Exercise] = {}
