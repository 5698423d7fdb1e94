"""What learners do, each time with one sentence as the answer that says what to do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from magician import MagicianError, PacsUnreachable, PracticePacs, Receiver, echo

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("0*.ipynb"))
SECONDS = 120  # for one cell


def cells(notebook: Path) -> dict[str, str]:
    """The code of each cell of a lesson, by its label."""
    all_cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    codes = ["".join(cell["source"]) for cell in all_cells if cell["cell_type"] == "code"]
    return {re.match(r"# Cell ([\w.]+):", code)[1]: code for code in codes}


class Kernel:
    """A kernel of Jupyter's, in which cells are run; each returns what its error shows, or ""."""

    def __init__(self, client) -> None:
        self.client = client

    def run(self, code: str) -> str:
        shown = []

        def keep(message):
            if message["msg_type"] == "error":
                shown.append("\n".join(message["content"]["traceback"]))

        answer = self.client.execute_interactive(code, timeout=SECONDS, output_hook=keep)
        text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(shown))
        assert bool(text) == (answer["content"]["status"] == "error" or code == "%tb")
        return text


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learner")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TQDM_DISABLE", "1")
        patch.setenv("MAGICIAN_PROGRESS", str(folder / "progress.json"))
        patch.setenv("PYTHONPATH", str(ROOT))
        manager, client = start_new_kernel(kernel_name="python3", cwd=str(folder))
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(client):
    """The kernel without a name in it, as after a restart."""
    kernel = Kernel(client)
    assert kernel.run("%reset -f") == ""
    return kernel


def sentence_of(shown: str) -> str:
    """What an error says, in one line; it must be short."""
    assert shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) <= 16
    return " ".join(shown.split())


LESSON_1 = cells(NOTEBOOKS[0])
AFTER_A_RESTART = {
    "4": "`pacs` is made in Cell 3,",
    "8a": "Run Cells 2 to ",
    "10": "`volume` is made in Cell 8a, which has not been run to its end since this kernel "
    "started. Run Cells 2 to 8a in order, then this cell again.",
    "13": "`target` is made in Cell 12,",
    "14": "`shutil` is made in Cell 2,",
    "16": "Run Cell 2, then this cell again.",
}


@pytest.mark.parametrize("label", AFTER_A_RESTART)
def test_a_cell_after_a_restart_says_which_cells_to_run(label, kernel):
    assert AFTER_A_RESTART[label] in sentence_of(kernel.run(LESSON_1[label]))
    assert "NameError" in kernel.run("%tb")
    assert "Traceback (most recent call last)" in kernel.run("%tb")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_shows_a_traceback_after_a_restart(notebook, kernel):
    for label, code in cells(notebook).items():
        # what installs or takes seconds does not need a name of an earlier cell first
        if label != "1" and not re.search(r"(teaching_study|lesson|drill)\(", code):
            shown = kernel.run("%reset -f") + kernel.run(code)
            assert not shown or "then this cell again" in sentence_of(shown), label


def test_a_name_that_no_lesson_makes_shows_the_usual_traceback(kernel):
    own_cell = kernel.run("from magician import echo\n\nprint(volume)")
    assert "name 'volume' is not defined" in own_cell
    assert "Traceback" in own_cell
    typing_error = kernel.run("# Cell 10: segment\nfrom magician import echo\n\nprint(volum)")
    assert "name 'volum' is not defined" in typing_error


def test_a_library_name_without_its_import(kernel):
    kernel.run("from magician import echo")
    shown = sentence_of(kernel.run("# Cell 9: montage\nmontage(1)"))
    assert "Write `from magician import montage` as the second line of this cell" in shown


def test_an_error_that_we_raise_is_one_sentence_and_tb_shows_the_rest(kernel):
    code = "# Cell 4: echo\nfrom magician import Node, echo\necho(Node('PACS', '127.0.0.1', 1))"
    shown = kernel.run(code)
    assert sentence_of(shown).startswith("PacsUnreachable: Nothing listens on 127.0.0.1:1.")
    assert "In line 3: echo(Node('PACS', '127.0.0.1', 1))" in shown
    assert "%tb in the next cell shows the whole traceback" in shown
    whole = kernel.run("%tb")
    assert "Traceback (most recent call last)" in whole
    assert "association.py" in whole


def test_an_engineer_who_wants_whole_tracebacks(kernel):
    kernel.run("%xmode Verbose")
    try:
        shown = kernel.run("from magician import Node\nNode('PACS', '', 1)")
        assert "Traceback (most recent call last)" in shown
    finally:
        kernel.run("%xmode Context")


def test_a_wrong_argument_is_one_sentence(kernel):
    kernel.run(LESSON_1["3"])
    shown = kernel.run("from magician import find_studies\nfind_studies(pacs, patient_id=5)")
    assert sentence_of(shown).startswith("WrongArgument: patient_id=5 is a number")


def test_an_address_that_is_none_is_one_sentence_and_a_foreign_valueerror_a_traceback(kernel):
    shown = kernel.run('# Cell 3: choose\nfrom magician import Node\nNode.parse("CLASS")')
    assert "not of the form AET@host:port" in shown
    assert "Traceback" not in shown
    assert "Traceback" in kernel.run('int("x")')


def test_plain_python_shows_its_traceback():
    code = "from magician import Node; Node('PACS', '', 1)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.startswith("Traceback (most recent call last)")
    assert run.stderr.rstrip().endswith("'' is not a host name or an IP address.")
    code = "import sys; from magician import echo; print('IPython' in sys.modules); volume"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout == "False\n"
    assert run.stderr.rstrip().endswith("NameError: name 'volume' is not defined")


def test_lesson_1_with_the_mistakes_of_a_learner(kernel):
    """Cell 3a left out; run with two names; cells after the clean-up cell."""
    for label in ("2", "3", "5"):
        assert kernel.run(LESSON_1[label]) == ""
    empty = sentence_of(kernel.run(LESSON_1["6"]))
    assert "holds no study at all. In lesson 01, Cell 3a does: practice.add(" in empty
    for name in ('"0"', '"Ada"'):
        changed = re.sub("NAME = .*", f"NAME = {name}", LESSON_1["3a"])
        assert kernel.run(changed) == ""
    several = sentence_of(kernel.run(LESSON_1["6"]))
    patients = re.findall(r"Phantom\^\w+ (\d{5}), patient_id='PHANTOM-\d{3}\1'", several)
    assert len(set(patients)) == 2
    assert kernel.run('query["patient_id"] = patient.datasets[0].PatientID') == ""
    for label in ("6", "7b", "8a", "16"):
        assert kernel.run(LESSON_1[label]) == ""
    stopped = sentence_of(kernel.run(LESSON_1["4"]))
    assert "PRACTICE that was there has been stopped, perhaps by the clean-up cell" in stopped
    assert "Cell 3 starts it again and Cell 3a fills it" in stopped
    assert "Run the cell that retrieves (Cell 7b in" in sentence_of(kernel.run(LESSON_1["8a"]))
    for label in ("3", "4"):
        assert kernel.run(LESSON_1[label]) == ""


def test_a_practice_pacs_that_the_clean_up_cell_has_stopped():
    with PracticePacs() as practice:
        node = practice.node
    sentence = (
        "PRACTICE that was there has been stopped, perhaps by the clean-up cell. In lesson 01, "
        "Cell 3 starts it again and Cell 3a fills it; then run this cell again."
    )
    with pytest.raises(PacsUnreachable) as caught:
        echo(node)
    assert sentence in str(caught.value)
    with pytest.raises(MagicianError, match="PRACTICE has been stopped.*Cell 3 starts it again"):
        _ = practice.node


def test_the_second_pacs_is_started_by_another_cell():
    with PracticePacs(ae_title="SECOND") as second:
        node = second.node
    with pytest.raises(PacsUnreachable, match="Cell 12 starts it again and Cell 13 fills it"):
        echo(node)


def test_a_practice_pacs_that_listens_again_where_one_was_stopped(tmp_path):
    with PracticePacs() as practice:
        node = practice.node
    with PracticePacs(port=node.port) as again:
        assert echo(again.node) == 0
    with Receiver(tmp_path) as receiver:
        never_a_pacs = receiver.node
    with Receiver(tmp_path, port=node.port):
        pass  # who listened there last was no practice PACS
    for nobody in (never_a_pacs, node):
        with pytest.raises(PacsUnreachable, match=r"Nothing listens on 127.0.0.1:\d+\. Is the"):
            echo(nobody)


def test_a_browser_that_is_closed_during_run_all(tmp_path, monkeypatch):
    """The page is gone, and with it who listens to the kernel; the cells run to their end."""
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setenv("MAGICIAN_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    manager, page = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    try:
        for label in ("2", "3", "3a", "4", "5", "6", "6b", "7b", "8a", "9b", "9c"):
            page.execute(LESSON_1[label])
        page.stop_channels()
        opened_again = manager.client()
        # numbers of its own: those of the first page's messages would be taken for its
        opened_again.session = manager.session.clone()
        opened_again.session.session = "opened again"
        opened_again.start_channels()
        opened_again.wait_for_ready(timeout=SECONDS)
        told = []

        def keep(message):
            told.append(message["content"].get("text", ""))

        code = "print(got.received, volume.hu.shape)\nPracticePacs.shared('PRACTICE').stop()"
        answer = opened_again.execute_interactive(code, timeout=SECONDS, output_hook=keep)
        opened_again.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)
    assert answer["content"]["status"] == "ok"
    assert "95 (93, 512, 512)" in "".join(told)
