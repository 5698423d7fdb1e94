"""Make the answer key of a class from its names.

    python notebooks/teacher/answer_key.py names.txt > key.txt

The answers of the drills are measured as a learner would, and then examined by the same check as a
learner's: what the key says, the lesson takes. It takes about a minute for each name. Keep the key
out of the folder of the learners.
"""

import os
import sys
import tempfile
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless

from magician import (
    Receiver,
    check,
    diagnose,
    drill,
    find_studies,
    get_study,
    move_study,
    read_segmentation,
    read_series,
    save,
    segment_lungs,
    store,
    teaching_study,
)
from magician.errors import IncompleteRetrieve, MagicianError, UnknownMoveDestination
from magician.teaching.classroom import LearnersStudy, learners_studies, read_names
from magician.teaching.exercises import LIVER


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        studies = learners_studies(read_names(Path(arguments[0])))
    except MagicianError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        # the teacher's own table of progress is left alone
        os.environ["MAGICIAN_PROGRESS"] = str(Path(folder) / "progress.json")
        for study in studies:
            for what, answer in answers_of(study).items():
                print(f"{study.name}\t{what}\t{answer}", flush=True)
    return 0


def answers_of(study: LearnersStudy) -> dict[str, str]:
    """Measure what this learner is asked for, and let the checks examine it."""
    patient = teaching_study(
        seed=study.name, accession_number=study.accession_number, progress=False
    )
    answers = {
        "accession number": study.accession_number,
        "patient": str(patient.datasets[0].PatientName),
    }
    with tempfile.TemporaryDirectory() as folder:
        save(patient.datasets, folder, progress=False)
        volume = read_series(folder, progress=False)
    ml = np.prod(volume.spacing_mm) / 1000
    for label, side in ((1, "right"), (2, "left")):
        answers[f"true volume, {side} lung"] = f"{(patient.truth == label).sum() * ml:.0f} ml"
    answers |= _windows(volume, patient)
    answers["wrong slice"] = _wrong_slice(volume, patient)
    for letter, solve in DRILLS.items():
        answers[f"drill {letter}"] = solve(study.name)
    return answers


def _windows(volume, patient) -> dict[str, str]:
    dense = volume.hu[(patient.truth > 0) & (volume.hu > -30)]
    parts = {"liver": volume.hu[LIVER], "air": volume.hu[:, :20], "consolidation": dense}
    values = {part: round(float(np.median(hu))) for part, hu in parts.items()}
    right = check("windows", volume, patient, **values).ok
    return {f"{part}, about": _taken(right, "windows", f"{hu} HU") for part, hu in values.items()}


def _wrong_slice(volume, patient) -> str:
    segmentation = segment_lungs(volume, progress=False)
    errors = np.count_nonzero(segmentation.labels != patient.truth, axis=(1, 2))
    worst = sorted(int(index) + 1 for index in np.argsort(errors)[-5:])
    good = [one for one in worst if 3 * errors[one - 1] >= errors.max()]
    right = all(check("wrong slice", volume, segmentation, patient, slice=one).ok for one in good)
    return _taken(right, "wrong slice", f"such as {', '.join(map(str, good))}")


def _drill_a(name: str) -> str:
    task = drill("A", name=name)
    title = task.node.local_ae_title
    task.administrator_allows(title)
    right = check("drill A", find_studies(task.node), layer="C-FIND", who="the PACS").ok
    task.stop()
    return _taken(right, "drill A", f"C-FIND; the PACS enters our title {title}")


def _drill_b(name: str) -> str:
    task = drill("B", name=name)
    unknown, moved = None, {}
    for letter in "AB":
        with Receiver(task.folder / letter, ae_title=task.titles[letter]) as receiver:
            try:
                move_study(task.node, task.study_instance_uid, receiver, progress=False)
            except UnknownMoveDestination:
                unknown = letter
            except IncompleteRetrieve:
                pass  # the other one: success, and the images went to the wrong address
            task.pacs.know(receiver.node)
            moved[letter] = move_study(task.node, task.study_instance_uid, receiver, progress=False)
    right = check("drill B", moved, unknown=unknown, layer="C-MOVE", who="the PACS").ok
    task.stop()
    return _taken(right, "drill B", f"{unknown} is unknown; C-MOVE; the PACS enters both addresses")


def _drill_c(name: str) -> str:
    task = drill("C", name=name)
    missing = None
    try:
        get_study(task.node, task.study_instance_uid, task.folder, progress=False)
    except IncompleteRetrieve as error:
        missing = str(error.missing[0])
    again = get_study(task.node, task.study_instance_uid, task.folder, progress=False)
    right = check("drill C", again, missing=missing, layer="C-GET", who="the PACS").ok
    task.stop()
    return _taken(right, "drill C", f"{missing}; C-GET; the PACS")


def _drill_d(name: str) -> str:
    task = drill("D", name=name)
    try:
        for letter, other in ("AB", "BA"):
            air = float(np.median(task.inputs[letter].hu[:, :20]))
            if check("drill D", wrong=letter, air=air, mask=task.masks[other]).ok:
                return f"input {letter} is wrong, its air is {air:.0f}; the mask is that of {other}"
    finally:
        task.stop()
    raise MagicianError("drill D: no answer is taken.")


def _drill_e(name: str) -> str:
    task = drill("E", name=name)
    try:
        for letter in "AB":
            labels = read_segmentation(task.results[letter].seg, task.volume)
            x = (task.volume.affine @ [*np.argwhere(labels == 1).mean(axis=0), 1])[0]
            for side in ("left", "right"):
                if check("drill E", mirrored=letter, x_mm=float(x), side=side).ok:
                    return f"result {letter}; its right lung is at x = {x:.1f} mm: {side}"
    finally:
        task.stop()
    raise MagicianError("drill E: no answer is taken.")


def _drill_f(name: str) -> str:
    task = drill("F", name=name)
    found = {letter: diagnose(node) for letter, node in task.nodes.items()}
    letter = next(key for key, one in found.items() if "firewall" in one.stopped_at.seen)
    right = check("drill F", found[letter], letter=letter, layer="TCP", who="the network").ok
    task.stop()
    return _taken(right, "drill F", f"{letter} is perhaps not down; TCP; the network")


def _drill_g(name: str) -> str:
    task = drill("G", name=name)
    title = task.mail.removeprefix("Our AE title is ").split(",")[0]
    right = check("drill G", replace(task.node, ae_title=title), layer="association", who="we").ok
    task.stop()
    return _taken(right, "drill G", f"association; we write {title}, letter by letter")


def _drill_h(name: str) -> str:
    task = drill("H", name=name)
    offered = diagnose(task.node)["C-GET"].outcome != "not offered"
    missing = "role" if offered else "context"
    with Receiver(task.folder) as receiver:
        task.pacs.know(receiver.node)
        moved = move_study(task.node, task.study_instance_uid, receiver, progress=False)
    right = check("drill H", moved, missing=missing, layer="presentation contexts").ok
    task.stop()
    return _taken(right, "drill H", f"{missing}; presentation contexts; C-MOVE brings the images")


def _drill_i(name: str) -> str:
    task = drill("I", name=name)
    syntax = task.images[0].file_meta.TransferSyntaxUID.name
    task.images[0].compress(JPEGLSLossless, generate_instance_uid=False)
    store(task.node, task.images, progress=False)
    right = check("drill I", syntax=syntax, layer="presentation contexts").ok
    task.stop()
    return _taken(right, "drill I", f"{syntax}; presentation contexts; compress to JPEG-LS")


def _drill_k(name: str) -> str:
    task = drill("K", name=name)
    slope, intercept = float(task.image.RescaleSlope), float(task.image.RescaleIntercept)
    right = check("drill K", hu=task.values.astype(float) * slope + intercept).ok
    task.stop()
    return _taken(right, "drill K", f"HU = {slope:g} x value + ({intercept:g})")


def _drill_l(name: str) -> str:
    task = drill("L", name=name)
    headers = [dcmread(path, stop_before_pixels=True) for path in task.folder.iterdir()]
    heights = sorted(float(one.ImagePositionPatient[2]) for one in headers)
    step = task.step_mm
    # the highest is that of the localizer
    lower = next(z for z, above in pairwise(heights[:-1]) if above - z > 1.5 * step)
    off = 100 * ((heights[-1] - heights[0]) / (len(heights) - 1) / step - 1)
    right = check("drill L", missing_mm=lower + step, off_percent=off).ok
    task.stop()
    return _taken(
        right, "drill L", f"missing at z = {lower + step:g} mm; volumes {off:.1f} % too large"
    )


def _drill_m(name: str) -> str:
    task = drill("M", name=name)
    keywords = ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID")
    keyword = next(one for one in keywords if task.result.get(one) != task.ct.get(one))
    setattr(task.result, keyword, task.ct.get(keyword))
    right = check("drill M", attribute=keyword, repaired=task.result).ok
    task.stop()
    return _taken(right, "drill M", f"{keyword} is wrong")


def _drill_n(name: str) -> str:
    task = drill("N", name=name)
    task.pacs.start()
    for first, second in task.jobs.values():
        for run in (first, second):
            store(task.node, run, progress=False)
    uids = {key: [run[0].SOPInstanceUID for run in runs] for key, runs in task.jobs.items()}
    letter = next(key for key, (first, second) in uids.items() if first != second)
    right = check("drill N", doubled=letter, held=6).ok
    task.stop()
    return _taken(right, "drill N", f"{letter} has doubled its results; 6 objects are held")


def _drill_o(name: str) -> str:
    task = drill("O", name=name)
    number = next(word for word in repr(task).replace(".", " ").split() if "MRN" in word)
    cleaned, places = deepcopy(task.objects), []
    for one in cleaned:
        for element in one.iterall():
            if element.VR != "SQ" and number in str(element.value):
                places.append(f"{element.tag} {element.name} of the {one.Modality}")
                element.value = str(element.value).replace(number, "")
    right = check("drill O", cleaned=cleaned).ok
    task.stop()
    return _taken(right, "drill O", f"{number} is in {' and '.join(places)}")


def _taken(right: bool, exercise: str, answer: str) -> str:
    if not right:
        raise MagicianError(f"{exercise}: the check does not take {answer!r}.")
    return answer


DRILLS = {
    "A": _drill_a,
    "B": _drill_b,
    "C": _drill_c,
    "D": _drill_d,
    "E": _drill_e,
    "F": _drill_f,
    "G": _drill_g,
    "H": _drill_h,
    "I": _drill_i,
    "K": _drill_k,
    "L": _drill_l,
    "M": _drill_m,
    "N": _drill_n,
    "O": _drill_o,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
