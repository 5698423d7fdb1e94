"""Peers that flood, stall or cut short, and a computer short of threads: nothing hangs, grows or
stays behind.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from certificates import Authority
from faulty_pacs import SERIES
from helpers import ct_series
from listeners import LISTENERS, a_listener, eventually, nothing_leaks
from pydicom import dcmread
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.acse import ACSE
from pynetdicom.dimse_primitives import C_CANCEL, C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from magician.client.echo import echo
from magician.client.retrieve import get_study
from magician.client.store import store
from magician.dimse.association import associate
from magician.dimse.receiver import Receiver
from magician.errors import AssociationAborted, DimseFailure, MagicianError, ServiceNotAccepted
from magician.files import instance_path, save_dataset
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.tls import server_tls
from magician.upper_layer import acceptor
from magician.upper_layer.limits import Limits

STUDY_UID = SERIES[0].StudyInstanceUID

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@contextmanager
def pynetdicom_server(handlers):
    ae = AE(ae_title="OTHER")
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield Node("OTHER", "127.0.0.1", server.server_address[1], dimse_s=5)
    finally:
        server.shutdown()


def cancel(association, times):
    """Send C-CANCELs for nothing that was asked; pynetdicom keeps ten of them."""
    for number in range(times):
        message = C_CANCEL()
        message.MessageIDBeingRespondedTo = 1000 + number
        association.dimse.send_msg(message, 1)


# More than was asked for


@LISTENERS
def test_a_caller_cancels_more_than_it_asked_for(name, tmp_path):
    with nothing_leaks(), a_listener(name, tmp_path, Limits(associations=2)) as (node, _):
        for _ in range(6):
            with suppress(MagicianError), associate(node, [Verification]) as association:
                cancel(association, 12)
                assert eventually(lambda: not association.is_established)  # noqa: B023
        assert echo(node) == 0x0000


def test_a_pacs_cancels_what_we_never_asked(tmp_path):
    def answer(event):
        cancel(event.assoc, 12)
        return 0x0000

    with (
        pynetdicom_server([(evt.EVT_C_ECHO, answer)]) as node,
        associate(node, [Verification]) as association,
    ):
        association.send_c_echo()
        assert eventually(lambda: not association.is_established)


def test_a_peer_takes_no_message_at_all(monkeypatch):
    monkeypatch.setattr(ACSE, "send_accept", lower_maximum_length(ACSE.send_accept))
    with (
        pynetdicom_server([]) as node,
        pytest.raises(AssociationAborted, match="no more than 6 bytes"),
    ):
        echo(node)


def lower_maximum_length(send_accept):
    def send(acse):
        acse.assoc.acceptor.maximum_length = 6
        send_accept(acse)

    return send


def test_objects_that_come_faster_than_they_can_be_kept_wait_with_the_sender(tmp_path):
    kept, go_on = [], threading.Event()

    def keep_slowly(event):
        go_on.wait(30)
        kept.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    with Receiver(tmp_path) as receiver:
        receiver._server.bind(evt.EVT_C_STORE, keep_slowly)
        finished = threading.Event()
        sender = threading.Thread(
            target=send_without_waiting, args=[receiver.node, 60, finished], daemon=True
        )
        sender.start()
        assert eventually(lambda: receiver._server.active_associations)
        [association] = receiver._server.active_associations
        assert eventually(lambda: association.dimse.msg_queue.qsize() >= 8)
        time.sleep(0.5)
        assert association.dimse.msg_queue.qsize() == 8
        go_on.set()
        assert eventually(lambda: len(kept) == 60)
        finished.set()
        sender.join(30)


def send_without_waiting(node, count, finished):
    dataset = ct_series(slices=2, rows=16, columns=16)[0]
    content = encode(dataset, False, True)
    with associate(node, [build_context(CTImageStorage, "1.2.840.10008.1.2.1")]) as association:
        for number in range(count):
            request = C_STORE()
            request.MessageID, request.Priority, request.DataSet = number, 2, BytesIO(content)
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = (
                CTImageStorage,
                dataset.SOPInstanceUID,
            )
            association.dimse.send_msg(request, 1)
        finished.wait(60)


# Less than was said


def cut(dataset, folder, pixels):
    """A file that ends in the middle of its pixels, as a full disk or a power cut leaves one."""
    path = save_dataset(dataset, folder)
    path.write_bytes(path.read_bytes()[: -len(dataset.PixelData) + pixels])
    return path


def test_a_file_that_is_cut_is_not_sent(tmp_path):
    (tmp_path / "source").mkdir()
    path = cut(SERIES[1], tmp_path / "source", 100)
    with PracticePacs(folder=tmp_path / "pacs") as pacs:
        with pytest.raises(
            MagicianError, match=f"{path.name} is not whole.*1 of 2 objects were sent"
        ):
            store(pacs.node, [SERIES[0], path])
        assert [file.stem for file in pacs.folder.iterdir()] == [SERIES[0].SOPInstanceUID]


@LISTENERS
def test_an_object_that_is_cut_is_refused(name, tmp_path):
    dataset = dcmread(save_dataset(SERIES[0], tmp_path))
    dataset.PixelData = dataset.PixelData[:100]
    with a_listener(name, tmp_path) as (node, folder):
        with pytest.raises(DimseFailure, match="0xC000"):
            store(node, [dataset])
        assert list(folder.iterdir()) == []


def test_a_pacs_that_holds_a_cut_object_can_not_pass_it_for_whole(tmp_path):
    (tmp_path / "pacs").mkdir()
    for dataset in SERIES[1:]:
        save_dataset(dataset, tmp_path / "pacs")
    cut(SERIES[0], tmp_path / "pacs", 100)
    with PracticePacs(folder=tmp_path / "pacs") as pacs:
        with pytest.raises(MagicianError) as caught:
            get_study(pacs.node, STUDY_UID, tmp_path / "inbox")
        assert list(caught.value.missing) == [SERIES[0].SOPInstanceUID]
    assert not instance_path(tmp_path / "inbox", SERIES[0].SOPInstanceUID).exists()


def test_a_pacs_starts_whatever_lies_in_its_folder(tmp_path):
    whole = save_dataset(SERIES[0], tmp_path)
    content = whole.read_bytes()
    other = instance_path(tmp_path, SERIES[1].SOPInstanceUID)
    for end in range(100, len(content) - len(SERIES[0].PixelData), 3):
        other.write_bytes(content[:end])
        with PracticePacs(folder=tmp_path) as pacs:
            assert echo(pacs.node) == 0x0000


@LISTENERS
def test_what_could_inflate_without_end_is_not_taken(name, tmp_path):
    deflated = build_context(CTImageStorage, DeflatedExplicitVRLittleEndian)
    with (
        a_listener(name, tmp_path) as (node, _),
        pytest.raises(ServiceNotAccepted),
        associate(node, [deflated]),
    ):
        pass


# Slow, silent, interrupted


class SlowLink:
    """Passes bytes on to a node, so many per second."""

    def __init__(self, node, rate):
        self._target, self._rate = (node.host, node.port), rate
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        self.node = replace(node, port=self._listening.getsockname()[1])
        self._sockets = [self._listening]

    def __enter__(self):
        threading.Thread(target=self._run, daemon=True).start()
        return self.node

    def __exit__(self, *exception):
        for one in self._sockets:
            one.close()

    def _run(self):
        with suppress(OSError):  # until it is closed
            while True:
                caller, _ = self._listening.accept()
                target = socket.create_connection(self._target)
                self._sockets += [caller, target]
                for ends in ([caller, target], [target, caller]):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source, drain):
        with suppress(OSError):
            while data := source.recv(16384):
                drain.sendall(data)
                time.sleep(len(data) / self._rate)
        with suppress(OSError):
            drain.shutdown(socket.SHUT_WR)


def test_a_large_object_may_take_longer_than_an_answer(tmp_path):
    large = deepcopy(ct_series(slices=2, rows=16, columns=16)[0])
    large.Rows, large.Columns, large.PixelData = 2048, 2048, bytes(2 * 2048**2)
    rate = 1_500_000  # bytes a second, of 8 MB; more than is in the computers' buffers must remain
    with Receiver(tmp_path) as receiver, SlowLink(replace(receiver.node, dimse_s=3), rate) as node:
        assert store(node, [large]).sent == 1
    with PracticePacs() as pacs:
        pacs.add([large])
        with SlowLink(replace(pacs.node, dimse_s=3), rate) as node:
            assert get_study(node, large.StudyInstanceUID, tmp_path / "inbox").received == 1


def test_a_stop_does_not_wait_for_a_caller_that_is_silent_in_the_handshake(tmp_path):
    certificate = Authority(tmp_path, "clinic").certify("pacs")
    tls = server_tls(certificate.certificate, certificate.key)
    receiver = Receiver(tmp_path / "in", tls=tls, limits=Limits(associate_s=300))
    with nothing_leaks():
        receiver.__enter__()
        with socket.create_connection((receiver.node.host, receiver.node.port)):
            assert eventually(lambda: receiver._server._pending_connections)
            stopping = threading.Thread(target=receiver.__exit__, args=[None, None, None])
            stopping.start()
            stopping.join(60)
            assert not stopping.is_alive()


def test_a_computer_without_threads_to_spare_takes_callers_again_later(tmp_path, monkeypatch):
    def no_thread(self, request, client_address):
        raise RuntimeError("can't start new thread")

    with Receiver(tmp_path, limits=Limits(associations=2)) as receiver:
        with monkeypatch.context() as short:
            short.setattr(acceptor.ThreadedAssociationServer, "process_request", no_thread)
            for _ in range(6):
                with socket.create_connection((receiver.node.host, receiver.node.port)) as caller:
                    caller.settimeout(10)
                    with suppress(ConnectionError):
                        assert caller.recv(1) == b""
        assert echo(receiver.node) == 0x0000


INTERRUPTED = """
import sys
from magician import Node, echo
print("go", flush=True)
try:
    echo(Node("SILENT", "127.0.0.1", int(sys.argv[1]), associate_s=300))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_an_interrupt_while_a_peer_is_silent_ends_the_program():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [sys.executable, "-c", INTERRUPTED, str(silent.getsockname()[1])]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as program:
            assert program.stdout.readline() == "go\n"
            caller, _ = silent.accept()
            with caller:
                assert caller.recv(6)[0] == 1  # its request for an association is on the way
                program.send_signal(signal.SIGINT)
                try:
                    assert program.communicate(timeout=60)[0] == "interrupted\n"
                finally:
                    program.kill()
