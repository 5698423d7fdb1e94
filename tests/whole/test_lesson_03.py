"""Lesson 03: what it shows is right, and its exercise can be solved.

That it runs and gives its stored outputs is tested by nbval, its form by the standards of lessons.
"""

import json
import re
from pathlib import Path

import pytest
from helpers import ct_series, lung_segmentation, truth_labels, write_series

import magician
from magician.teaching.image_drills import DRILLS, EXERCISES
from magician.teaching.predictions import PREDICTIONS

PATH = Path(__file__).resolve().parents[2] / "notebooks" / "03_is_it_right.ipynb"
CELLS = json.loads(PATH.read_text(encoding="utf-8"))["cells"]
CODE = {
    "".join(cell["source"]).split(":")[0].removeprefix("# Cell "): cell
    for cell in CELLS
    if cell["cell_type"] == "code"
}
TEXT = "\n".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")

# What the exercise asks for: one line for each complaint
SOLUTION = """
    image.file_meta.FileMetaInformationVersion = b"\\0\\1"
    image.file_meta.FileMetaInformationGroupLength = 0  # counted when it is written
    image.PixelRepresentation = 0  # pixels without a sign
    image.ConversionType = "WSD"  # made by a workstation
    image.PatientOrientation = ["L", "P"]  # rows run to the patient's left, columns to the back
    image.BodyPartExamined = "CHEST"  # so nobody asks which side
    image.StudyTime = "030400"  # one study has one time
"""


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGICIAN_PROGRESS", str(tmp_path / "progress.json"))


def source(number):
    return "".join(CODE[number]["source"])


def stored(number):
    return "".join(
        "".join(output.get("text") or output["data"]["text/plain"])
        for output in CODE[number]["outputs"]
    )


def cell_with(words):
    (number,) = [number for number in CODE if words in source(number)]
    return number


def test_the_proof_that_is_stored_is_one():
    proof = stored(cell_with("verify_round_trip("))
    assert "all 13 checks are ok" in proof
    assert "NOT" not in proof


def test_the_stored_outcomes_of_the_validator_are_those_that_the_text_tells_of():
    assert stored(cell_with("check_conformance(results.all")).count("0 errors, 0 warnings") == 3
    assert "7 errors, 1 warning" in stored(cell_with("check_conformance(careless_overlay("))
    assert stored(cell_with("repaired = ")).endswith("\n7 complaints are left\n")


@pytest.fixture
def exercise(tmp_path):
    """Run the cell of the exercise, with more lines in its loop; gives the names that it made."""
    volume = magician.read_series(write_series(ct_series(), tmp_path / "ct"))
    segmentation = lung_segmentation(volume, truth_labels(list(volume.headers)))

    def run(lines):
        names = {"volume": volume, "segmentation": segmentation, "print": lambda *words, sep: None}
        exec(
            source(cell_with("repaired = ")).replace("left = ", f"{lines.lstrip(chr(10))}left = "),
            names,
        )
        return names

    return run


def test_the_exercise_begins_with_seven_complaints(exercise):
    assert len(exercise("")["left"]) == 7


def test_the_solution_of_the_exercise_leaves_no_complaint_and_is_right(exercise):
    names = exercise(SOLUTION)
    assert names["left"] == ()
    answer = magician.check("repair", names["repaired"])
    assert answer.ok, answer


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('ConversionType = "WSD"', 'ConversionType = "XYZ"'),
        ('PatientOrientation = ["L", "P"]', 'PatientOrientation = ["X", "Y"]'),
        ("PixelRepresentation = 0", "PixelRepresentation = 1"),
        ('BodyPartExamined = "CHEST"', 'BodyPartExamined = "HEAD"'),
        ("image.PixelRepresentation = 0", "pass"),
    ],
    ids=["conversion", "orientation", "sign", "body", "missing"],
)
def test_a_value_that_is_there_and_wrong_does_not_pass(exercise, right, wrong):
    assert right in SOLUTION
    assert not magician.check("repair", exercise(SOLUTION.replace(right, wrong))["repaired"]).ok


def test_an_exercise_that_nobody_has_worked_on_does_not_pass(exercise):
    assert not magician.check("repair", exercise("")["repaired"]).ok


def test_no_answer_stands_in_the_notebook():
    everything = TEXT + "".join(map(source, CODE))
    for line in SOLUTION.strip().splitlines():
        name, value = line.split("#")[0].split(".")[-1].split(" = ")
        assert not re.search(rf"{name}\s*=\s*{re.escape(value.strip())}", everything)


def test_every_check_is_stored_unanswered():
    checks = [number for number in CODE if re.search(r"(?m)^check\(", source(number))]
    assert len(checks) == 3
    assert all(": not yet. " in stored(number) for number in checks)


def test_every_prediction_is_explained_in_the_library():
    asked = 0
    for number in CODE:
        if "predict(" in source(number):
            names = {}
            exec(source(number).replace("\npredict(", "\nasked = predict("), names)
            known = PREDICTIONS[names["asked"].key]
            assert (names["asked"].question, names["asked"].choices) == (
                known.question,
                known.choices,
            )
            asked += 1
    assert asked >= 4


def test_every_drill_is_in_the_lesson_with_its_lines():
    everything = TEXT + "".join(map(source, CODE))
    for letter in DRILLS:
        assert f'drill("{letter}", name=NAME)' in everything
        assert f'check("drill {letter}", ' in everything
    assert set(EXERCISES) == {f"drill {letter}" for letter in DRILLS}
