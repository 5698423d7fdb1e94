"""A class works with the real lesson 01 and the lines that the class server prints.

The lines are put into the notebook exactly as they are printed; then its cells are run.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "01_connect_ai_to_pacs.ipynb"
LEARNER, ALIAS = "Ada", "Zorro"


@pytest.fixture(scope="module")
def server():
    """A class server with two learners, and what it has printed."""
    command = [sys.executable, "-m", "magician", "pacs", "--port", "0", "--web", "0"]
    for name in (LEARNER, "Ben"):
        command += ["--study", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        printed = []
        for line in process.stdout:
            printed.append(line.rstrip("\n"))
            if line.startswith("Ready"):
                break
        yield printed
        process.terminate()
        process.stdout.read()


def printed_lines(printed):
    """The printed line of each cell; None for a cell to leave out."""
    lines = {}
    for line in printed:
        if match := re.match(r"  Cell (\w+) +(.+)", line):
            cell, text = match[1], match[2]
            lines[cell] = None if text.startswith("leave it out") else text.split("  #")[0].rstrip()
    return lines


def own_lines(printed):
    """The lines of the learner's own in the table of learners, by cell."""
    (header,) = [line for line in printed if "Cell 3a  " in line and "Cell 5" in line]
    (row,) = [line for line in printed if line.startswith(f"  {LEARNER} ")]
    first, second, last = (header.index(word) for word in ("Cell 3a", "Cell 5", "patient"))
    return {"3a": row[first:second].strip(), "5": row[second:last].strip()}


def changed_cells(printed):
    """The code cells of lesson 01, with the printed lines in place of those that begin alike."""
    lines = printed_lines(printed)
    assert {"3", "3a", "5", "7", "11", "12", "13b", "13d"} == set(lines)
    lines |= own_lines(printed) | {"11": f'LEARNER = "{ALIAS}"'}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        number = source.split(":")[0].removeprefix("# Cell ")
        if number not in lines:
            yield source
        elif lines[number] is not None:
            start = re.match(r"[^=:(]+[=:(]", lines[number])[0]
            source, count = re.subn(
                rf"^(\s*){re.escape(start)}.*$",
                lambda match, line=lines[number]: match[1] + line,
                source,
                flags=re.MULTILINE,
            )
            assert count == 1, f"Cell {number} has no line that begins with {start!r}"
            yield source


def class_rows(printed):
    """The text of each cell of the class view, row by row."""
    (address,) = [line.split(": ")[1] for line in printed if line.startswith("The class view")]
    with urlopen(f"{address}rows", timeout=10) as answer:
        page = answer.read().decode()
    rows = re.findall(r"<tr>(.*?)</tr>", page.split("<tbody>")[1])
    return [re.findall(r"<span>(.*?)</span>(?:<small>(.*?)</small>)?", row) for row in rows]


def test_the_printed_lines_work_in_the_notebook_and_the_class_view_follows(server, tmp_path):
    assert [row[0][0] for row in class_rows(server)] == [LEARNER, "Ben"]
    cells = [source for source in changed_cells(server) if "# Cell 16" not in source]
    script = tmp_path / "lesson.py"
    script.write_text("from IPython.display import display\n" + "\n".join(cells), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ
        | {"MPLBACKEND": "Agg", "TQDM_DISABLE": "1", "MAGICIAN_PROGRESS": str(tmp_path / "p.json")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "C-GET: 95 of 95 objects arrived" in result.stdout
    assert result.stdout.count("agreement with the truth (Dice) at least 0.95: True") == 2
    assert f"{ALIAS}^: 4 series, 188 instances" in result.stdout
    end = time.monotonic() + 60  # the class view examines what has come
    while class_rows(server)[0][3][0] == "is examined" and time.monotonic() < end:
        time.sleep(0.5)
    ours, others = class_rows(server)
    name, retrieved, sent, conformant, agreement, report = ours
    assert name[0] == LEARNER
    assert retrieved[0] == "95 of 95"
    assert sent == ("188 objects", f"as {ALIAS}")
    assert conformant[0] == "yes"
    right, left = map(float, re.findall(r"0\.\d+", agreement[0]))
    assert min(right, left) > 0.95
    assert report[0] == "yes"
    assert [text for text, _ in others] == ["Ben", "no", "no", "no", "no", "no"]
