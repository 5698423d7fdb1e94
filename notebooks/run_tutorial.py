"""Run the tutorial from top to bottom, as a learner would.

The executed notebook and an HTML copy of it lie under build/ afterwards.

Every cell is really executed, in a new kernel of this Python. Called by ``make tutorial``. With
``--store`` (``make outputs``) the new outputs replace those of the notebook in the repository, less
what differs with every run.
"""

import copy
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE / "01_connect_ai_to_pacs.ipynb"
BUILD = HERE.parent / "build"


def main(arguments: list[str]) -> int:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
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
        client.execute()
    except CellExecutionError as error:
        print(f"\nA cell failed:\n{error}", file=sys.stderr)
        return 1
    finally:
        page = _write(notebook)
    print(_printed_by(notebook, "# Cell 15:"))
    place = page.relative_to(HERE.parent)
    print(f"where to look:   {place} in a browser, {page.stem}.ipynb in Jupyter")
    if "--store" in arguments:
        nbformat.write(_cleaned(notebook), NOTEBOOK)
    return 0


def _say(cell) -> None:
    if cell.cell_type == "code":
        print(cell.source.splitlines()[0].removeprefix("# "), file=sys.stderr)


def _write(notebook) -> Path:
    BUILD.mkdir(exist_ok=True)
    nbformat.write(notebook, BUILD / NOTEBOOK.name)
    exporter = HTMLExporter(embed_images=True)
    resources = {"metadata": {"path": str(HERE), "name": NOTEBOOK.stem}}
    page, _ = exporter.from_notebook_node(_still(notebook), resources=resources)
    path = (BUILD / NOTEBOOK.name).with_suffix(".html")
    path.write_text(page, encoding="utf-8")
    return path


def _still(notebook):
    """Keep only the pictures of the viewers: a page without a kernel can't run the viewers."""
    still = copy.deepcopy(notebook)
    for cell in still.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
    return still


def _printed_by(notebook, first_line: str) -> str:
    (cell,) = [cell for cell in notebook.cells if cell.source.startswith(first_line)]
    return "".join(
        output.text for output in cell.outputs if output.output_type == "stream"
    ).rstrip()


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
