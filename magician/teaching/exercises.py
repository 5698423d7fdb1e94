"""Exercises: what a learner made is examined, and the answer is a sentence (`check`).

An exercise looks at the artefact: a data set, a mask, what a PACS holds. A right answer of the kind
that one can look up is kept as a salted hash only; a measured one is computed again from the
learner's own study.
"""

from __future__ import annotations

import html
import inspect
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from magician.checks.conformance import check_conformance
from magician.client.find import find_instances, find_series, find_studies
from magician.ct.volume import CTVolume
from magician.errors import MagicianError, StudyNotFound
from magician.node import Node
from magician.results.make import Results
from magician.tables import Table
from magician.teaching import image_drills, network_drills
from magician.teaching.drills import Drill, Exercise, NotYet, array, number, require, start_drill
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
        names = [f"{p}=..." if q.kind is q.KEYWORD_ONLY else p for p, q in form.parameters.items()]
        return Answer(exercise, False, f"Write check({', '.join([repr(exercise), *names])}).")
    if answers and all(value is None for value in answers.values()):
        # as in a notebook that nobody has worked on: it does not count as tried
        return Answer(exercise, False, f"Fill in {_listed(list(answers))}.")
    try:
        answer = Answer(exercise, True, found.examine(*evidence, **answers))
    except (NotYet, MagicianError) as reason:
        answer = Answer(exercise, False, _words_of(reason))
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


# --------------------------------------------------- the exercises of lessons 01 and 03 themselves

LIVER = np.s_[10:18, 236:260, 150:186]  # lies in the liver of every teaching patient
WINDOWS = (40, 400, -600, 1500, 1800)  # centres and widths, no values of tissue
CARELESS_ROOT = "1.2.3.1."
# Which values are true of the careless images, of those that the standard allows
MEANINGS = {
    "PatientOrientation": ([["L", "P"]], "which way do rows and columns run in the patient?"),
    "PixelRepresentation": ([0], "a share of red, green or blue has no sign."),
    "PlanarConfiguration": ([0], "here red, green and blue alternate."),
    "ConversionType": (["WSD", "SYN", "DI"], "nobody has scanned or filmed these images."),
    "BodyPartExamined": (["CHEST", "LUNG", "THORAX", "", None], "that is not what is shown."),
    "Laterality": (["", None], "both lungs are shown."),
}


def _require_patient(volume: object, patient: object) -> None:
    """Raise `NotYet` unless these are the CT and the teaching study of one patient."""
    require(isinstance(volume, CTVolume), "volume is what read_series returns.")
    known = isinstance(patient, TeachingStudy)
    require(known, "patient is missing, or no teaching study: write it after what you examine.")
    own, other = patient.datasets[0].PatientID, volume.headers[0].get("PatientID")
    require(
        not str(other).startswith("LEARNER-"),
        "This CT is a copy under an alias. Take the CT of the patient, as you retrieved it.",
    )
    require(
        own == other and volume.hu.shape == patient.truth.shape,
        f"The CT is of the patient {_words_of(other)}, and your teaching study is of {own}. "
        "Run the lesson again from the cell that makes the patient.",
    )


def _examine_windows(volume, patient, *, liver=None, air=None, consolidation=None) -> str:
    """check("windows", volume, patient, liver=..., air=..., consolidation=...)"""
    _require_patient(volume, patient)
    values = {"liver": liver, "air": air, "consolidation": consolidation}
    values = {name: number(name, value) for name, value in values.items()}
    dense = (patient.truth > 0) & (volume.hu > -30)
    parts = {"liver": volume.hu[LIVER], "air": volume.hu[:, :20], "consolidation": volume.hu[dense]}
    ranges = {name: np.percentile(hu, (2, 98)) + (-15, 15) for name, hu in parts.items()}

    def fits(name, value):
        return ranges[name][0] <= value <= ranges[name][1]

    wrong = [name for name, value in values.items() if not fits(name, value)]
    if not wrong:
        return "Liver and consolidation are about as dense. So no threshold tells them apart."
    require(
        not all(fits(name, value - 1024) for name, value in values.items()),
        "These are stored values. RescaleIntercept makes HU of them: add it.",
    )
    require(
        min(values.values()) < 0 or max(values.values()) > 255,
        "Values from 0 to 255 are grey levels of a picture. Read the HU at the point.",
    )
    for one, other in (("liver", "air"), ("air", "consolidation")):
        exchanged = fits(one, values[other]) and fits(other, values[one])
        require(not exchanged, f"{one} and {other} are exchanged.")
    name, value = wrong[0], values[wrong[0]]
    window = f"{name}: {value:g} is a centre or a width of a window, and not what the tissue has."
    require(value not in WINDOWS, window)
    lung = f"{name}: {value:g} HU is lung, part air and part tissue. Point elsewhere."
    require(not -950 < value < -300, lung)
    side = "low" if value < ranges[name][0] else "high"
    raise NotYet(f"{name}: {value:g} HU is too {side}. Point at its middle, away from any edge.")


def _examine_slice(volume, segmentation, patient=None, *, slice=None) -> str:
    """check("wrong slice", volume, segmentation, patient, slice=...)"""
    _require_patient(volume, patient)
    labels = array("segmentation", segmentation, patient.truth.shape)
    count, chosen = len(labels), number("slice", slice)
    overlap = np.count_nonzero((labels > 0) & (patient.truth > 0))
    ours = 2 * overlap > np.count_nonzero(labels)
    require(ours, "This mask does not lie on the lungs of your patient. Segment its CT again.")
    require(chosen == int(chosen), "slice is a whole number.")
    inside = 1 <= chosen <= count
    require(inside, f"There are {count} slices, counted from 1 at the feet.")
    errors = np.count_nonzero(labels != patient.truth, axis=(1, 2))
    index, large = int(chosen) - 1, errors >= max(1, errors.max() / 3)
    if large[index]:
        ml = errors[index] * np.prod(volume.spacing_mm) / 1000
        return f"In slice {index + 1} the mask is wrong in {ml:.1f} ml. It is one of the worst."
    if index + 1 < count and large[index + 1]:
        raise NotYet("Nearly: did you count from 0? The pictures count from 1 at the feet.")
    require(not large[count - 1 - index], "Did you count from the head? 1 is at the feet.")
    if not errors[index]:
        raise NotYet(f"In slice {index + 1} the mask is right in every voxel. Look at others.")
    raise NotYet(f"In slice {index + 1} little is wrong, in others much more. Look at others.")


def _examine_sent(target, results) -> str:
    """check("sent", target, results)"""
    node = getattr(target, "node", target)
    require(isinstance(node, Node), "target is the node of the PACS that you have sent to.")
    require(isinstance(results, Results), "results are what make_results returns.")
    alias = str(results.seg.PatientName).split("^")[0]
    named = alias.lower() != "putyournamehere"
    require(named, "Write your alias in LEARNER first, and make and send the results again.")
    study = str(results.seg.StudyInstanceUID)
    held = {
        str(instance.SOPInstanceUID)
        for series in find_series(node, study)
        for instance in find_instances(node, study, series.SeriesInstanceUID)
    }
    missing = [one for one in results.all if str(one.SOPInstanceUID) not in held]
    where = f"{node.ae_title} holds"
    if not held:
        try:
            found = find_studies(node, accession_number=str(results.seg.AccessionNumber))
        except StudyNotFound:
            found = []
        others = [one for one in found if str(one.get("PatientID")).startswith("LEARNER-")]
        require(not others, f"{where} results of another name, and none of {alias!r}. Send yours.")
        raise NotYet(f"{where} nothing of {alias!r}. Send the results, and ask again.")
    kinds = ", ".join(sorted({str(one.Modality) for one in missing}))
    only_ct = {one.Modality for one in results.all} - {one.Modality for one in missing} == {"CT"}
    require(not only_ct, f"{where} the CT alone. Send results.all, and not results.ct.")
    count = len(results.all)
    require(not missing, f"{where} {count - len(missing)} of {count} objects. Missing: {kinds}.")
    return f"{where} all {count} objects of {alias!r}."


def _examine_repair(repaired) -> str:
    """check("repair", repaired)"""
    images = repaired if isinstance(repaired, (list, tuple)) else [repaired]
    whole = bool(images) and all(isinstance(one, Dataset) for one in images)
    require(whole, "repaired is the list of images that careless_overlay returns.")
    uids = {str(one.get("SOPInstanceUID")) for one in images}
    require(
        all(uid.startswith(CARELESS_ROOT) for uid in uids),
        "These are not the careless images. Repair what careless_overlay returns.",
    )
    require(len(uids) == 3, "careless_overlay makes three images: examine all of them.")
    complaints = check_conformance(images, progress=False).complaints
    number_left = f"{len(complaints)} complaint{'s are' if len(complaints) > 1 else ' is'} left"
    require(not complaints, f"{number_left}, such as: {''.join(complaints[:1])}.")
    for one in images:
        for keyword, (allowed, why) in MEANINGS.items():
            value = one.get(keyword)
            fits = (list(value) if keyword == "PatientOrientation" else value) in allowed
            require(fits, f"{keyword} is {value!s}: {why}")
    return "The values are right, too. Still, these images belong to a patient whom nobody knows."


EXERCISES: dict[str, Exercise] = {
    "windows": Exercise(1, "Read the HU of liver, air and consolidation", _examine_windows),
    "wrong slice": Exercise(1, "Find a slice where the mask is wrong", _examine_slice),
    "sent": Exercise(1, "Have your results held by the second PACS", _examine_sent),
    "repair": Exercise(3, "Repair images that were made carelessly", _examine_repair),
}
