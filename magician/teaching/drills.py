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

from magician.client.retrieve import Retrieval
from magician.ct.volume import CTVolume, read_series
from magician.practice_pacs.pacs import PracticePacs
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
    layer, who : str
        The hashes of the layer at which a connection stops, and of who must change something.
    wrong : dict of str
        What is said of a wrong layer or side.
    symptom : str
        What a user would report, in plain text; an empty line ends a paragraph.
    """

    letter: ClassVar[str] = ""
    layer: ClassVar[str] = ""
    who: ClassVar[str] = ""
    wrong: ClassVar[dict[str, str]] = {}
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

    def choose(self, *options):
        """Choose one of several options by the learner's name."""
        return random.Random(f"{self.letter} {self.name}").choice(options)

    def call_a_and_b(self, wrong, right) -> dict:
        """Call two things "A" and "B", and keep in ``_wrong`` which of them is the wrong one."""
        self._wrong = self.choose("A", "B")
        return {letter: wrong if letter == self._wrong else right for letter in ("A", "B")}

    def __repr__(self) -> str:
        lines = [textwrap.fill(part, 90) for part in self._paragraphs()]
        return "\n".join([f"Drill {self.letter}", *lines])

    def _repr_html_(self) -> str:
        paragraphs = "".join(f"<p>{html.escape(part)}</p>" for part in self._paragraphs())
        return f"<p><b>Drill {html.escape(self.letter)}</b></p>{paragraphs}"

    def _paragraphs(self) -> list[str]:
        return [" ".join(part.split()) for part in self.symptom.split("\n\n")]


STEP = 4  # a drill takes every fourth slice of the patient
FEW = 12  # a drill of the network takes so many of its images


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


class NetworkDrill(Drill):
    """A drill with the learner's study in a practice PACS.

    Attributes
    ----------
    pacs : PracticePacs
    node : Node
    study_instance_uid : str
    folder : Path
        An empty folder, until the drill stops.
    images : list of Dataset
        What the PACS holds, or is to hold.
    """

    def start(
        self, resources: ExitStack, title: str, *, count: int = FEW, empty: bool = False, **options
    ) -> None:
        """Start the PACS, and put so many images of the learner's study into it, or none."""
        self.folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        self.images = teaching_study(seed=self.name, progress=False).datasets[:count]
        self.study_instance_uid = str(self.images[0].StudyInstanceUID)
        self.pacs = resources.enter_context(PracticePacs(ae_title=title, **options))
        self.pacs.add([] if empty else self.images)
        self.node = self.pacs.node

    def require_retrieved(self, name: str, value: object, folder: Path) -> None:
        """Raise `NotYet` unless `value` is a complete retrieve of the study into a folder."""
        known = isinstance(value, Retrieval)
        require(known, f"{name} is what get_study or move_study returns, after the repair.")
        count = len(self.images)
        require(
            value.received == count and len(value.paths) == count,
            f"{name} has {value.received} objects, and the PACS of this drill holds {count}.",
        )
        wanted = {folder / f"{image.SOPInstanceUID}.dcm" for image in self.images}
        here = set(value.paths) == wanted and all(path.exists() for path in wanted)
        require(here, f"{name} lies elsewhere: retrieve the study of this drill into its folder.")


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


# The layers and sides that `diagnose` names, and what else learners write for them
LAYERS = {
    "host name": "host dns",
    "TCP": "tcp/ip port connection socket",
    "association": "associate acse title titles",
    "presentation contexts": "presentation context contexts negotiation",
    "C-ECHO": "echo",
    "C-FIND": "find query",
    "C-GET": "get",
    "C-MOVE": "move",
    "C-STORE": "store",
}
SIDES = {"we": "us i me our", "the PACS": "pacs archive vendor", "the network": "network firewall"}
# What is said of a wrong word where a drill has no sentence for it
OTHER_LAYER = "The layer is another one: on which row does it show, and what still works below?"
OTHER_SIDE = "Somebody else must change something. Who decides what goes wrong here?"


def word_of(name: str, value: object, known: dict[str, str]) -> str:
    """Return the one of the known words that a learner means; `NotYet` if it is none."""
    text = " ".join(str(value).lower().translate(str.maketrans("-_,", "   ")).split()).strip(". ")
    parts = set(text.split())
    found = [
        word
        for word, others in known.items()
        if text in (word.lower().replace("-", " "), word.lower().replace("-", ""))
        or parts & {word.lower(), *others.split()}
    ]
    listed = ", ".join(f'"{word}"' for word in known)
    require(len(found) == 1, f"{name} is one of {listed}.")
    return found[0]


def judge(drill: Drill, layer: object, *who: object) -> None:
    """Raise `NotYet` unless layer, and side if it is asked for, are the right ones."""
    for name, value, known, digest, other in (
        ("layer", layer, LAYERS, drill.layer, OTHER_LAYER),
        *(("who", side, SIDES, drill.who, OTHER_SIDE) for side in who),
    ):
        word = word_of(name, value, known)
        right = is_answer(f"drill {drill.letter} {name}", word, digest)
        require(right, drill.wrong.get(word, other))
