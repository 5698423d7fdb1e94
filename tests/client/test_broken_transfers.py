"""Transfers that break off: killed servers, a full disk, a user who interrupts."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from faulty_pacs import SERIES, STUDY_UID, UIDS
from helpers import ct_series
from inbox import whole_files
from orthanc import free_port, running_orthanc

from magician import files
from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.dimse import reception
from magician.dimse.receiver import Receiver
from magician.errors import DimseFailure, IncompleteRetrieve, UnknownMoveDestination
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.upper_layer.acceptor import stop_listening
from magician.upper_layer.limits import Limits

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


def test_a_receiver_with_a_full_quota_refuses_each_further_object(pacs, tmp_path):
    """A smaller object could still find room, so the quota does not stop the retrieve."""
    with Receiver(tmp_path, ae_title="INBOX", limits=Limits(instances=2)) as receiver:
        pacs.know(receiver.node)
        with pytest.raises(IncompleteRetrieve, match="0xB000") as caught:
            move_study(pacs.node, STUDY_UID, receiver)
    assert caught.value.received == len(list(tmp_path.glob("*.dcm"))) == 2
    assert len(caught.value.missing) == 3


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
        assert eventually(lambda: len(pacs._running.listener.active_associations) == 0)
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
