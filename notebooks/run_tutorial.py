"""Run lessons from top to bottom, as a learner would.

    python notebooks/run_tutorial.py            # every lesson
    python notebooks/run_tutorial.py 02         # one
    python notebooks/run_tutorial.py --store    # and store the new outputs in the notebooks

Every cell is really executed, in a new kernel of this Python. The executed notebooks and HTML
copies of them lie under build/ afterwards. ``make tutorial`` and ``make outputs`` call this. What
differs with every run is not stored. The learner's own table of progress is left alone.
"""

import argparse
import base64
import copy
import mimetypes
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

HERE = Path(__file__).resolve().parent
LESSONS = sorted(HERE.glob("0*.ipynb"))
BUILD = HERE.parent / "build"
# What stands in the page for the frame of a PACS that no longer runs
PICTURE = HERE / "images" / "pacs_web_page.jpg"
ALT = (
    "Two pages of a practice PACS: on the left the series of the teaching patient as thumbnails, "
    "on the right the overlay series, with the lungs in blue."
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Run lessons from top to bottom.")
    parser.add_argument(
        "lessons", metavar="LESSON", nargs="*", help="such as 01; without it, every lesson"
    )
    parser.add_argument(
        "--store", action="store_true", help="store the new outputs in the notebooks"
    )
    options = parser.parse_args(arguments)
    chosen = LESSONS
    if options.lessons:
        try:
            chosen = [find_lesson(name) for name in options.lessons]
        except ValueError as error:
            parser.error(str(error))
    return max(run(path, store=options.store) for path in chosen)


def find_lesson(name: str) -> Path:
    """Find a lesson by its number (02), or by the name of its file."""
    name = Path(name).name
    found = [path for path in LESSONS if path.name == name or path.stem.startswith(f"{name}_")]
    if len(found) != 1:
        numbers = ", ".join(path.stem[:2] for path in LESSONS)
        raise ValueError(f"there is no lesson {name!r}; the lessons are {numbers}")
    return found[0]


def run(path: Path, *, store: bool) -> int:
    """Run one lesson; returns 1 if a cell failed, else 0."""
    print(path.stem, file=sys.stderr)
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
        # of the kernel, which would warn about its own transport
        extra_arguments=["--log-level=ERROR"],
    )
    client.on_cell_start = lambda cell, cell_index: _say(cell)
    try:
        with tempfile.TemporaryDirectory() as folder:
            progress = {"MAGICIAN_PROGRESS": str(Path(folder) / "progress.json")}
            client.execute(env=os.environ | progress)
    except CellExecutionError as error:
        print(f"\nA cell failed:\n{error}", file=sys.stderr)
        return 1
    finally:
        page = _write(notebook, path)
    print(_printed_by(notebook, "# Cell 15:"), end="")
    place = page.relative_to(HERE.parent)
    print(f"where to look:   {place} in a browser, {page.stem}.ipynb in Jupyter")
    if store:
        nbformat.write(_cleaned(notebook), path)
    return 0


def _say(cell) -> None:
    if cell.cell_type == "code":
        print(cell.source.splitlines()[0].removeprefix("# "), file=sys.stderr)


def _write(notebook, path: Path) -> Path:
    BUILD.mkdir(exist_ok=True)
    nbformat.write(notebook, BUILD / path.name)
    resources = {"metadata": {"path": str(HERE), "name": path.stem}}
    text, _ = HTMLExporter().from_notebook_node(still(notebook), resources=resources)
    page = (BUILD / path.name).with_suffix(".html")
    page.write_text(_with_pictures(text), encoding="utf-8")
    return page


def _with_pictures(text: str) -> str:
    """Put the pictures of this folder into a page; `embed_images` would empty every fold."""

    def embedded(found: re.Match) -> str:
        picture = HERE / found[1]
        content = base64.b64encode(picture.read_bytes()).decode()
        return f'src="data:{mimetypes.guess_type(picture.name)[0]};base64,{content}"'

    return re.sub(r'src="(images/[^"]+)"', embedded, text)


def still(notebook):
    """Keep only the pictures of what runs: a page without a kernel has no viewers and no PACS."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if {"image/png", "text/html"} & data.keys():
                data.pop("application/vnd.jupyter.widget-view+json", None)
            if "<iframe" in data.get("text/html", ""):
                data["text/html"] = _picture_of_the_pacs()
    return notebook


def _picture_of_the_pacs() -> str:
    picture = base64.b64encode(PICTURE.read_bytes()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{picture}" alt="{ALT}" style="max-width: 100%">'
        "<p>A picture: the page of the PACS is there only as long as the notebook runs.</p>"
    )


def _printed_by(notebook, first_line: str) -> str:
    """Return what the cell with this first line printed; nothing if there is none."""
    return "".join(
        output.text
        for cell in notebook.cells
        if cell.source.startswith(first_line)
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )


def _cleaned(notebook):
    """Leave out what readers of the stored notebook can't use: times, widget states, empty bars."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info.pop("version", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined(
                [output for output in cell.outputs if not _is_progress_bar(output)]
            )
    return notebook


def _is_progress_bar(output) -> bool:
    return "0%|" in output.get("data", {}).get("text/plain", "")


def _joined(outputs: list) -> list:
    """Join what one cell printed in pieces: where it is cut depends on the moment."""
    joined = []
    for output in outputs:
        if (
            joined
            and output.output_type == joined[-1].output_type == "stream"
            and output.name == joined[-1].name
        ):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
