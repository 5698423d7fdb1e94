"""Completeness of a retrieve: all of it arrives, or an error says what is missing."""

import time

import pytest
from faulty_pacs import SERIES, STUDY_UID, UIDS, FaultyPacs, Proxy
from helpers import ct_series
from inbox import whole_files
from pydicom import dcmread
from pydicom.dataset import Dataset

from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.dimse import reception
from magician.dimse.receiver import Receiver
from magician.errors import (
    AssociationAborted,
    IncompleteRetrieve,
    MagicianError,
    PacsTimeout,
)
from magician.files import save_dataset
from magician.practice_pacs.archive import Archive


@pytest.fixture
def requests(pacs, monkeypatch):
    """The level of each C-GET and C-MOVE that the PACS gets, and how many instances it names."""
    seen, original = [], Archive.paths

    def selected(self, identifier):
        uids = identifier.get("SOPInstanceUID", [])
        seen.append((identifier.QueryRetrieveLevel, 1 if isinstance(uids, str) else len(uids)))
        return original(self, identifier)

    monkeypatch.setattr(Archive, "paths", selected)
    return seen


# Fetching only what is missing


def test_get_again_fetches_only_what_is_missing(pacs, requests, tmp_path):
    get_study(pacs.node, STUDY_UID, tmp_path)
    for uid in UIDS[1:3]:
        (tmp_path / f"{uid}.dcm").unlink()
    retrieval = get_study(pacs.node, STUDY_UID, tmp_path)
    assert (retrieval.expected, retrieval.received, len(retrieval.paths)) == (5, 5, 5)
    assert requests == [("STUDY", 0), ("IMAGE", 2)]
    assert whole_files(tmp_path) == set(UIDS)


def test_get_again_of_a_whole_study_asks_for_nothing(pacs, requests, tmp_path):
    get_study(pacs.node, STUDY_UID, tmp_path)
    assert get_study(pacs.node, STUDY_UID, tmp_path).received == 5
    assert requests == [("STUDY", 0)]


def test_get_again_across_two_series_asks_once_for_each(pacs, requests, tmp_path):
    more = ct_series(slices=3, seed=1)
    for ds in more:
        ds.StudyInstanceUID = STUDY_UID
    pacs.add(more)
    for ds in (SERIES[0], more[0]):
        save_dataset(ds, tmp_path)
    assert get_study(pacs.node, STUDY_UID, tmp_path).received == 8
    assert sorted(requests) == [("IMAGE", 2), ("IMAGE", 4)]


def test_more_instances_than_fit_into_one_request_are_asked_for_in_parts(
    pacs, requests, tmp_path, monkeypatch
):
    monkeypatch.setattr("magician.dimse.query.UIDS_AT_ONCE", 3)
    save_dataset(SERIES[0], tmp_path)
    assert get_study(pacs.node, STUDY_UID, tmp_path).received == 5
    assert requests == [("IMAGE", 3), ("IMAGE", 1)]


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def without_pixels(path):
    ds = dcmread(path)
    del ds.PixelData
    ds.save_as(path)


def other_study(path):
    ds = dcmread(path)
    ds.StudyInstanceUID = "1.2.3"
    ds.save_as(path)


def other_instance(path):
    path.write_bytes((path.parent / f"{UIDS[1]}.dcm").read_bytes())


def not_dicom(path):
    path.write_text("not DICOM")


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [cut_short, without_pixels, other_study, other_instance, not_dicom, empty]
)
def test_a_file_that_is_not_what_its_name_says_is_fetched_again(pacs, requests, tmp_path, damage):
    get_study(pacs.node, STUDY_UID, tmp_path)
    damage(tmp_path / f"{UIDS[2]}.dcm")
    assert get_study(pacs.node, STUDY_UID, tmp_path).received == 5
    assert requests == [("STUDY", 0), ("IMAGE", 1)]
    assert dcmread(tmp_path / f"{UIDS[2]}.dcm") == SERIES[2]


def test_move_again_fetches_only_what_is_missing(pacs, requests, tmp_path):
    for ds in SERIES[:2]:
        save_dataset(ds, tmp_path)
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        pacs.know(receiver.node)
        retrieval = move_study(pacs.node, STUDY_UID, receiver)
        assert move_study(pacs.node, STUDY_UID, receiver).received == 5
    assert (retrieval.received, len(retrieval.paths)) == (5, 5)
    assert requests == [("IMAGE", 3)]


# What a PACS says at the end


def answers(*datasets, status=None):
    def behave(event):
        for ds in datasets:
            yield 0xFF00, ds
        if status is not None:
            yield status, None

    return behave


def test_the_same_instance_comes_twice(tmp_path):
    with FaultyPacs(answers(SERIES[0], *SERIES[:4])) as node:
        with pytest.raises(IncompleteRetrieve) as caught:
            get_study(node, STUDY_UID, tmp_path)
    assert caught.value.missing == (UIDS[4],)
    assert whole_files(tmp_path) == set(UIDS[:4])


def test_an_image_that_came_to_the_pacs_after_our_query_is_kept_and_told(tmp_path):
    late = ct_series(slices=6)[5]

    class Grown(FaultyPacs):
        def get(self, event):
            yield 6
            yield from answers(*SERIES, late)(event)

    with Grown(None) as node:
        retrieval = get_study(node, STUDY_UID, tmp_path)
        again = get_study(node, STUDY_UID, tmp_path)
    assert (retrieval.expected, retrieval.received, len(retrieval.paths)) == (6, 6, 6)
    assert (again.expected, again.received) == (6, 6)
    assert late.SOPInstanceUID in retrieval.notes[0]
    assert "had not listed" in retrieval.notes[0]
    assert whole_files(tmp_path) == {*UIDS, late.SOPInstanceUID}


def test_an_image_that_was_not_listed_and_fails_means_incomplete(tmp_path):
    """0xB000 must not pass as success."""

    class Grown(FaultyPacs):
        def get(self, event):
            yield 6
            yield from answers(*SERIES)(event)
            failed = Dataset()
            failed.FailedSOPInstanceUIDList = "1.2.3"
            yield 0xB000, failed

    with Grown(None) as node:
        with pytest.raises(IncompleteRetrieve, match="Only 5 of 6.*0xB000") as caught:
            get_study(node, STUDY_UID, tmp_path)
    assert caught.value.missing == ("1.2.3",)


def test_a_peer_that_never_stops_sending_is_stopped(tmp_path):
    sent = []

    class Endless(FaultyPacs):
        def get(self, event):
            yield 60000
            while not event.assoc.is_aborted and len(sent) < 60000:
                sent.append(1)
                yield 0xFF00, SERIES[0]

    with Endless(None) as node:
        with pytest.raises(IncompleteRetrieve, match="more were sent than we asked for"):
            get_study(node, STUDY_UID, tmp_path)
    assert len(sent) < 20


# Connections that are cut or stall


@pytest.mark.parametrize("extra", [0, 40])
@pytest.mark.parametrize("pdus", range(13))
def test_the_connection_is_cut_during_a_get(pacs, tmp_path, pdus, extra):
    """1 PDU accepts the association, then 2 for each image and 1 that says pending; the last ones
    answer the rest.
    """
    with Proxy(pacs.node, connection=2, pdus=pdus, extra=extra) as node:
        with pytest.raises(MagicianError) as caught:
            get_study(node, STUDY_UID, tmp_path)
    here = whole_files(tmp_path)
    if here:
        assert isinstance(caught.value, IncompleteRetrieve)
        assert set(caught.value.missing) == set(UIDS) - here
    else:
        assert isinstance(caught.value, AssociationAborted)
    assert get_study(pacs.node, STUDY_UID, tmp_path).received == 5


@pytest.mark.parametrize("pdus", range(4))
def test_the_connection_is_cut_during_the_query_before_a_get(pacs, tmp_path, pdus):
    with Proxy(pacs.node, connection=1, pdus=pdus) as node:
        with pytest.raises(AssociationAborted):
            get_study(node, STUDY_UID, tmp_path)
    assert whole_files(tmp_path) == set()


@pytest.mark.parametrize("pdus", range(4))
def test_the_connection_is_cut_during_a_move(pacs, tmp_path, pdus):
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        pacs.know(receiver.node)
        with Proxy(pacs.node, connection=2, pdus=pdus) as node:
            with pytest.raises((AssociationAborted, IncompleteRetrieve)):
                move_study(node, STUDY_UID, receiver)
        assert move_study(pacs.node, STUDY_UID, receiver).received == 5
    assert whole_files(tmp_path) == set(UIDS)


@pytest.mark.parametrize("pdus", range(1, 6))
def test_the_connection_is_cut_while_we_send(tmp_path, pdus):
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        with Proxy(receiver.node, connection=1, pdus=pdus) as node:
            with pytest.raises(AssociationAborted, match=f"{pdus - 1} of 5 objects were sent"):
                store(node, SERIES)
        assert store(receiver.node, SERIES).sent == 5
    assert whole_files(tmp_path) == set(UIDS)


@pytest.mark.parametrize("extra", [0, 100])
def test_the_peer_stalls_during_a_get(pacs, tmp_path, extra):
    """After two images, between two PDUs or in the middle of one."""
    with Proxy(pacs.node, connection=2, pdus=7, extra=extra, then="stall") as node:
        with pytest.raises(IncompleteRetrieve, match=r"Only 2 of 5.*within 1 s \(dimse_s\)"):
            get_study(node, STUDY_UID, tmp_path)
    assert get_study(pacs.node, STUDY_UID, tmp_path).received == 5


def test_the_peer_stalls_while_we_send(tmp_path):
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        with Proxy(receiver.node, connection=1, pdus=3, then="stall") as node:
            with pytest.raises(PacsTimeout, match="2 of 5 objects were sent"):
                store(node, SERIES)


# Progress bars


def test_no_progress_bar_for_what_is_over_soon(pacs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("magician.progress.DELAY_S", 600)
    get_study(pacs.node, STUDY_UID, tmp_path)
    store(pacs.node, SERIES)
    assert capsys.readouterr().err == ""


def slowly(event, *arguments):
    time.sleep(0.15)  # longer than the bar waits between two updates
    return reception.read_object(event, *arguments)


@pytest.mark.parametrize("progress", [True, False])
def test_a_progress_bar_for_what_takes_long(pacs, tmp_path, capsys, monkeypatch, progress):
    monkeypatch.setattr("magician.progress.DELAY_S", 0.001)
    for module in ("dimse.arrivals", "dimse.receiver", "practice_pacs.dimse_services"):
        monkeypatch.setattr(f"magician.{module}.read_object", slowly)
    with Receiver(tmp_path / "moved", ae_title="INBOX") as receiver:
        pacs.know(receiver.node)
        get_study(pacs.node, STUDY_UID, tmp_path / "got", progress=progress)
        move_study(pacs.node, STUDY_UID, receiver, progress=progress)
        store(pacs.node, SERIES, progress=progress)
    shown = capsys.readouterr().err
    for service in ("C-GET", "C-MOVE", "C-STORE"):
        assert (f"{service}: 100%" in shown and "5/5" in shown) == progress
