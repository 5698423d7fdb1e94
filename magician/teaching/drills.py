"""What an exercise and a failure drill are: the parts that all of them share.

The exercises themselves stand in `exercises`, `network_drills` and `image_drills`.
"""

from __future__ import annotations

import hashlib
import html
import math
import random
import tempfile
import textwrap
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from magician.ct.volume import CTVolume, read_series
from magician.results.make import Results, make_results, save
from magician.segmentation.lungs import LungSegmentation
from magician.teaching.phantom import teaching_study


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


class Drill:
    """A failure drill that is set up: shown, it tells its symptom.

    A kind of drill gives its letter and its symptom, and sets up in `set_up` what it needs.

    Parameters
    ----------
    name : str
        The learner's name: what is wrong differs a little from learner to learner.

    Attributes
    ----------
    letter : str
    symptom : str
        What a user would report, in plain text; an empty line ends a paragraph.
    """

    letter: ClassVar[str] = ""
    symptom: str = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self._resources = ExitStack()
        try:
            self.set_up(self._resources)
        except BaseException:
            self.stop()
            raise

    def set_up(self, resources: ExitStack) -> None:
        """Start what the drill needs; `resources` ends it again when the drill stops."""
        raise NotImplementedError

    def stop(self) -> None:
        """End what the drill has started and remove its files; harmless when that is done."""
        self._resources.close()

    def __repr__(self) -> str:
        lines = [textwrap.fill(part, 90) for part in self._paragraphs()]
        return "\n".join([f"Drill {self.letter}", *lines])

    def _repr_html_(self) -> str:
        paragraphs = "".join(f"<p>{html.escape(part)}</p>" for part in self._paragraphs())
        return f"<p><b>Drill {html.escape(self.letter)}</b></p>{paragraphs}"

    def _paragraphs(self) -> list[str]:
        return [" ".join(part.split()) for part in self.symptom.split("\n\n")]


STEP = 4  # a drill takes every fourth slice of the patient


class PatientDrill(Drill):
    """A drill on some slices of the learner's patient, with the truth as their mask.

    Attributes
    ----------
    folder : Path
        Where the files of these slices lie, until the drill stops.
    truth : array of uint8, shape (slices, rows, columns)
        As in `TeachingStudy`, for these slices.
    scout : Dataset
        The localizer that is seen from the front.
    """

    def read_ct(self, resources: ExitStack) -> CTVolume:
        """Save every fourth slice in a temporary folder, and read the series."""
        self.folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        study = teaching_study(seed=self.name, progress=False)
        count = len(study.truth)
        self.truth, self.scout = study.truth[::-1][::STEP][::-1], study.datasets[count]
        save(study.datasets[:count:STEP], self.folder, progress=False)
        return read_series(self.folder, progress=False)

    def choose(self, *options):
        """Choose one of several options by the learner's name."""
        return random.Random(f"{self.letter} {self.name}").choice(options)

    def call_a_and_b(self, wrong, right) -> dict:
        """Call two things "A" and "B", and keep in ``_wrong`` which of them is the wrong one."""
        self._wrong = self.choose("A", "B")
        return {letter: wrong if letter == self._wrong else right for letter in ("A", "B")}


def results_of(volume: CTVolume, labels: np.ndarray) -> Results:
    """Return results of labels that no network has made."""
    mask = LungSegmentation(labels, volume.spacing_mm, "drill", "1", "0" * 64, "cpu", "fp32", 0.0)
    return make_results(volume, mask, progress=False)


_running: list[Drill] = []  # one at the most


def start_drill(kind: type[Drill], name: str) -> Drill:
    """Set up a drill; the one that was set up before is stopped."""
    while _running:
        _running.pop().stop()
    _running.append(kind(name))
    return _running[0]


def running_drill(letter: str) -> Drill:
    """Return the drill of this letter that is set up now; `NotYet` if there is none."""
    if not _running or _running[0].letter != letter:
        raise NotYet(
            f'Drill {letter} is not set up now. Run the cell with drill("{letter}") first.'
        )
    return _running[0]


# ------------------------------------------------------------ what examining an answer needs


def require(holds: object, sentence: str) -> None:
    """Raise `NotYet` with a sentence unless something holds."""
    if not holds:
        raise NotYet(sentence)


def number(name: str, value: object) -> float:
    """Return the answer of this name as a number; `NotYet` if it is none."""
    try:
        found = float("nan") if isinstance(value, (str, bool)) else float(value)  # type: ignore
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    require(math.isfinite(found), f"{name} is one number, without quotes and without its unit.")
    return found


def array(name: str, value: object, shape: tuple[int, ...]) -> np.ndarray:
    """Return the answer of this name as an array of numbers of a shape; `NotYet` if it is none.

    The labels of a segmentation are taken out of it.
    """
    found = np.asarray(getattr(value, "labels", value))
    require(found.dtype.kind in "buif", f"{name} is an array of numbers.")
    sentence = f"{name} has the shape {found.shape}, and that of the drill is {shape}"
    require(found.shape == shape, f"{sentence}: work with what the drill holds.")
    return found


def is_letter(name: str, value: object, letter: str) -> bool:
    """Tell whether the answer of this name is a letter, "A" or "B"; `NotYet` if it is neither."""
    found = str(value).strip().upper()
    require(found in ("A", "B"), f'{name} is "A" or "B", in quotes.')
    return found == letter
