"""What a class gets: unpacked in an empty folder, and used as the README there says."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from notebook_standards import misspelled, violations_of_a_class_copy

from magician.practice_pacs.pacs import PracticePacs
from magician.teaching.exercises import all_exercises
from magician.teaching.phantom import teaching_study

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("0*.ipynb"))
TEACHER = ROOT / "notebooks" / "teacher"
NAMES = ["Ada", "Ben", "Chen"]


def script(path):
    """A script of the notebooks folder, as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "notebooks" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The zip for three learners, unpacked in an empty folder."""
    made = tmp_path_factory.mktemp("made")
    names = made / "names.txt"
    names.write_text("\n".join(NAMES))
    assert script("make_class.py").main(["--names", str(names), "--to", str(made / "class")]) == 0
    folder = tmp_path_factory.mktemp("room")
    with zipfile.ZipFile(made / "class.zip") as archive:
        archive.extractall(folder)
    return folder / "class"


@pytest.fixture(scope="module")
def installed(unpacked, tmp_path_factory):
    """The variables with which Python finds the wheel of the class, and not this checkout."""
    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = unpacked.glob("*.whl")
    options = [
        "--no-index",
        "--no-deps",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--quiet",
    ]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", folder, wheel]
    subprocess.run(command, check=True, timeout=120)
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def test_every_lesson_is_there_and_tells_no_answer(unpacked):
    copies = sorted(unpacked.glob("*.ipynb"))
    assert [path.name for path in copies] == [path.name for path in LESSONS]
    assert {path.name: violations_of_a_class_copy(path) for path in copies} == {
        path.name: [] for path in LESSONS
    }


def test_every_picture_of_the_lessons_is_there(unpacked):
    text = "".join(path.read_text(encoding="utf-8") for path in unpacked.glob("*.ipynb"))
    shown = set(re.findall(r"\]\((images/[^)]+)\)", text))
    assert shown
    assert [name for name in shown if not (unpacked / name).is_file()] == []


def test_no_file_of_the_teacher_is_there(unpacked):
    names = {path.name for path in unpacked.rglob("*")}
    assert not names & {"teacher", "answer_key.py", "lesson_plans.md"}


def test_the_names_sheet_agrees_with_the_studies_that_the_class_server_makes(unpacked):
    rows = (unpacked / "names_sheet.txt").read_text().splitlines()[1:]
    assert [row.split()[0] for row in rows] == NAMES
    name, number, patient = re.split(r" {2,}", rows[0])
    image = teaching_study(seed=name, accession_number=number, progress=False).datasets[0]
    assert str(image.PatientName) == patient


def test_the_readme_names_the_wheel_the_lessons_and_the_server(unpacked):
    text = (unpacked / "README.txt").read_text(encoding="utf-8")
    (wheel,) = unpacked.glob("*.whl")
    assert f"pip install {wheel.name} jupyterlab" in text
    assert all(path.name in text for path in LESSONS)
    server = "python -m magician pacs --folder class-files --studies-from names.txt --web"
    assert server in text
    for name in ("start_class_server.sh", "start_class_server.bat"):
        assert server in (unpacked / name).read_text()
    assert "{" not in text


def test_the_start_line_of_the_server_is_understood(unpacked, installed):
    """It is started on a free port, for one learner, and asked to stop when it is ready."""
    text = (unpacked / "README.txt").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ +(python -m magician pacs .*)$", text, re.MULTILINE)
    (unpacked / "names.txt").write_text("Ada\n")
    command = [sys.executable, *line.split()[1:], "0", "--port", "0"]
    environment = os.environ | installed
    with subprocess.Popen(
        command, cwd=unpacked, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            printed = ""
            for line in process.stdout:
                printed += line
                if "Ready" in line:
                    break
        finally:
            process.kill()
    assert "Ready" in printed
    assert (unpacked / "names_sheet.txt").read_text().split("\n")[1].split()[1] in printed


def test_the_first_eight_cells_work_from_the_unpacked_folder(unpacked, installed, tmp_path):
    notebook = nbformat.read(unpacked / LESSONS[0].name, as_version=4)
    end = next(i for i, cell in enumerate(notebook.cells) if cell.source.startswith("# Cell 8a"))
    notebook.cells = notebook.cells[:end]
    notebook.cells[-1:] = [nbformat.v4.new_code_cell("import magician\nprint(magician.__file__)")]
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(unpacked)}})
    progress = {"MAGICIAN_PROGRESS": str(tmp_path / "progress.json")}
    client.execute(env=os.environ | installed | progress)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[-1].outputs[0].text.startswith(installed["PYTHONPATH"])
    (table,) = [cell.outputs for cell in code if cell.source.startswith("# Cell 8:")]
    assert "93" in str(table)


def test_a_folder_of_somebody_else_is_not_emptied(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert script("make_class.py").main(["--to", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_names_file_without_names(tmp_path, capsys):
    (tmp_path / "names.txt").write_text("\n\n")
    assert script("make_class.py").main(["--names", str(tmp_path / "names.txt")]) == 2
    assert "holds no name" in capsys.readouterr().err


def test_the_answer_key_has_a_row_for_each_question_of_each_name(tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("Ada\n")
    assert script("teacher/answer_key.py").main([str(names)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {row[0] for row in rows} == {"Ada"}
    answers = {row[1]: row[2] for row in rows}
    assert re.fullmatch(r"\d{8}", answers["accession number"])
    exercises = {one for one in all_exercises() if one.startswith("drill ")}
    assert exercises | {"liver, about", "wrong slice"} <= set(answers)
    assert re.match(r"input [AB] is wrong, its air is -?\d+", answers["drill D"])
    assert re.fullmatch(r"such as \d+(, \d+)*", answers["wrong slice"])
    assert re.match(r"[AB] is unknown; C-MOVE", answers["drill B"])
    assert re.match(r"result [AB]; its right lung is at x = -?[\d.]+ mm", answers["drill E"])


def test_a_room_in_which_thirty_learners_reach_the_server(capsys):
    with PracticePacs(ae_title="CLASS") as pacs:
        assert script("teacher/check_room.py").main([f"127.0.0.1:{pacs.node.port}"]) == 0
    printed = capsys.readouterr().out
    assert "echoes at once: 30 of 30" in printed
    assert "one echo: median " in printed
    assert printed.endswith("ready\n")


def test_a_room_in_which_the_server_has_another_title(capsys):
    with PracticePacs(ae_title="OTHER") as pacs:
        assert script("teacher/check_room.py").main([f"127.0.0.1:{pacs.node.port}"]) == 1
    printed = capsys.readouterr().out
    assert "echoes at once: 0 of 30" in printed
    assert "Called AE title not recognised" in printed


def test_a_port_that_is_taken_and_one_where_nothing_listens(capsys):
    check_room = script("teacher/check_room.py")
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        assert check_room.main([str(port)]) == 1
    assert check_room.main([f"127.0.0.1:{port}"]) == 1
    printed = capsys.readouterr().out
    assert f"port {port}: not free" in printed
    assert f"127.0.0.1:{port}: refused" in printed


@pytest.mark.parametrize("argument", ["classroom", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_that_is_none(argument, capsys):
    assert script("teacher/check_room.py").main([argument]) == 2
    assert "is no port and no host:port" in capsys.readouterr().out


def test_the_sheets_are_drawn_as_they_are_stored():
    sheets = script("teacher/draw_sheets.py")
    assert (TEACHER / "map.svg").read_text(encoding="utf-8") == sheets.draw_map()
    assert (TEACHER / "c_move_cards.svg").read_text(encoding="utf-8") == sheets.draw_cards()
    assert all((TEACHER / f"{name}.pdf").stat().st_size for name in ("map", "c_move_cards"))


@pytest.mark.parametrize("path", sorted(TEACHER.glob("*.md")), ids=lambda path: path.stem)
def test_the_texts_for_teachers_are_spelled_right_and_their_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert [link for link in links if not (TEACHER / link).exists()] == []
    assert misspelled(re.sub(r"\[[^\]]*\]\([^)]*\)", "", text)) == []
