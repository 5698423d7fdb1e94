"""Peers that mean harm: both listeners refuse, log and go on; our client raises; nothing lies
outside the folders.
"""

import random
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from faulty_pacs import SERIES, FaultyPacs
from helpers import ct_series
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from listeners import LISTENERS, a_listener, eventually, nothing_leaks
from pydicom import Dataset, config
from pydicom.uid import UID
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as MOVE

from magician.client.echo import echo
from magician.client.retrieve import get_study
from magician.client.store import store
from magician.dimse.association import associate
from magician.errors import AssociationAborted, AssociationRejected, DimseFailure, MagicianError
from magician.files import read_whole
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.upper_layer import connection
from magician.upper_layer.limits import Limits
from magician.upper_layer.requestor import Connection

STUDY_UID = SERIES[0].StudyInstanceUID
SMALL = ct_series(slices=2, rows=16, columns=16, seed=3)
FUZZ_S = 8  # for each of the byte-level fuzzers

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def all_are_whole(folder):
    return all(path.name == f"{read_whole(path).SOPInstanceUID}.dcm" for path in folder.iterdir())


def files_outside(folder, tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder]


# Bytes


def recorded(monkeypatch, action):
    """What our client sends and receives, connection by connection, each a list of PDUs."""
    sent, received = {}, {}
    send, recv = Connection.send, Connection.recv

    def record_send(self, data):
        sent.setdefault(self, []).append(bytes(data))
        send(self, data)

    def record_recv(self, length):
        data = recv(self, length)
        pdus = received.setdefault(self, [])
        if length == 6:
            pdus.append(bytes(data))
        else:
            pdus[-1] += bytes(data)
        return data

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "send", record_send)
        patched.setattr(Connection, "recv", record_recv)
        action()
    return list(sent.values()), list(received.values())


def mutated(pdus, dice):
    """The same PDUs with some harm done to one of them."""
    pdus = list(pdus)
    number = dice.randrange(len(pdus))
    victim = bytearray(pdus[number])
    harm = dice.choice(["flip", "flip", "length", "cut", "noise", "repeat", "drop"])
    if harm == "flip":
        for _ in range(dice.choice([1, 3, 20])):
            victim[dice.randrange(min(len(victim), 400))] = dice.randrange(256)
    elif harm == "length":
        victim[2:6] = dice.choice([0, 1, 5, len(victim), 2**24, 2**31, 2**32 - 1]).to_bytes(
            4, "big"
        )
    elif harm == "cut":
        del victim[dice.randrange(len(victim)) :]
    elif harm == "noise":
        victim = bytearray(dice.randbytes(dice.randrange(1, 300)))
    elif harm == "repeat":
        victim *= 2
    else:
        victim = bytearray()
    pdus[number] = bytes(victim)
    return pdus


def talk(node, pdus):
    """Send PDUs as they are; the answer to the first is waited for, because what follows counts
    only after it.
    """
    with socket.create_connection((node.host, node.port), timeout=5) as sock:
        sock.settimeout(0.3)
        for number, pdu in enumerate(pdus):
            try:
                sock.sendall(pdu)
                if number == 0:
                    sock.recv(65536)
            except OSError:
                return


@LISTENERS
def test_mutated_bytes_do_a_listener_no_harm(name, tmp_path, monkeypatch):
    dice = random.Random(1)
    with nothing_leaks(), a_listener(name, tmp_path) as (node, folder):
        (session,), _ = recorded(monkeypatch, lambda: store(node, SMALL))
        deadline = time.monotonic() + FUZZ_S
        while time.monotonic() < deadline:
            talk(node, mutated(session, dice))
        assert eventually(lambda: echo(node) == 0x0000)
        store(node, SERIES)
        assert all_are_whole(folder)
        assert files_outside(folder, tmp_path) == []


@contextmanager
def replaying(sessions):
    """A server that answers its connections, one after the other, with these bytes, whatever it is
    sent.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve():
        for pdus in sessions:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(0.05)
                with suppress(OSError):
                    for pdu in pdus:
                        with suppress(TimeoutError):
                            # a request, or the answer to an object; several PDUs may answer one
                            sock.recv(65536)
                        sock.sendall(pdu)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Node("PRACTICE", "127.0.0.1", listener.getsockname()[1], associate_s=1, dimse_s=1)
    finally:
        with socket.socket() as sock:  # wakes the thread
            sock.connect_ex(("127.0.0.1", listener.getsockname()[1]))
        listener.close()
        thread.join(15)


def test_mutated_answers_do_our_client_no_harm(tmp_path, monkeypatch):
    dice = random.Random(2)
    with PracticePacs() as pacs:
        pacs.add(SMALL)
        uid = SMALL[0].StudyInstanceUID
        _, sessions = recorded(
            monkeypatch, lambda: get_study(pacs.node, uid, tmp_path / "reference")
        )
    with nothing_leaks():
        deadline, ends = time.monotonic() + FUZZ_S, set()
        while time.monotonic() < deadline:
            victim = dice.randrange(len(sessions))
            harmed = [
                mutated(pdus, dice) if i == victim else pdus for i, pdus in enumerate(sessions)
            ]
            with replaying(harmed) as node:
                try:
                    get_study(node, uid, tmp_path / "kept", progress=False)
                    ends.add("complete")
                except MagicianError as error:
                    ends.add(type(error).__name__)
            if (tmp_path / "kept").exists():
                assert all_are_whole(tmp_path / "kept")
    assert len(ends) > 1  # some of them came through to where it matters
    assert files_outside(tmp_path / "kept", tmp_path / "kept") == []


@LISTENERS
@pytest.mark.parametrize(
    "first", [b"\x01\x00\xff\xff\xff\xff", b"\x04\x00\x40\x00\x00\x00", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_a_pdu_of_a_huge_length_is_refused_at_once(name, first, tmp_path):
    with (
        nothing_leaks(),
        a_listener(name, tmp_path, Limits(idle_s=600, associate_s=600)) as (node, _),
    ):
        with socket.create_connection((node.host, node.port), timeout=30) as sock:
            sock.sendall(first)
            answer = sock.recv(100)
        assert answer[:1] in (b"", b"\x07")  # closed, or an A-ABORT
        assert echo(node) == 0x0000


@LISTENERS
def test_a_caller_that_stalls_in_the_middle_of_a_pdu_is_cut_off(name, tmp_path):
    with nothing_leaks(), a_listener(name, tmp_path, Limits(idle_s=1, associate_s=1)) as (node, _):
        with socket.create_connection((node.host, node.port), timeout=30) as sock:
            sock.sendall(b"\x01\x00\x00\x00\x01\x00half")
            assert sock.recv(100)[:1] in (b"", b"\x07")


@LISTENERS
def test_a_caller_that_says_nothing_is_cut_off(name, tmp_path):
    with nothing_leaks(), a_listener(name, tmp_path, Limits(idle_s=1, associate_s=1)) as (node, _):
        with socket.create_connection((node.host, node.port), timeout=30) as sock:
            assert sock.recv(100)[:1] in (b"", b"\x07")
        with associate(node, [SERIES[0].SOPClassUID]) as association:
            assert eventually(lambda: not association.is_established)


# Numbers and sizes


@LISTENERS
def test_hundreds_of_connections_at_once(name, tmp_path):
    limits = Limits(associations=4, associate_s=2, idle_s=2)
    with nothing_leaks(), a_listener(name, tmp_path, limits) as (node, _):
        before = threading.active_count()
        sockets = [socket.create_connection((node.host, node.port), timeout=30) for _ in range(300)]
        assert threading.active_count() <= before + 3 * 2 * limits.associations
        for sock in sockets:
            sock.close()
        assert eventually(lambda: answers(node))


@LISTENERS
def test_thousands_of_connections_one_after_the_other(name, tmp_path):
    with nothing_leaks(), a_listener(name, tmp_path) as (node, _):
        deadline, count = time.monotonic() + 20, 0
        while count < 2000 and time.monotonic() < deadline:
            socket.create_connection((node.host, node.port), timeout=30).close()
            count += 1
        assert eventually(lambda: answers(node))


def answers(node):
    try:
        return echo(node) == 0x0000
    except MagicianError:
        return False


def test_one_association_too_many_is_rejected_with_its_reason(tmp_path):
    with PracticePacs(limits=Limits(associations=2)) as pacs:
        with (
            associate(pacs.node, ["1.2.840.10008.1.1"]),
            associate(pacs.node, ["1.2.840.10008.1.1"]),
        ):
            with pytest.raises(AssociationRejected, match="[Ll]ocal limit exceeded"):
                echo(pacs.node)
        assert eventually(lambda: answers(pacs.node))


@LISTENERS
@pytest.mark.parametrize(
    ("limits", "kept"),
    [(Limits(instances=3), 3), (Limits(total_bytes=25_000), 2), (Limits(object_bytes=5_000), 0)],
)
def test_more_than_the_limits_allow_is_refused(name, limits, kept, tmp_path):
    with a_listener(name, tmp_path, limits) as (node, folder):
        with pytest.raises((DimseFailure, AssociationAborted)):
            store(node, SERIES)
        assert len(list(folder.iterdir())) == kept
        assert all_are_whole(folder)
        assert echo(node) == 0x0000


def test_an_object_that_is_too_large_ends_a_get(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "LARGEST_OBJECT_BYTES", 5_000)
    with PracticePacs() as pacs, nothing_leaks():
        pacs.add(SERIES)
        with pytest.raises(AssociationAborted):
            get_study(pacs.node, STUDY_UID, tmp_path)
    assert list(tmp_path.iterdir()) == []


# UIDs, titles and other values

HOSTILE_TEXT = st.one_of(
    st.text(alphabet="./\\0123456789~\x00\n abc", min_size=1, max_size=70),
    st.sampled_from(
        [
            "../../escaped",
            "/etc/escaped",
            "..",
            "1.2/../../3",
            "C:\\escaped",
            "1" * 65,
            "1.2\n",
            "con",
        ]
    ),
)


@LISTENERS
def test_hostile_uids_do_a_listener_no_harm(name, tmp_path):
    with nothing_leaks(), a_listener(name, tmp_path) as (node, folder):

        @seed(3)
        @settings(
            max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(instance=HOSTILE_TEXT, series=HOSTILE_TEXT, study=HOSTILE_TEXT)
        def send(instance, series, study):
            (ds,) = ct_series(slices=1, rows=4, columns=4)
            with unchecked():
                ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(instance)
                ds.SeriesInstanceUID, ds.StudyInstanceUID = series, study
                with suppress(MagicianError):
                    store(node, [ds])

        send()
        assert all_are_whole(folder)
        assert files_outside(folder, tmp_path) == []
        assert echo(node) == 0x0000


@contextmanager
def unchecked():
    """Let pydicom make what is not legal."""
    reading, writing = (
        config.settings.reading_validation_mode,
        config.settings.writing_validation_mode,
    )
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = (
        config.IGNORE
    )
    try:
        yield
    finally:
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = (
            reading,
            writing,
        )


def test_hostile_uids_do_our_client_no_harm(tmp_path):
    offered = []

    class Hostile(FaultyPacs):
        def find(self, event):
            for _, answer in super().find(event):
                if event.identifier.QueryRetrieveLevel == "IMAGE":
                    answer.SOPInstanceUID = offered[-1]
                yield 0xFF00, answer

        def get(self, event):
            yield 1
            (ds,) = ct_series(slices=1, rows=4, columns=4)
            ds.StudyInstanceUID = STUDY_UID
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(offered[-1])
            yield 0xFF00, ds

    folder = tmp_path / "a" / "b" / "kept"
    with nothing_leaks(), Hostile(None, promised=SERIES[:1], dimse_s=5) as node, unchecked():

        @seed(4)
        @settings(
            max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(uid=HOSTILE_TEXT)
        def get(uid):
            offered.append(uid)
            with suppress(MagicianError):
                get_study(node, STUDY_UID, folder)

        get()
    assert files_outside(folder, tmp_path) == []


@pytest.mark.parametrize("title", ["A" * 17, "A" * 64, "../../x", "A\\B", ""])
def test_titles_that_no_destination_has(title, tmp_path):
    """A C-MOVE to a title that is over-long or odd; the PACS answers and goes on."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", STUDY_UID
    with PracticePacs() as pacs:
        pacs.add(SERIES)
        with associate(pacs.node, [MOVE]) as association:
            try:
                responses = list(association.send_c_move(identifier, title, MOVE))
            except ValueError:  # pynetdicom does not even send it
                responses = []
        assert all(response.get("Status", 0xC000) != 0x0000 for response, _ in responses)
        assert echo(pacs.node) == 0x0000
