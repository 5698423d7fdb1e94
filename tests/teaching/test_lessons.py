"""Lessons: what each starts from, whatever was run before."""

from __future__ import annotations

import ast
import json
import re
import symtable
import time
from pathlib import Path

import numpy as np
import pytest

from magician import (
    PacsUnreachable,
    dice,
    echo,
    find_series,
    find_studies,
    get_study,
    lesson,
    read_series,
    teaching_study,
    verify_round_trip,
)
from magician.teaching import lessons

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("0*.ipynb"))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_lesson_2_starts_from_a_pacs_that_holds_the_patient():
    start = lesson(2, name="Ada")
    try:
        patient = teaching_study(seed="Ada").datasets[0]
        (found,) = find_studies(start.node)
        assert found == start.study
        assert (found.PatientID, found.NumberOfStudyRelatedInstances) == (patient.PatientID, 95)
        assert start.patient.datasets[0].SOPInstanceUID == patient.SOPInstanceUID
        assert list(start.folder.iterdir()) == []
        assert get_study(start.node, start.study.StudyInstanceUID, start.folder).received == 95
        assert repr(start).count("\n") == 0
        assert len(repr(start)) < 300
    finally:
        start.stop()
    assert not start.folder.exists()


def test_lesson_3_starts_from_results_that_are_right():
    before = time.monotonic()
    start = lesson(3)
    try:
        assert time.monotonic() - before < 90
        assert start.target == start.pacs.node
        assert start.volume.hu.shape == start.patient.truth.shape
        assert dice(start.segmentation.labels > 0, start.patient.truth > 0) > 0.95
        assert np.array_equal(read_series(start.folder / "ct").hu, start.volume.hu)
        study = start.patient.datasets[0].StudyInstanceUID
        held = {series.Modality for series in find_series(start.target, study)}
        assert held == {"CT", "SEG", "SR", "OT"}
        assert verify_round_trip(start.target, start.volume, start.results).ok
    finally:
        start.stop()


def test_the_same_lesson_again_starts_afresh():
    first = lesson(2)
    (first.folder / "left.txt").write_text("of the first run")
    second = lesson(2, name="Chen")
    try:
        with pytest.raises(PacsUnreachable, match="In lesson 02, Cell 2.1 starts and fills it"):
            echo(first.node)
        assert list(second.folder.iterdir()) == []
        (found,) = find_studies(second.node)
        assert found.PatientID != first.study.PatientID
    finally:
        second.stop()
    first.stop()  # harmless
    second.stop()


def test_a_lesson_starts_where_the_files_of_a_killed_kernel_lie(tmp_path):
    left = tmp_path / "tutorial-files" / "lesson-02" / "got"
    left.mkdir(parents=True)
    (left / "old.dcm").write_bytes(b"old")
    start = lesson(2)
    try:
        assert start.folder == tmp_path / "tutorial-files" / "lesson-02"
        assert list(start.folder.iterdir()) == []
    finally:
        start.stop()


@pytest.mark.parametrize("wrong", ["2", None, 7, 0, -2, 2.0, True, [2]])
def test_a_lesson_that_there_is_not(wrong):
    with pytest.raises(ValueError, match=r"no lesson .*: write lesson\(2\) or lesson\(3\)"):
        lesson(wrong)


def test_lesson_1_makes_everything_itself():
    with pytest.raises(ValueError, match="Lesson 01 makes everything itself"):
        lesson(1)


@pytest.mark.parametrize("wrong", [None, True, 1.5, "", "  ", ["Ada"]])
def test_a_name_that_is_none(wrong):
    with pytest.raises(ValueError, match="your name in quotes"):
        lesson(2, name=wrong)


# ----------------------------------------------------------------------- the names that cells make


def sources(notebook: Path) -> dict[str, str]:
    """The code of each cell of a notebook, by its label."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return {re.match(r"# Cell ([\w.]+):", code)[1]: code for code in codes}


def names_of(code: str) -> tuple[set[str], set[str]]:
    """The names that the code of a cell makes, without the library's, and those that it uses."""
    python = "\n".join("pass" if line.startswith(("%", "!")) else line for line in code.split("\n"))
    table = symtable.symtable(python, "cell", "exec")
    tree = ast.parse(python)
    caught = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)}
    ours = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "magician"
        for alias in node.names
    }
    made = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    inner = [table, *table.get_children()]
    used = {s.get_name() for t in inner for s in t.get_symbols() if s.is_referenced()}
    local = {s.get_name() for t in inner[1:] for s in t.get_symbols() if s.is_local()}
    return made - ours - caught, used - (local - made)


def cells_that_make(notebook: Path) -> dict[str, str]:
    """The cells of a notebook with the names, sorted, that they make and other cells use."""
    names = {label: names_of(code) for label, code in sources(notebook).items()}
    found: dict[str, str] = {}
    seen: set[str] = set()
    for label, (made, _) in names.items():
        used_elsewhere = set().union(
            *(used for other, (_, used) in names.items() if other != label)
        )
        if label != "1" and (mine := sorted((made & used_elsewhere) - seen)):
            found[label] = " ".join(mine)
            seen |= set(mine)
    return found


def lesson_number(notebook: Path) -> int:
    return int(notebook.name[:2])


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_library_knows_which_cell_makes_a_name(notebook):
    """`python tests/teaching/test_lessons.py` prints the table for lessons.CELLS."""
    assert lessons.CELLS.get(lesson_number(notebook), {}) == cells_that_make(notebook)


def test_a_missing_name_is_explained_by_the_cell_that_makes_it():
    assert lessons.explain_missing_name("volume", "10") == (
        "`volume` is made in Cell 8a, which has not been run to its end since this kernel started. "
        "Run Cells 2 to 8a in order, then this cell again."
    )
    assert "Run Cell 2, then" in lessons.explain_missing_name("np", "10")
    assert "Run Cell 3.1, then" in lessons.explain_missing_name("results", "3.14")
    assert "`from magician import echo`" in lessons.explain_missing_name("echo", "4", ["echo"])


@pytest.mark.parametrize(
    ("name", "label"), [("volum", "10"), ("volume", "8a"), ("volume", "9.2"), ("volume", "x.1")]
)
def test_a_missing_name_that_no_other_cell_makes_is_not_explained(name, label):
    assert lessons.explain_missing_name(name, label) == ""


if __name__ == "__main__":
    print({lesson_number(notebook): cells_that_make(notebook) for notebook in NOTEBOOKS})
