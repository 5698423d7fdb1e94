"""Retrieves and sendings that break: all of it arrives, or an error says what is missing."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from faulty_pacs import SERIES, FaultyPacs, Proxy
from helpers import ct_series
from orthanc import free_port, running_orthanc
from pydicom import dcmread

from magician import files
from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.dimse import reception
from magician.dimse.receiver import Receiver
from magician.errors import (
    AssociationAborted,
    DimseFailure,
    IncompleteRetrieve,
    MagicianError,
    PacsTimeout,
    UnknownMoveDestination,
)
from magician.files import read_whole, save_dataset
from magician.node import Node
from magician.practice_pacs.archive import Archive
from magician.practice_pacs.pacs import PracticePacs
from magician.upper_layer.acceptor import stop_listening
from magician.upper_layer.limits import Limits

STUDY_UID, SERIES_UID = SERIES[0].StudyInstanceUID, SERIES[0].SeriesInstanceUID
UIDS = [ds.SOPInstanceUID for ds in SERIES]


@pytest.fixture
def pacs():
    with PracticePacs() as pacs:
        pacs.add(SERIES)
        yield pacs


@pytest.fixture
def requests(pacs, monkeypatch):
    """The level of each C-GET and C-MOVE that the practice PACS is asked for, and how many
    instances.
    """
    seen, original = [], Archive.paths

    def selected(self, identifier):
        uids = identifier.get("SOPInstanceUID", [])
        seen.append((identifier.QueryRetrieveLevel, 1 if isinstance(uids, str) else len(uids)))
        return original(self, identifier)

    monkeypatch.setattr(Archive, "paths", selected)
    return seen


def whole_files(folder):
    """The instances that lie in a folder, each checked to be whole; fails if anything else lies
    there.
    """
    uids = set()
    for path in folder.iterdir():
        assert path.name == f"{read_whole(path).SOPInstanceUID}.dcm"
        uids.add(path.stem)
    return uids


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
    monkeypatch.setattr("magician.dimse.retrieve_request.UIDS_AT_ONCE", 3)
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


def test_a_warning_about_an_image_that_was_not_listed_means_incomplete(tmp_path):
    """It came to the PACS between our C-FIND and our C-GET; 0xB000 must not pass as success."""
    late = ct_series(slices=6)[5]

    class Grown(FaultyPacs):
        def get(self, event):
            yield 6
            yield from answers(*SERIES, late)(event)

    with Grown(None) as node:
        with pytest.raises(IncompleteRetrieve, match="Only 5 of 6.*0xB000") as caught:
            get_study(node, STUDY_UID, tmp_path)
    assert caught.value.missing == (late.SOPInstanceUID,)


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


# Servers that are killed, and destinations that die


def call_after(folder, images, action):
    """Call `action` as soon as so many images lie in a folder."""

    def watch():
        while len(list(folder.glob("*.dcm"))) < images:
            time.sleep(0.001)
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


MANY = ct_series(slices=60, rows=256, columns=256)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGSTOP])
def test_orthanc_is_killed_or_frozen_in_the_middle_of_a_get(tmp_path, stop):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    processes = []
    with running_orthanc(
        tmp_path, known={"MAGICIAN": free_port()}, started=processes.append
    ) as node:
        store(node, MANY)
        watching = call_after(inbox, 5, lambda: os.kill(processes[0].pid, stop))
        patient = Node(node.ae_title, node.host, node.port, dimse_s=1)
        try:
            with pytest.raises(IncompleteRetrieve) as caught:
                get_study(patient, MANY[0].StudyInstanceUID, inbox)
        finally:
            os.kill(processes[0].pid, signal.SIGCONT)
        watching.join()
        here = whole_files(inbox)
        assert set(caught.value.missing) == {ds.SOPInstanceUID for ds in MANY} - here
        assert 5 <= len(here) < 60
        if stop == signal.SIGSTOP:
            assert get_study(node, MANY[0].StudyInstanceUID, inbox).received == 60


@pytest.mark.parametrize("server", ["orthanc", "practice PACS"])
def test_the_destination_dies_in_the_middle_of_a_move(tmp_path, server):
    inbox, port = tmp_path / "inbox", free_port()

    def move(node):
        with Receiver(inbox, ae_title="INBOX", port=port) as receiver:
            watching = call_after(inbox, 5, lambda: receiver.__exit__())
            with pytest.raises(IncompleteRetrieve) as caught:
                move_study(node, MANY[0].StudyInstanceUID, receiver)
            watching.join()
        assert set(caught.value.missing) == {ds.SOPInstanceUID for ds in MANY} - whole_files(inbox)
        assert 5 <= caught.value.received < 60
        with Receiver(inbox, ae_title="INBOX", port=port) as receiver:
            assert move_study(node, MANY[0].StudyInstanceUID, receiver).received == 60

    if server == "orthanc":
        with running_orthanc(tmp_path, known={"MAGICIAN": free_port(), "INBOX": port}) as node:
            store(node, MANY)
            move(node)
    else:
        with PracticePacs() as pacs:
            pacs.know(Node("INBOX", "127.0.0.1", port))
            pacs.add(MANY)
            move(pacs.node)


def test_an_object_that_is_being_written_when_the_destination_dies_has_come(
    tmp_path, pacs, monkeypatch
):
    begun, written, original = threading.Event(), [], reception.write_whole

    def slow_at_the_third(path, content):
        if len(written) == 2:
            begun.set()
            time.sleep(0.5)
        original(path, content)
        written.append(path.stem)

    monkeypatch.setattr(reception, "write_whole", slow_at_the_third)
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        pacs.know(receiver.node)
        stopping = threading.Thread(target=lambda: begun.wait() and receiver.__exit__())
        stopping.start()
        with pytest.raises(IncompleteRetrieve) as caught:
            move_study(pacs.node, STUDY_UID, receiver)
        assert len(written) == caught.value.received == 3
        assert set(caught.value.missing) == set(UIDS) - set(written)
        stopping.join()


def test_a_receiver_that_stops_takes_no_further_object(tmp_path, monkeypatch):
    refused, original = [], stop_listening

    def one_comes_late(server):
        with pytest.raises(DimseFailure) as caught:
            store(receiver.node, SERIES[:1])
        refused.append(caught.value.status)
        original(server)

    monkeypatch.setattr("magician.dimse.receiver.stop_listening", one_comes_late)
    with Receiver(tmp_path) as receiver:
        pass
    assert refused == [0xA700]
    assert not list(tmp_path.iterdir())


def test_the_destination_is_dead(pacs):
    pacs.know(Node("DEAD", "127.0.0.1", free_port()))
    with pytest.raises(UnknownMoveDestination, match="could not reach it"):
        move_study(pacs.node, STUDY_UID, Node("DEAD", "127.0.0.1", 11112))


# A disk that is full


def no_space_after(monkeypatch, images):
    """Let the disk be full after so many images."""
    written, original = [], reception.write_whole

    def write(path, content):
        if len(written) == images:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        original(path, content)

    monkeypatch.setattr(reception, "write_whole", write)


def test_the_disk_is_full_in_the_middle_of_a_get(pacs, tmp_path, monkeypatch):
    with monkeypatch.context() as full:
        no_space_after(full, 2)
        with pytest.raises(
            IncompleteRetrieve, match="Only 2 of 5.*this computer.*No space left"
        ) as caught:
            get_study(pacs.node, STUDY_UID, tmp_path)
    assert isinstance(caught.value.__cause__.__cause__, OSError)
    assert set(caught.value.missing) == set(UIDS) - whole_files(tmp_path)
    assert get_study(pacs.node, STUDY_UID, tmp_path).received == 5


def test_the_disk_is_full_from_the_start_of_a_get(pacs, tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(IncompleteRetrieve, match="Only 0 of 5.*No space left"):
        get_study(pacs.node, STUDY_UID, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_full_in_the_middle_of_a_move(pacs, tmp_path, monkeypatch):
    only_just = Limits(instances=5)  # an image that could not be written must not count
    with Receiver(tmp_path, ae_title="INBOX", limits=only_just) as receiver:
        pacs.know(receiver.node)
        with monkeypatch.context() as full:
            no_space_after(full, 2)
            with pytest.raises(
                IncompleteRetrieve, match="Only 2 of 5.*this computer.*No space left"
            ):
                move_study(pacs.node, STUDY_UID, receiver)
        assert whole_files(tmp_path) == {path.stem for path in receiver.received}
        assert move_study(pacs.node, STUDY_UID, receiver).received == 5


FILES_MAY_NOT_GROW = """
import resource, sys
from magician import MagicianError, Node, get_study
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))  # a slice is larger
try:
    get_study(Node.parse(sys.argv[1]), sys.argv[2], sys.argv[3])
except MagicianError as error:
    print(type(error).__name__, error)
"""


def test_a_write_that_the_system_cuts_short_leaves_no_file(pacs, tmp_path):
    command = [sys.executable, "-c", FILES_MAY_NOT_GROW, str(pacs.node), STUDY_UID, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "IncompleteRetrieve Only 0 of 5" in output
    assert "File too large" in output
    assert list(tmp_path.iterdir()) == []


# Interrupted by the user


def interrupt_after(folder, images):
    return call_after(
        folder, images, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    )


@pytest.mark.parametrize("how", ["get", "move"])
def test_the_user_interrupts_a_retrieve(tmp_path, how):
    inbox = tmp_path / "inbox"
    with PracticePacs() as pacs, Receiver(inbox, ae_title="INBOX") as receiver:
        pacs.know(receiver.node)
        pacs.add(MANY)
        watching = interrupt_after(inbox, 5)
        retrieve, to = (get_study, inbox) if how == "get" else (move_study, receiver)
        with pytest.raises(KeyboardInterrupt):
            retrieve(pacs.node, MANY[0].StudyInstanceUID, to)
        watching.join()
        assert eventually(lambda: len(pacs._server.active_associations) == 0)
        assert 5 <= len(whole_files(inbox)) < 60
        assert get_study(pacs.node, MANY[0].StudyInstanceUID, inbox).received == 60


def test_the_user_interrupts_a_sending(tmp_path):
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        watching = interrupt_after(tmp_path, 5)
        with pytest.raises(KeyboardInterrupt):
            store(receiver.node, MANY)
        watching.join()
        assert eventually(lambda: len(receiver._server.active_associations) == 0)
        assert 5 <= len(whole_files(tmp_path)) < 60


def eventually(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


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
