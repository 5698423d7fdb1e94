"""Every lesson keeps the standards, and each kind of lapse is found and named."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_standards import misspelled, violations, violations_of_a_class_copy

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("0*.ipynb"))

HEAD = """# A lesson

**You will**
- talk to a PACS;
- look at a slice.

**You need** about 30 minutes.

> **Not for diagnosis.**

*November 2026*
"""
AFTER = """**You should see** the same number.

<details><summary><i>If not</i></summary>

Run the cell before this one.
</details>
"""
HOME = "## What to take home\n\n- A number is a number.\n"


def good_lesson():
    """A lesson of four sections, three of them with one cell, that keeps every standard."""
    cells = [new_markdown_cell(HEAD)]
    for number in (1, 2, 3):
        cells.append(new_markdown_cell(f"## {number}. A section ({number * 5} minutes)\n\nWhy.\n"))
        code = (
            f"# Cell 2.{number}: print a number\nvalue_{number} = {number}\nprint(value_{number})"
        )
        output = new_output("stream", name="stdout", text=f"{number}\n")
        cells.append(new_code_cell(code, execution_count=number, outputs=[output]))
        cells.append(new_markdown_cell(AFTER))
    return new_notebook(cells=[*cells, new_markdown_cell(HOME)])


def found_in(notebook, tmp_path, *, rules=violations):
    path = tmp_path / "02_lesson.ipynb"
    nbformat.write(notebook, path)
    return rules(path)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_keeps_the_standards(path):
    assert violations(path) == []


def test_a_lesson_that_keeps_all_of_them_is_not_blamed(tmp_path):
    assert found_in(good_lesson(), tmp_path) == []


# Cells of the good lesson: 0 head; 1, 4 and 7 headings; 2, 5 and 8 code; 3, 6 and 9 what follows
REPLACEMENTS = [
    ("no title", 0, "# A lesson", "A lesson", "title: the lesson starts with one heading"),
    ("two titles", 4, "Why.", "# Another\n", "title: the lesson starts with one heading"),
    ("one goal", 0, "- look at a slice.", "", "goals: after '**You will**'"),
    ("no needs", 0, "**You need** about", "About", "head: '**You need**' is missing"),
    ("no warning", 0, "Not for diagnosis", "Nice", "head: 'Not for diagnosis' is missing"),
    ("no date", 0, "*November 2026*", "", "head: a date such as"),
    ("no minutes", 0, "about 30 minutes", "time", "minutes: the head says '30 minutes'"),
    ("too long", 0, "30 minutes", "60 minutes", "minutes: the head says '30 minutes' to"),
    ("the sum", 4, "10 minutes", "25 minutes", "minutes: the head says 30, and the sections"),
    ("a section's", 7, " (15 minutes)", "", "minutes: the heading '3. A section' does not end"),
    ("twice", 4, "2. A section (10", "1. A section (5", "sections: '1. A section (5 minutes)'"),
    ("key points", 10, "What to take home", "The end", "sections: '## What to take home'"),
    ("no number", 5, "# Cell 2.2: print", "# print", "number: a cell starts with '# print"),
    ("other lesson", 5, "Cell 2.2", "Cell 3.2", "number: a cell starts with '# Cell 3.2"),
    ("same number", 5, "Cell 2.2", "Cell 2.1", "number: two cells are Cell 2.1"),
    ("long cell", 5, "print(", "1\n" * 11 + "print(", "length: Cell 2.2 has 14 lines"),
    ("long line", 5, "a number", "a number" * 13, "length: Cell 2.2 has a line of more"),
    ("bound twice", 8, "value_3", "value_2", "names: 'value_2' is bound in Cell 2.2 and again"),
    ("in a loop", 8, "value_3 = 3", "for value_2 in (3,): pass\nvalue_3 = 3",
     "names: the loop in Cell 2.3 overwrites 'value_2' of Cell 2.2"),
    ("from nowhere", 5, "print(value_2)", "print(value_3)", "names: Cell 2.2 uses 'value_3'"),
    ("no Python", 5, "print(", "print((", "names: Cell 2.2 is no Python"),
    ("nothing to see", 6, "**You should see**", "See", "after: Cell 2.2 is not followed by"),
    ("not folded", 6, "<details>", "", "after: Cell 2.2 has no folded"),
    ("no if not", 6, "If not", "Else", "after: Cell 2.2 has no folded"),
    ("long section", 4, "Why.", "why " * 451, "words: section '2. A section (10 minutes)' has 4"),
    ("long lesson", 0, "> **Not", "why " * 2600 + "> **Not", "words: 26"),
    ("a dead link", 4, "Why.", "[there](other.ipynb)", "link: 'other.ipynb' is not there"),
    ("a dead picture", 4, "Why.", "![Both lungs in a blue colour](images/x.jpg)",
     "link: 'images/x.jpg' is not there"),
    ("no address", 4, "Why.", "[there](https://nowhere)", "link: 'https://nowhere' is no address"),
    ("no heading", 4, "Why.", "[there](#nowhere)", "link: '#nowhere' leads to no heading"),
    ("no alt", 4, "Why.", "![](.)", "alt: . has no sentence"),
    ("alt of a tag", 4, "Why.", '<img src="." alt="Lungs">', "alt: <img src="),
    ("a badge", 0, "> **Not", "[![Open this in Google Colab now](.)](https://colab.research.google."
     "com/github/OWNER/magician)\n> **Not", "badge: a link or a badge leads to an address"),
    ("hard", 4, "Why.", "dciodvfy has its say,\ntoo.", "hard: 'has its say, too' is hard to read"),
    ("a bad repair", 6, "Run the cell", "Add `allow_identified=True`. Run the cell",
     "repair: an 'If not' offers allow_identified"),
    ("misspelled", 4, "Why.", "Recieve Houndsfield units.", "spelling: houndsfield, recieve ("),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "old", "new", "sentence"),
    [case[1:] for case in REPLACEMENTS],
    ids=[case[0] for case in REPLACEMENTS],
)
def test_a_lapse_in_the_text_or_the_code_is_named(cell, old, new, sentence, tmp_path):
    lesson = good_lesson()
    assert old in lesson.cells[cell].source
    lesson.cells[cell].source = lesson.cells[cell].source.replace(old, new)
    found = found_in(lesson, tmp_path)
    assert [x for x in found if x.startswith(sentence)] != [], found


def test_one_import_for_the_whole_lesson_is_named(tmp_path):
    lesson = good_lesson()
    lesson.cells[2].source += "\nfrom magician import echo"
    lesson.cells[5].source += "\necho"
    (sentence,) = found_in(lesson, tmp_path)
    assert sentence == "names: Cell 2.2 takes 'echo' from the import in Cell 2.1"


def test_names_of_loops_functions_and_errors_are_no_data(tmp_path):
    lesson = good_lesson()
    for cell in (2, 5):
        lesson.cells[cell].source += """
def half(x): return x / 2
try: print([i for i in range(2)], half(1), (lambda y: y)(1))
except ValueError as error: print(error)
for i in range(2): print(i)"""
    (sentence,) = found_in(lesson, tmp_path)
    assert sentence == "names: 'half' is bound in Cell 2.1 and again in Cell 2.2"


def test_too_many_cells_are_named(tmp_path):
    lesson = good_lesson()
    for number in range(4, 34):
        code = new_code_cell(f"# Cell 2.{number}: print\nprint(1)", execution_count=number)
        lesson.cells[-1:-1] = [code, new_markdown_cell(AFTER)]
    assert found_in(lesson, tmp_path) == ["cells: 33 code cells, and at most 32"]


def test_a_cell_that_the_tests_skip_is_named(tmp_path):
    lesson = good_lesson()
    lesson.cells[2].metadata["tags"] = ["nbval-skip"]
    assert found_in(lesson, tmp_path) == ["skip: Cell 2.1 is left out of the test"]


def test_outputs_that_were_not_stored_by_one_run_are_named(tmp_path):
    lesson = good_lesson()
    lesson.cells[5].execution_count = 7
    assert found_in(lesson, tmp_path)[0].startswith("order: the stored outputs are not those of")


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (new_output("display_data", {"image/png": "A" * 400_000}), "a figure of Cell 2.1 has more"),
        (new_output("stream", text="1\n" * 61), "Cell 2.1 prints more than 60 lines"),
        (new_output("error", ename="E", evalue="", traceback=[]), "Cell 2.1 ends with an error"),
        (new_output("display_data", {"x/y": "A" * 1_000_000}), "the notebook has more than"),
    ],
    ids=["figure", "text", "error", "notebook"],
)
def test_an_output_that_is_too_large_or_an_error_is_named(output, sentence, tmp_path):
    lesson = good_lesson()
    lesson.cells[2].outputs = [output]
    (found,) = found_in(lesson, tmp_path)
    assert found.startswith(f"output: {sentence}")


def test_a_stored_answer_is_named(tmp_path):
    lesson = good_lesson()
    lesson.cells[2].source += '\nfrom magician import check\ncheck("drill A", who=None)'
    lesson.cells[2].outputs = [new_output("stream", text="drill A: not yet. Fill in who.\n")]
    assert found_in(lesson, tmp_path) == []
    lesson.cells[2].outputs = [new_output("stream", text="drill A: right. The PACS.\n")]
    assert found_in(lesson, tmp_path) == ["answer: Cell 2.1 shows the right answer of a check"]


def test_the_stored_state_of_widgets_is_named(tmp_path):
    lesson = good_lesson()
    lesson.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    sentence = ["output: the state of widgets is stored"]
    assert found_in(lesson, tmp_path) == sentence
    for cell in lesson.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    assert found_in(lesson, tmp_path, rules=violations_of_a_class_copy) == sentence


def test_what_is_stored_in_a_class_copy_is_named(tmp_path):
    lesson = good_lesson()
    lesson.cells[2].outputs, lesson.cells[2].execution_count = [], None
    lesson.cells[5].execution_count = None
    assert found_in(lesson, tmp_path, rules=violations_of_a_class_copy) == [
        "output: Cell 2.2 has a stored output",
        "output: Cell 2.3 has a stored output",
        "output: Cell 2.3 has an execution count",
    ]


def test_words_of_the_field_are_known_and_code_is_no_prose():
    assert misspelled("A DICOM localizer, in Hounsfield units: `qwxz`, StudyDate, colour.") == []
    assert misspelled("A DICOM locallizer, in Hounsfeld units.") == ["hounsfeld", "locallizer"]
