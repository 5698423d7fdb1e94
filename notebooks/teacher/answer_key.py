"""Make the answer key of a class from its names.

    python notebooks/teacher/answer_key.py names.txt > key.txt

The answers of the drills are measured as a learner would, and then examined by the same check as a
learner's: what the key says, the lesson takes. It takes ten to twenty seconds for each name. Keep
the key out of the folder of the learners.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from magician import check, drill, read_segmentation, read_series, save, teaching_study
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
