"""Lessons: what each starts from, whatever was run before."""

from __future__ import annotations

import time

import numpy as np
import pytest

from magician import (
    PacsUnreachable,
    dice,
    echo,
    find_series,
    find_studies,
    get_study,
    lesson,
    read_series,
    teaching_study,
    verify_round_trip,
)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_lesson_2_starts_from_a_pacs_that_holds_the_patient():
    start = lesson(2, name="Ada")
    try:
        patient = teaching_study(seed="Ada").datasets[0]
        (found,) = find_studies(start.node)
        assert found == start.study
        assert (found.PatientID, found.NumberOfStudyRelatedInstances) == (patient.PatientID, 95)
        assert start.patient.datasets[0].SOPInstanceUID == patient.SOPInstanceUID
        assert list(start.folder.iterdir()) == []
        assert get_study(start.node, start.study.StudyInstanceUID, start.folder).received == 95
        assert repr(start).count("\n") == 0
        assert len(repr(start)) < 300
    finally:
        start.stop()
    assert not start.folder.exists()


def test_lesson_3_starts_from_results_that_are_right():
    before = time.monotonic()
    start = lesson(3)
    try:
        assert time.monotonic() - before < 90
        assert start.target == start.pacs.node
        assert start.volume.hu.shape == start.patient.truth.shape
        assert dice(start.segmentation.labels > 0, start.patient.truth > 0) > 0.95
        assert np.array_equal(read_series(start.folder / "ct").hu, start.volume.hu)
        study = start.patient.datasets[0].StudyInstanceUID
        held = {series.Modality for series in find_series(start.target, study)}
        assert held == {"CT", "SEG", "SR", "OT"}
        assert verify_round_trip(start.target, start.volume, start.results).ok
    finally:
        start.stop()


def test_the_same_lesson_again_starts_afresh():
    first = lesson(2)
    (first.folder / "left.txt").write_text("of the first run")
    second = lesson(2, name="Chen")
    try:
        with pytest.raises(PacsUnreachable):
            echo(first.node)
        assert list(second.folder.iterdir()) == []
        (found,) = find_studies(second.node)
        assert found.PatientID != first.study.PatientID
    finally:
        second.stop()
    first.stop()  # harmless
    second.stop()


def test_a_lesson_starts_where_the_files_of_a_killed_kernel_lie(tmp_path):
    left = tmp_path / "tutorial-files" / "lesson-02" / "got"
    left.mkdir(parents=True)
    (left / "old.dcm").write_bytes(b"old")
    start = lesson(2)
    try:
        assert start.folder == tmp_path / "tutorial-files" / "lesson-02"
        assert list(start.folder.iterdir()) == []
    finally:
        start.stop()


@pytest.mark.parametrize("wrong", ["2", None, 7, 0, -2, 2.0, True, [2]])
def test_a_lesson_that_there_is_not(wrong):
    with pytest.raises(ValueError, match=r"no lesson .*: write lesson\(2\) or lesson\(3\)"):
        lesson(wrong)


def test_lesson_1_makes_everything_itself():
    with pytest.raises(ValueError, match="Lesson 01 makes everything itself"):
        lesson(1)


@pytest.mark.parametrize("wrong", [None, True, 1.5, "", "  ", ["Ada"]])
def test_a_name_that_is_none(wrong):
    with pytest.raises(ValueError, match="your name in quotes"):
        lesson(2, name=wrong)
