"""The table of a learner's progress, and the file that it is kept in."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from magician.teaching.exercises import check, my_progress
from magician.teaching.progress import (
    LARGEST_BYTES,
    progress_file,
    read_outcomes,
    record,
    record_prediction,
)


def outcome_of(name: str) -> str:
    (row,) = [row for row in my_progress().cells if row[1] == name]
    return row[-1]


@pytest.fixture
def file() -> Path:
    return progress_file()


def test_nothing_is_tried_yet(file):
    assert {row[-1] for row in my_progress().cells} == {"not tried"}
    assert "Predictions: 0 answered, 0 of them came true." in my_progress().summary
    assert not file.exists()


def test_right_and_wrong_outcomes_are_shown():
    record("windows", True, "right")
    record("sent", False, "nothing is held")
    assert outcome_of("windows") == "done"
    assert outcome_of("sent") == "not yet"
    assert my_progress().summary.startswith("1 of ")


def test_what_was_done_stays_done():
    record("windows", True, "right")
    record("windows", False, "wrong")
    assert outcome_of("windows") == "done"


def test_what_was_wrong_can_become_right():
    record("windows", False, "wrong")
    record("windows", True, "right")
    assert outcome_of("windows") == "done"


def test_a_check_is_recorded(file):
    check("repair", [])
    assert json.loads(file.read_text())["exercises"]["repair"]["ok"] is False
    assert outcome_of("repair") == "not yet"


def test_the_first_prediction_counts():
    record_prediction("mirrored", "It refuses", False)
    record_prediction("mirrored", "0x0000", True)
    assert "1 answered, 0 of them came true" in my_progress().summary


def test_the_table_is_the_same_each_time():
    record("windows", True, "right")
    assert repr(my_progress()) == repr(my_progress())


def test_the_file_lies_where_the_variable_says_or_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("MAGICIAN_PROGRESS")
    assert progress_file() == tmp_path / ".magician" / "progress.json"
    record("windows", True, "right")
    assert progress_file().exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\0", b"not json", b"[]", b'{"format": "another program\'s"}', b"[" * 100_000]
    + [json.dumps({"format": "magician progress 1", **parts}).encode() for parts in (
        {"exercises": 3, "predictions": {}},
        {"exercises": {"windows": {"ok": "yes", "sentence": ""}}, "predictions": {}},
        {"exercises": {"windows": []}, "predictions": {}},
        {"exercises": {}, "predictions": {"mirrored": {"choice": 1, "true": True}}},
    )],
)  # fmt: skip
def test_damaged_file_is_kept_aside_and_a_new_one_begun(file, content):
    file.write_bytes(content)
    assert "does not hold the progress" in my_progress().summary
    record("windows", True, "right")
    assert outcome_of("windows") == "done"
    assert file.with_name("progress.json.damaged").read_bytes() == content
    assert "does not hold" not in my_progress().summary


def test_file_of_another_program_that_is_huge_is_not_read(file):
    file.write_bytes(b" " * (LARGEST_BYTES + 1))
    assert "too large" in my_progress().summary


@pytest.fixture
def nobody_may_write(tmp_path, monkeypatch):
    """A place where no file can be: below a file."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAGICIAN_PROGRESS", str(tmp_path / "file" / "progress.json"))


@pytest.mark.usefixtures("nobody_may_write")
def test_place_that_nobody_can_write_to_stops_no_check():
    record("windows", True, "right")
    record("sent", False, "wrong")
    record("sent", True, "right")
    assert outcome_of("windows") == outcome_of("sent") == "done"
    assert "can't be written" in my_progress().summary
    assert "MAGICIAN_PROGRESS" in my_progress().summary


@pytest.mark.parametrize("place", [".", "\0", "x" * 5000])
def test_place_that_is_none_stops_no_check(place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if "\0" in place:  # the environment can't hold it, a home folder of this name can
        monkeypatch.setattr("magician.teaching.progress.progress_file", lambda: Path(place))
    else:
        monkeypatch.setenv("MAGICIAN_PROGRESS", place)
    assert not check("repair", []).ok
    assert repr(my_progress())


def test_a_home_folder_that_is_not_known(monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("magician.teaching.progress.progress_file", unknown)
    assert not check("repair", []).ok
    assert "can't be read" in my_progress().summary


def test_what_could_not_be_written_is_written_later(file):
    lock = file.with_name(f".{file.name}.lock")
    lock.touch()
    record("windows", True, "right")  # waits, and gives up
    assert not file.exists()
    assert outcome_of("windows") == "done"
    lock.unlink()
    record("sent", True, "right")
    assert set(json.loads(file.read_text())["exercises"]) == {"windows", "sent"}
    assert "can't be written" not in my_progress().summary


def test_lock_of_a_program_that_was_killed_is_removed(file):
    lock = file.with_name(f".{file.name}.lock")
    lock.touch()
    os.utime(lock, (time.time() - 60,) * 2)
    record("windows", True, "right")
    assert file.exists()
    assert not lock.exists()


def write_twenty(number: int) -> None:
    for each in range(20):
        record(f"{number} {each}", True, "right")


def test_several_kernels_that_write_at_once_lose_nothing(file):
    context = multiprocessing.get_context("fork" if os.name != "nt" else "spawn")
    kernels = [context.Process(target=write_twenty, args=(number,)) for number in range(4)]
    for kernel in kernels:
        kernel.start()
    for kernel in kernels:
        kernel.join(60)
    assert len(read_outcomes()[0].exercises) == 80
    assert [path.name for path in file.parent.iterdir()] == [file.name]
