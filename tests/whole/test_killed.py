"""Running twice changes nothing, crashing loses nothing: killed at every step, and run again."""

from __future__ import annotations

import random
import time
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import pytest
from helpers import ct_series, dcentvfy, lung_segmentation, truth_labels, write_series
from killed import Killable, killable
from orthanc import free_port, running_orthanc
from pydicom import Dataset, dcmread, dcmwrite

from magician import files
from magician.client.find import find_instances, find_series, find_studies
from magician.client.retrieve import get_study
from magician.client.store import store
from magician.ct.volume import list_series, read_series
from magician.dimse.receiver import Receiver
from magician.errors import MagicianError
from magician.files import is_temporary, read_whole
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.results.make import make_results, save

CT = ct_series(slices=2, rows=32, columns=36, spacing_mm=(3.0, 3.0, 3.0))
STUDY_UID = CT[0].StudyInstanceUID
FIRST_TIME, SECOND_TIME = "2026-01-02T03:04:05", "2026-01-03T06:07:08"
TIMES = {
    "InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime",
    "ContributionDateTime",
    "DateOfSecondaryCapture", "TimeOfSecondaryCapture",
}  # fmt: skip


@pytest.fixture(scope="module")
def ct_folder(tmp_path_factory) -> Path:
    return write_series(CT, tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def program(ct_folder, tmp_path_factory):
    with killable(ct_folder, tmp_path_factory.mktemp("notes")) as program:
        yield program


def results_of(ct_folder: Path, learner: str = "", **changes: object) -> list[Dataset]:
    volume = read_series(ct_folder)
    labels = truth_labels(list(volume.headers))
    made = make_results(volume, lung_segmentation(volume, labels, **changes), learner=learner)
    return [read_back(ds) for ds in made.all]


def read_back(dataset: Dataset) -> Dataset:
    """Return an object as it comes from its file."""
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return dcmread(BytesIO(file.getvalue()))


def run(
    program: Killable,
    pacs: Node,
    folder: Path,
    *,
    kill_at: int = 0,
    now: str = FIRST_TIME,
    learner: str = "",
):
    where = f"{pacs.ae_title}@{pacs.host}:{pacs.port}"
    return program.run(
        do="send", folder=str(folder), node=where, kill_at=kill_at, now=now, learner=learner
    )


def without_times(dataset: Dataset) -> dict:
    """Return what an object says, but not when it was made."""
    copy = deepcopy(dataset)
    for keyword in TIMES:
        if keyword in copy:
            del copy[keyword]
    for item in copy.get("ContributingEquipmentSequence") or []:
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    return copy.to_json_dict()


def assert_holds(folder: Path, expected: list[Dataset]) -> None:
    """The files of a folder are these objects, each once and whole; their times may be any."""
    found = {read_whole(path).SOPInstanceUID: dcmread(path) for path in folder.glob("*.dcm")}
    assert set(found) == {ds.SOPInstanceUID for ds in expected}
    for ds in expected:
        assert without_times(found[ds.SOPInstanceUID]) == without_times(ds)


@pytest.fixture(scope="module")
def steps(program, tmp_path_factory) -> list[str]:
    """The steps of a run that nobody kills."""
    with PracticePacs() as pacs:
        return run(program, pacs.node, tmp_path_factory.mktemp("whole"))


def test_there_is_a_step_wherever_something_could_be_lost(steps):
    counts = {name: steps.count(name) for name in steps}
    for_each_object = [
        "a file half written",
        "before a file gets its name",
        "after a file gets its name",
    ]
    for_each_object += [
        "before an object is sent",
        "an object half sent",
        "after an object is sent",
    ]
    assert {name: counts.pop(name) for name in for_each_object} == dict.fromkeys(for_each_object, 4)
    assert set(counts) == {
        f"{when} {what} object{'s' * (what == 'overlay')}"
        for when in ("before", "after")
        for what in ("segmentation", "report", "overlay")
    }


def test_killed_at_each_step_and_run_again(program, steps, ct_folder, tmp_path):
    """Every kill has a PACS and a folder of its own."""
    expected = results_of(ct_folder)
    for kill_at in range(1, len(steps) + 1):
        folder = tmp_path / str(kill_at)
        with PracticePacs(folder=folder / "pacs") as pacs:
            assert run(program, pacs.node, folder / "out", kill_at=kill_at) == steps[:kill_at]
            assert run(program, pacs.node, folder / "out", now=SECOND_TIME) == steps
            (study,) = find_studies(pacs.node)
            assert study.NumberOfStudyRelatedInstances == len(expected), f"killed at step {kill_at}"
        assert_holds(folder / "pacs", expected)
        assert_holds(folder / "out", expected)


def test_killed_again_and_again(program, steps, ct_folder, tmp_path):
    """One PACS and one folder, in which every attempt dies at another step, until one is let
    through.
    """
    order = list(range(1, len(steps) + 1, 3))
    random.Random(7).shuffle(order)
    with PracticePacs(folder=tmp_path / "pacs") as pacs:
        for kill_at in order:
            run(program, pacs.node, tmp_path / "out", kill_at=kill_at)
        run(program, pacs.node, tmp_path / "out", now=SECOND_TIME)
    assert_holds(tmp_path / "pacs", results_of(ct_folder))


def test_what_a_killed_run_and_the_next_have_sent_belongs_together(program, steps, tmp_path):
    """The overlay series holds an image of each run; what they say of patient, study and series
    agrees.
    """
    kill_at = steps.index("after an object is sent") + 1
    with PracticePacs(folder=tmp_path / "pacs") as pacs:
        run(program, pacs.node, tmp_path / "out", kill_at=kill_at)
        run(program, pacs.node, tmp_path / "out", now=SECOND_TIME)
    objects = list(map(dcmread, (tmp_path / "pacs").glob("*.dcm")))
    assert {ds.ContentDate for ds in objects} == {"20260102", "20260103"}
    save(CT, tmp_path / "pacs")
    assert dcentvfy(sorted((tmp_path / "pacs").glob("*.dcm"))) == []


def test_running_twice_changes_nothing(program, tmp_path):
    with PracticePacs(folder=tmp_path / "pacs") as pacs:
        run(program, pacs.node, tmp_path / "out")
        before = {path: path.read_bytes() for path in (tmp_path / "pacs").iterdir()}
        run(program, pacs.node, tmp_path / "out", now=SECOND_TIME)
    assert {path: path.read_bytes() for path in (tmp_path / "pacs").iterdir()} == before


@pytest.mark.parametrize(
    "changes",
    [
        {"learner": "Ada"},
        {"model_name": "other"},
        {"model_version": "2"},
        {"weights_sha256": "1" * 64},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_another_result_comes_beside_the_first(changes, ct_folder):
    first, second = results_of(ct_folder), results_of(ct_folder, **changes)
    with PracticePacs() as pacs:
        for results in (first, second, first, second):
            store(pacs.node, results)
        held = [
            instance.SOPInstanceUID
            for study in find_studies(pacs.node)
            for series in find_series(pacs.node, study.StudyInstanceUID)
            for instance in find_instances(
                pacs.node, study.StudyInstanceUID, series.SeriesInstanceUID
            )
        ]
    assert len(held) == 8
    assert set(held) == {ds.SOPInstanceUID for ds in (*first, *second)}


# ------------------------------------------------------------------------------- the PACS is killed


def begin_pacs(program: Killable, folder: Path, notes: Path, kill_at: int = 0) -> tuple[Path, Node]:
    notes.mkdir()
    orders = {name: str(notes / name) for name in ("ready", "stop")}
    log = program.begin(do="serve", folder=str(folder), kill_at=kill_at, **orders)
    deadline = time.monotonic() + 30
    while not (notes / "ready").exists() or not (notes / "ready").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return log, Node.parse((notes / "ready").read_text())


@pytest.mark.parametrize("kill_at", range(1, 13))
def test_pacs_is_killed_while_it_receives(kill_at, program, ct_folder, tmp_path):
    """Three steps for each of four objects; then it is started again, and the objects are sent
    again.
    """
    expected = results_of(ct_folder)
    log, node = begin_pacs(program, tmp_path / "pacs", tmp_path / "1", kill_at)
    with pytest.raises(MagicianError, match="objects were sent"):
        store(node, expected)
    status, _ = program.wait(log)
    assert status == 9
    log, node = begin_pacs(program, tmp_path / "pacs", tmp_path / "2")
    store(node, expected)
    (study,) = find_studies(node)
    get_study(node, STUDY_UID, tmp_path / "got")
    (tmp_path / "2" / "stop").touch()
    assert program.wait(log)[0] == 0
    assert study.NumberOfStudyRelatedInstances == 4
    assert_holds(tmp_path / "pacs", expected)
    assert_holds(tmp_path / "got", expected)


# ----------------------------------------------------------------------------------- another's PACS


def test_orthanc_holds_one_set_after_a_kill(program, steps, ct_folder, tmp_path):
    """Killed before, in the midst of, and after each object; every kill has a learner, and so a
    study, of its own.
    """
    kills = [
        place for place, name in enumerate(steps, start=1) if "object" in name and "sent" in name
    ]
    assert len(kills) == 12
    with running_orthanc(tmp_path, known={"MAGICIAN": free_port()}) as node:
        for kill_at in kills:
            run(program, node, tmp_path / "out", kill_at=kill_at, learner=f"Ada {kill_at}")
            run(program, node, tmp_path / "out", now=SECOND_TIME, learner=f"Ada {kill_at}")
        for kill_at in kills:
            expected = results_of(ct_folder, f"Ada {kill_at}")
            get_study(node, expected[0].StudyInstanceUID, tmp_path / f"{kill_at}")
            assert_holds(tmp_path / f"{kill_at}", expected)


# ------------------------------------------------------------------------- what a killed run leaves


@pytest.fixture
def left_over(program, steps, tmp_path) -> Path:
    """The folder of a run that was killed when a file was complete, and had no name yet."""
    with PracticePacs() as pacs:
        run(
            program,
            pacs.node,
            tmp_path / "out",
            kill_at=steps.index("before a file gets its name") + 1,
        )
    assert [is_temporary(path) for path in (tmp_path / "out").iterdir()] == [True]
    return tmp_path / "out"


def test_what_a_killed_run_leaves_is_not_sent(left_over, ct_folder):
    with PracticePacs() as pacs:
        assert store(pacs.node, [*left_over.iterdir(), *ct_folder.iterdir()]).sent == 2
        assert store(pacs.node, list(map(str, left_over.iterdir()))).sent == 0


def test_what_a_killed_run_leaves_is_not_read(left_over, ct_folder):
    save(list(map(dcmread, ct_folder.iterdir())), left_over)
    assert [one.modality for one in list_series(left_over)] == ["CT"]


@pytest.mark.parametrize("opens", ["save", "receiver", "pacs", "get"])
def test_what_a_killed_run_leaves_is_removed_after_an_hour(opens, left_over, monkeypatch):
    def use() -> None:
        if opens == "save":
            save([], left_over)
        elif opens == "receiver":
            with Receiver(left_over):
                pass
        elif opens == "pacs":
            with PracticePacs(folder=left_over):
                pass
        else:
            with PracticePacs() as pacs:
                pacs.add(CT)
                get_study(pacs.node, STUDY_UID, left_over)

    use()
    assert len(list(left_over.glob(".*"))) == 1  # it might still be being written
    now = time.time()
    monkeypatch.setattr(files.time, "time", lambda: now + 3700)
    use()
    assert list(left_over.glob(".*")) == []
