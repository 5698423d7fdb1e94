"""Lessons are run from top to bottom, by name, and a page of them needs no kernel."""

import importlib.util
import json
import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run_tutorial(tmp_path, monkeypatch):
    """The script, with a folder of lessons of its own in place of ours."""
    spec = importlib.util.spec_from_file_location(
        "run_tutorial", ROOT / "notebooks" / "run_tutorial.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    where = "import os\nprint(os.environ['MAGICIAN_PROGRESS'])"
    lessons = {"01_first": "# Cell 15: sum\nprint(1 + 1)", "02_second": where, "03_third": "1 / 0"}
    for name, code in lessons.items():
        notebook = new_notebook(cells=[new_markdown_cell("# A lesson"), new_code_cell(code)])
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    monkeypatch.setattr(module, "LESSONS", sorted(tmp_path.glob("0*.ipynb")))
    return module


def outputs(path):
    return json.loads(path.read_text())["cells"][-1]["outputs"]


def test_one_lesson_is_run_and_its_proof_is_printed(run_tutorial, tmp_path, capsys):
    assert run_tutorial.main(["01"]) == 0
    assert capsys.readouterr().out.startswith("2\nwhere to look:   ")
    assert {path.name for path in (tmp_path / "build").iterdir()} == {
        "01_first.ipynb",
        "01_first.html",
    }
    assert outputs(tmp_path / "01_first.ipynb") == []


def test_new_outputs_are_stored_in_the_lesson(run_tutorial, tmp_path):
    assert run_tutorial.main(["--store", "01_first.ipynb"]) == 0
    (output,) = outputs(tmp_path / "01_first.ipynb")
    assert output["text"] == ["2\n"]


def test_the_learners_own_progress_is_left_alone(run_tutorial, tmp_path, monkeypatch):
    monkeypatch.setenv("MAGICIAN_PROGRESS", "mine.json")
    assert run_tutorial.main(["02", "--store"]) == 0
    (output,) = outputs(tmp_path / "02_second.ipynb")
    assert output["text"][0].endswith("progress.json\n")
    assert os.environ["MAGICIAN_PROGRESS"] == "mine.json"


def test_a_cell_that_fails_is_an_error_and_the_others_are_run(run_tutorial, tmp_path, capsys):
    assert run_tutorial.main(["03", "01"]) == 1
    printed = capsys.readouterr()
    assert "ZeroDivisionError" in printed.err
    assert "2\nwhere to look" in printed.out
    assert (tmp_path / "build" / "03_third.html").exists()


def test_a_lesson_that_is_not_there(run_tutorial, capsys):
    with pytest.raises(SystemExit):
        run_tutorial.main(["07"])
    assert "no lesson '07'; the lessons are 01, 02, 03" in capsys.readouterr().err


def test_the_page_shows_a_picture_of_the_pacs_page_and_no_dead_frame(run_tutorial):
    data = {"text/plain": "The web page", "text/html": '<iframe src="http://127.0.0.1:1/">'}
    cell = new_code_cell("page", outputs=[new_output("display_data", data)])
    notebook = new_notebook(cells=[cell])
    (shown,) = run_tutorial.still(notebook).cells[0].outputs
    assert "<iframe" not in shown.data["text/html"]
    assert '<img src="data:image/jpeg;base64,/9j/' in shown.data["text/html"]
    assert 'alt="Two pages of a practice PACS:' in shown.data["text/html"]
    assert notebook.cells[0].outputs[0].data["text/html"].startswith("<iframe")


def test_the_page_keeps_folds_and_pictures(run_tutorial, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "dot.svg").write_text("<svg/>")
    text = "![A dot](images/dot.svg)\n\n<details><summary>If not</summary>\n\nfolded\n\n</details>"
    path = tmp_path / "04_fourth.ipynb"
    notebook = new_notebook(cells=[new_markdown_cell(text), new_code_cell("1")])
    nbformat.write(notebook, path)
    run_tutorial.run(path, store=False)
    page = (tmp_path / "build" / "04_fourth.html").read_text()
    assert "<summary>If not</summary>\n<p>folded</p>\n</details>" in page
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in page


def test_the_page_shows_a_question_whose_buttons_need_a_kernel(run_tutorial):
    widget = "application/vnd.jupyter.widget-view+json"
    data = {"text/plain": "Predict", "text/html": "<p>Predict</p>", widget: {"model_id": "1"}}
    cell = new_code_cell("question", outputs=[new_output("display_data", data)])
    (shown,) = run_tutorial.still(new_notebook(cells=[cell])).cells[0].outputs
    assert set(shown.data) == {"text/plain", "text/html"}
