"""Lesson 01 follows the article, its first cell finds the library, and what it shows is compared.

What every lesson keeps is tested in `test_notebook_standards`. That it runs, offline, and gives its
stored outputs is tested by nbval: ``make notebook-test``.
"""

import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from magician.teaching.predictions import PREDICTIONS

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
    assert {"3a", "6a", "7b", "8a", "9b", "10a", "10b", "10c", "13b", "13c"} <= set(numbers)


def test_a_learner_predicts_and_is_checked():
    asked = [source(cell) for cell in CODE]
    assert sum("predict(" in cell for cell in asked) >= 3
    assert sum("check(" in cell for cell in asked) >= 3


def test_each_prediction_asks_what_the_library_explains():
    for cell in [source(cell) for cell in CODE if "predict(" in source(cell)]:
        names = {}
        exec(cell.replace("\npredict(", "\nasked = predict("), names)
        asked = names["asked"]
        known = PREDICTIONS[asked.key]
        assert (asked.question, asked.choices) == (known.question, known.choices)


def run_cell(name, **names):
    """Run one cell with these names in the notebook; returns what it prints."""
    (cell,) = [source(one) for one in CODE if number(one) == name]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(cell, names)
    return printed.getvalue()


@pytest.mark.parametrize("patient_id", ["PHANTOM-1", "PHANTOM-2"], ids=["the same", "another"])
def test_the_mask_is_compared_with_the_truth_of_its_own_patient_only(patient_id):
    labels = np.array([[[0, 1], [1, 2]]], np.uint8)
    segmentation = SimpleNamespace(labels=labels, spacing_mm=(1.0, 1.0, 1.0))
    volume = SimpleNamespace(headers=[SimpleNamespace(PatientID=patient_id)])
    made = SimpleNamespace(
        datasets=[SimpleNamespace(PatientID="PHANTOM-1")], truth=np.where(labels == 2, 0, labels)
    )
    printed = run_cell("10b", volume=volume, segmentation=segmentation, patient=made)
    if patient_id == "PHANTOM-1":
        assert "right: agreement with the truth (Dice) at least 0.95: True" in printed
        assert "left: agreement with the truth (Dice) at least 0.95: False" in printed
    else:
        assert "of another patient than that of Cell 3a" in printed
        assert "Dice" not in printed


@pytest.mark.parametrize(
    ("gpu", "first", "asked"),
    [(False, "cpu", []), (True, "cuda", ["cpu"]), (True, "cpu", ["cuda"])],
    ids=["no GPU", "a GPU", "a GPU that Cell 10 has not used"],
)
def test_the_network_runs_once_on_each_device_and_the_masks_are_compared(
    gpu, first, asked, monkeypatch
):
    import torch

    import magician

    ran = []

    def segment(volume, *, device):
        ran.append(device)
        labels = np.array([0, 0, 1, 2], np.uint8)
        return SimpleNamespace(device=device, seconds=1.0, precision="fp32", labels=labels)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(magician, "segment_lungs", segment, raising=False)
    before = SimpleNamespace(
        device=first, seconds=2.0, precision="bf16", labels=np.array([0, 1, 1, 2], np.uint8)
    )
    lines = run_cell("10a", volume=None, segmentation=before, np=np).splitlines()
    assert ran == asked
    assert f"{first}: 2.0 s in bf16, 100.00% of voxels as above" in lines
    others = [f"{one}: 1.0 s in fp32, 75.00% of voxels as above" for one in asked]
    assert sorted(lines) == sorted([*others, f"{first}: 2.0 s in bf16, 100.00% of voxels as above"])


def test_the_window_has_the_names_of_the_article():
    (cell,) = [source(cell) for cell in CODE if number(cell) == "9"]
    assert "WC, WW = 40, 400" in cell
    assert "center=WC, width=WW" in cell


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


@pytest.mark.parametrize(
    ("figure", "cell"), [("1", "9"), ("3", "10c")], ids=["montage", "lungs in blue"]
)
def test_a_figure_of_the_article_has_its_counterpart(figure, cell):
    (made,) = [one for one in CODE if number(one) == cell]
    after = source(CELLS[CELLS.index(made) + 1])
    assert f"Figure {figure}" in " ".join(after.split())
    (output,) = made["outputs"]
    assert re.search(r'<img [^>]*alt="[^"]{30,}"', "".join(output["data"]["text/html"]))


def test_the_second_figure_of_the_article_has_its_counterpart_where_no_kernel_runs():
    (cell,) = [source(one) for one in CELLS if "Figure 2" in source(one)]
    picture = re.search(r"!\[[^]]{30,}\]\((images/[^)]+)\)", cell)
    assert (PATH.parent / picture[1]).exists()


def test_no_widget_state_is_stored():
    assert "widgets" not in json.loads(PATH.read_text())["metadata"]


def stored(name):
    (cell,) = [cell for cell in CODE if number(cell) == name]
    return "".join(
        "".join(output.get("text") or output["data"]["text/plain"]) for output in cell["outputs"]
    )


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
    ("project", "notebook"),
    [
        ("magician", "magician"),
        ("magician", "magician/notebooks"),
        ("magician", "magician/notebooks/own"),
        ("magician-main", "magician-main/notebooks"),
        ("magician-main/magician-main", "magician-main"),
        ("magician-main", "."),
        ("magician-main", "notebooks"),
        ("magician-1.2/magician-1.2", "."),
    ],
    ids=[
        "the notebook in it",
        "the notebook below",
        "two below",
        "unpacked zip, the notebook below",
        "a folder of the zip's name around",
        "the unpacked zip beside",
        "the unpacked zip beside the notebook's folder",
        "zip of a version, in a folder of its own",
    ],
)
def test_the_first_cell_installs_from_the_folder_of_the_project(
    project, notebook, tmp_path, monkeypatch
):
    for folder in (f"{project}/magician", f"{project}/notebooks", notebook):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / project / "magician" / "errors.py").write_text("")
    monkeypatch.chdir(tmp_path / notebook)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    commands = []
    done = subprocess.CompletedProcess((), 0)
    monkeypatch.setattr(subprocess, "run", lambda command: commands.append(command) or done)
    exec(source(CODE[0]), {})
    assert [(command[1:4], command[-1]) for command in commands] == [
        (["-m", "pip", "install"], tmp_path / project)
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
    environment["TQDM_DISABLE"] = "1"
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
