"""What an exercise and a failure drill are: the parts that all of them share.

The exercises themselves stand in `exercises`, `network_drills` and `image_drills`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass


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


def is_answer(exercise: str, value: object, digest: str) -> bool:
    """Tell whether a word or an integer is the right one, of which only the hash is known."""
    return digest_of(exercise, value) == digest


def digest_of(exercise: str, value: object) -> str:
    """Hash an answer, salted with its exercise; letter case and outer spaces do not count."""
    word = " ".join(str(value).lower().split())
    return hashlib.sha256(f"magician\x1f{exercise}\x1f{word}".encode()).hexdigest()[:16]
