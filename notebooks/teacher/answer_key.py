"""Make the answer key of a class from its names.

    python notebooks/teacher/answer_key.py names.txt > key.txt

The answers of the drills are measured as a learner would, and then examined by the same check as a
learner's: what the key says, the lesson takes. It takes about twenty seconds for each name. Keep
the key out of the folder of the learners.
"""

import os
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydicom import dcmread

from magician import check, drill, read_segmentation, read_series, save, store, teaching_study
from magician.errors import MagicianError
from magician.teaching.classroom import LearnersStudy, learners_studies, read_names


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
    dense = volume.hu[(patient.truth > 0) & (volume.hu > -300)]
    answers["air around the patient"] = f"{np.median(volume.hu[:, :20]):.0f} HU"
    answers["consolidation, about"] = f"{np.median(dense):.0f} HU"
    answers["drill D"] = _drill_d(study.name)
    answers["drill E"] = _drill_e(study.name)
    answers["drill K"] = _drill_k(study.name)
    answers["drill L"] = _drill_l(study.name)
    answers["drill M"] = _drill_m(study.name)
    answers["drill N"] = _drill_n(study.name)
    return answers


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


def _drill_k(name: str) -> str:
    task = drill("K", name=name)
    slope, intercept = float(task.image.RescaleSlope), float(task.image.RescaleIntercept)
    right = check("drill K", hu=task.values.astype(float) * slope + intercept).ok
    task.stop()
    return _taken(right, "K", f"HU = {slope:g} x value + ({intercept:g})")


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
    return _taken(right, "L", f"missing at z = {lower + step:g} mm; volumes {off:.1f} % too large")


def _drill_m(name: str) -> str:
    task = drill("M", name=name)
    keywords = ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID")
    keyword = next(one for one in keywords if task.result.get(one) != task.ct.get(one))
    setattr(task.result, keyword, task.ct.get(keyword))
    right = check("drill M", attribute=keyword, repaired=task.result).ok
    task.stop()
    return _taken(right, "M", f"{keyword} is wrong")


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
    return _taken(right, "N", f"{letter} has doubled its results; 6 objects are held")


def _taken(right: bool, letter: str, answer: str) -> str:
    if not right:
        raise MagicianError(f"drill {letter}: the check does not take {answer!r}.")
    return answer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
