"""Make what a class needs: a folder for the learners, and the same as a zip.

    python notebooks/make_class.py                    # for thirty aliases
    python notebooks/make_class.py --names names.txt  # a name in each line
    python notebooks/make_class.py --wheels           # for a room without internet

``make class`` calls this. The folder holds the lessons without outputs, their pictures, the library
as a wheel, a sheet with an accession number for each name, and how to start the class server. No
answer is in it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from magician.errors import MagicianError
from magician.teaching.classroom import learners_studies, read_names
from magician.teaching.phantom_headers import Patient

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build"
NEEDED = ("LICENSE", "README.md", "pyproject.toml", "requirements.txt")
ALIASES = [f"L{number:02d}" for number in range(1, 31)]
SERVER = "python -m magician pacs --folder class-files --studies-from names.txt --web"

README = """HOW TO CONNECT AN AI ALGORITHM TO A PACS

Teaching and research only. Not for diagnosis. The patients are computed.

1. You need Python 3.11, 3.12 or 3.13. Open a terminal in this folder, and type

       python -m venv environment

   then, on Linux or macOS

       source environment/bin/activate

   or, on Windows

       environment\\Scripts\\activate

2. Install. This is one line:

       {install}

3. Start JupyterLab, and open the lesson that your teacher names:

       jupyter lab

   {lessons}

4. Run the cells in order, with Shift+Enter. Answer a question before you run the next cell.

5. names_sheet.txt has your accession number, for a lesson with the PACS of the class. Your teacher
   shows what else to type. If you do not want your name there, ask for an alias.

Your answers stay on this computer. In the notebook, my_progress() shows your table.

FOR THE TEACHER: the class server starts in this folder with

       {server}

It serves this computer only. For a room full of laptops, add

       --host 0.0.0.0 --beyond-loopback --allow MAGICIAN

It prints what learners must type. Every computer that reaches it can call it, and nothing is
encrypted. Ctrl-C stops it.
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Make the folder and the zip for a class.")
    parser.add_argument("--names", type=Path, help="a text file with a name in each line")
    parser.add_argument("--to", type=Path, default=BUILD / "class", help="the folder (build/class)")
    parser.add_argument(
        "--wheels", action="store_true", help="take all wheels along, for a room without internet"
    )
    options = parser.parse_args(arguments)
    try:
        names = read_names(options.names) if options.names else ALIASES
        if not names:
            raise MagicianError(f"{options.names} holds no name: write one in each line.")
        archive = make_class(options.to, names, wheels=options.wheels)
    except MagicianError as error:
        print(f"make class: {error}", file=sys.stderr)
        return 2
    print(f"{options.to} is the folder, {archive} the same as a zip, for {len(names)} learners.")
    return 0


def make_class(folder: Path, names: list[str], *, wheels: bool = False) -> Path:
    """Make the folder, which must be new or made by this, and its zip; returns the zip."""
    sheet = names_sheet(names)
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "names_sheet.txt").exists():
            raise MagicianError(f"{folder} holds other files: choose a folder that is empty.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    lessons = sorted(HERE.glob("0*.ipynb"))
    for path in lessons:
        nbformat.write(without_outputs(nbformat.read(path, as_version=4)), folder / path.name)
    shutil.copytree(HERE / "images", folder / "images")
    wheel = build_wheel(folder)
    install = f"pip install {wheel.name} jupyterlab"
    if wheels:
        collect_wheels(wheel, folder / "wheels")
        install = f"pip install --no-index --find-links wheels {wheel.name} jupyterlab"
    (folder / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (folder / "names_sheet.txt").write_text(sheet, encoding="utf-8")
    (folder / "start_class_server.sh").write_text(
        f'#!/bin/sh\ncd "$(dirname "$0")" && exec {SERVER} "$@"\n', encoding="utf-8", newline="\n"
    )
    (folder / "start_class_server.bat").write_text(
        f'@cd /d "%~dp0"\r\n@{SERVER} %*\r\n', encoding="utf-8", newline=""
    )
    listed = "\n   ".join(path.name for path in lessons)
    text = README.format(install=install, lessons=listed, server=SERVER)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    archive = shutil.make_archive(str(folder), "zip", folder.parent, folder.name)
    return Path(archive)


def collect_wheels(wheel: Path, folder: Path) -> None:
    """Put the library, JupyterLab and all that they need into a folder, as wheels."""
    folder.mkdir()
    constraints = ("-c", ROOT / "constraints.txt")
    get = ("pip", "wheel", "--quiet", "--wheel-dir", folder, "--find-links", folder)
    index = os.environ.get("TORCH_INDEX")  # PyPI's torch for Linux brings gigabytes of CUDA
    if index:
        run(*get, *constraints, "--index-url", index, "--no-deps", "torch")
    run(*get, *constraints, wheel, "jupyterlab")


def without_outputs(notebook):
    """Remove what a run has stored: an output could tell an answer before the first key."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def names_sheet(names: list[str]) -> str:
    """List who has which accession number and which patient, one line for each learner."""
    studies = learners_studies(names)
    rows = [("learner", "accession number", "patient")]
    for study in studies:
        patient = Patient(study.name, study.accession_number, disease=True, kernel="soft")
        rows.append((study.name, study.accession_number, str(patient.name)))
    width = max(len(row[0]) for row in rows)
    return "".join(f"{name:{width}}  {number:16}  {patient}\n" for name, number, patient in rows)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this tree, from a copy: a build leaves its traces."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "magician", copy / "magician", ignore=ignore)
        for name in NEEDED:
            shutil.copy(ROOT / name, copy)
        code = f"from setuptools.build_meta import build_wheel as b; b({str(folder.resolve())!r})"
        run("-c", code, module=False, folder=copy)
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(*command, module: bool = True, folder: Path = ROOT) -> None:
    """Run a Python command; what it says is shown if it fails."""
    start = [sys.executable, "-m"] if module else [sys.executable]
    parts = [*start, *map(str, command)]
    done = subprocess.run(parts, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MagicianError(f"{' '.join(parts)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
