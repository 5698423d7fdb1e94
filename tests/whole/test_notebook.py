"""The notebook keeps its form, and what it shows is really compared.

That it runs, offline, and gives its stored outputs is tested by nbval: ``make notebook-test``.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "notebooks" / "01_connect_ai_to_pacs.ipynb"
CELLS = json.loads(PATH.read_text())["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
UNCOMPARED = {"nbval-ignore-output", "nbval-skip"}


def source(cell):
    return "".join(cell["source"])


def number(cell):
    return source(cell).split(":")[0].removeprefix("# Cell ")


def tags(cell):
    return set(cell["metadata"].get("tags", []))


def test_the_cells_have_the_numbers_of_the_article():
    numbers = [number(cell) for cell in CODE]
    assert [name for name in numbers if name.isdecimal()] == [str(i) for i in range(1, 17)]
    lettered = "9b 10a 10b 10c 10d 10e 10f 10g 13b 13d 14c 14d 14e 14f"
    assert set(lettered.split()) <= set(numbers)


def test_at_least_twelve_cells_are_compared_with_what_they_print():
    compared = [
        cell
        for cell in CODE
        if not tags(cell) & UNCOMPARED
        and any(
            output["output_type"] == "stream" or "text/plain" in output["data"]
            for output in cell["outputs"]
        )
    ]
    assert len(compared) >= 12


def test_no_cell_is_skipped():
    assert not any("nbval-skip" in tags(cell) for cell in CODE)


@pytest.mark.parametrize("cell", CODE, ids=number)
def test_a_cell_is_short_and_was_run_in_order(cell):
    assert source(cell).startswith(f"# Cell {number(cell)}: ")
    assert len(source(cell).splitlines()) <= 12
    assert cell["execution_count"] == CODE.index(cell) + 1
    assert cell["outputs"]


@pytest.mark.parametrize("cell", CODE, ids=number)
def test_after_a_cell_stands_what_one_should_see_and_what_if_not(cell):
    after = CELLS[CELLS.index(cell) + 1]
    assert after["cell_type"] == "markdown"
    assert source(after).startswith("**You should see**")
    assert "*If not" in source(after)


def test_a_figure_is_at_most_200_kb_and_the_notebook_at_most_a_megabyte():
    figures = [
        "".join(data)
        for cell in CODE
        for output in cell["outputs"]
        for kind, data in output.get("data", {}).items()
        if kind.startswith("image/")
    ]
    assert len(figures) >= 4
    assert max(len(figure) * 3 / 4 for figure in figures) <= 200_000
    assert PATH.stat().st_size <= 1_000_000


def test_no_widget_state_is_stored():
    assert "widgets" not in json.loads(PATH.read_text())["metadata"]


def stored(name):
    (cell,) = [cell for cell in CODE if number(cell) == name]
    return "".join(
        "".join(output.get("text") or output["data"]["text/plain"]) for output in cell["outputs"]
    )


def test_the_proof_that_is_stored_is_one():
    assert "all 13 checks are ok" in stored("14c")
    assert "NOT" not in stored("14c")


def test_the_stored_outcomes_of_the_validator_are_those_that_the_text_tells_of():
    assert stored("14d").count("0 errors, 0 warnings") == 4
    assert "7 errors, 1 warning" in stored("14e")
    assert stored("14f").endswith("\n7 complaints are left\n")


def test_the_solution_of_the_exercise_leaves_no_complaint(tmp_path):
    from helpers import ct_series, lung_segmentation, truth_labels, write_series

    import magician

    volume = magician.read_series(write_series(ct_series(), tmp_path))
    segmentation = lung_segmentation(volume, truth_labels(list(volume.headers)))
    (exercise,) = [source(cell) for cell in CODE if number(cell) == "14f"]
    (solution,) = [source(cell) for cell in CELLS if "The lines that are missing" in source(cell)]
    lines = solution.split("<pre>\n")[1].split("</pre>")[0]
    names = {
        "careless_overlay": magician.careless_overlay,
        "check_conformance": magician.check_conformance,
    }
    names |= {"volume": volume, "segmentation": segmentation, "print": lambda *arguments, sep: None}
    exec(exercise, names)
    assert len(names["left"]) == 7
    exec(exercise.replace("left = ", f"{lines}left = "), names)
    assert names["left"] == ()


def run_first_cell(folder):
    """Run Cell 1 in a Python of its own that finds what lies in a folder before all else."""
    return subprocess.run(
        [sys.executable, "-c", source(CODE[0])],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_first_cell_finds_the_library(tmp_path):
    result = run_first_cell(tmp_path)
    assert result.stdout == stored("1"), result.stderr


@pytest.mark.parametrize(
    "foreign", ["magician/__init__.py", "magician.py"], ids=["package", "module"]
)
def test_the_first_cell_does_not_take_a_foreign_magician_for_ours(tmp_path, foreign):
    (tmp_path / foreign).parent.mkdir(exist_ok=True)
    (tmp_path / foreign).write_text("")
    result = run_first_cell(tmp_path)
    assert result.returncode == 1
    assert "RuntimeError: Another magician is installed" in result.stderr
    assert "pip uninstall -y magician, then run this" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "place", [".", "notebooks", "notebooks/own"], ids=["in", "below", "two below"]
)
def test_the_first_cell_installs_from_the_folder_of_the_project(place, tmp_path, monkeypatch):
    project = tmp_path / "magician"
    for folder in ("magician", "notebooks/own"):
        (project / folder).mkdir(parents=True)
    (project / "magician" / "errors.py").write_text("")
    monkeypatch.chdir(project / place)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    commands = []
    done = subprocess.CompletedProcess((), 0)
    monkeypatch.setattr(subprocess, "run", lambda command: commands.append(command) or done)
    exec(source(CODE[0]), {})
    assert [(command[1:4], command[-1]) for command in commands] == [
        (["-m", "pip", "install"], project)
    ]


def test_the_first_cell_says_when_it_can_t_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command: subprocess.CompletedProcess((), 1))
    with pytest.raises(RuntimeError, match="put the project beside this notebook"):
        exec(source(CODE[0]), {})


def run_nbval(path):
    sanitize = ROOT / "tests" / "whole" / "sanitize.cfg"
    options = f"--nbval-sanitize-with {sanitize} --nbval-cell-timeout 120 -c {ROOT}/pyproject.toml"
    nbval = ["pytest", "--nbval", "--nbval-current-env", "-x", "-q", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", *nbval, *options.split(), "--rootdir", path.parent, path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "whole" / "offline")}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=300
    )


def mutated(tmp_path, old, new):
    """The notebook up to Cell 6, with one stored output changed."""
    notebook = json.loads(PATH.read_text())
    last = next(
        i for i, cell in enumerate(notebook["cells"]) if source(cell).startswith("# Cell 6:")
    )
    notebook["cells"] = notebook["cells"][: last + 1]
    outputs = json.dumps([cell.get("outputs") for cell in notebook["cells"]])
    assert old in outputs
    for cell, changed in zip(notebook["cells"], json.loads(outputs.replace(old, new)), strict=True):
        if cell["cell_type"] == "code":
            cell["outputs"] = changed
    path = tmp_path / "changed.ipynb"
    path.write_text(json.dumps(notebook))
    return path


def test_the_first_cells_pass_as_they_are(tmp_path):
    result = run_nbval(mutated(tmp_path, "0x0000", "0x0000"))
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [("0x0000 (Success)", "0xA801 (Success)"), ("CT  ", "MR  ")],
    ids=["a status", "a table"],
)
def test_a_changed_output_is_caught(tmp_path, old, new):
    result = run_nbval(mutated(tmp_path, old, new))
    assert result.returncode == 1, result.stdout
    assert "1 failed" in result.stdout


def test_the_offline_guard_lets_nothing_out():
    code = "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "whole" / "offline")}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert "offline: a connection to 192.0.2.1 was attempted" in result.stderr
