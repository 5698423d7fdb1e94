"""One test for each way in which a connection can fail, each with its own error and advice."""

import socket
import ssl
import threading
import time

import pytest
from helpers import ct_series
from orthanc import free_port
from peers import listening, rejects, says, scp, swallowing
from pynetdicom import evt
from pynetdicom.sop_class import CTImageStorage, Verification

from magician.client.echo import echo
from magician.client.find import find_studies
from magician.client.store import store
from magician.dimse.association import associate
from magician.dimse.failures import explain_failure
from magician.errors import (
    AssociationAborted,
    AssociationRejected,
    DimseFailure,
    PacsTimeout,
    PacsUnreachable,
    ServiceNotAccepted,
    TlsFailure,
)
from magician.node import Node, is_loopback
from magician.practice_pacs.pacs import PracticePacs
from magician.upper_layer.requestor import Connection


def test_healthy_pacs_answers_an_echo():
    with PracticePacs() as pacs:
        assert echo(pacs.node) == 0x0000


def test_nobody_listens_on_the_port():
    node = Node("PACS", "127.0.0.1", free_port())
    with pytest.raises(
        PacsUnreachable, match=f"Nothing listens on 127.0.0.1:{node.port}.*Is the PACS started"
    ):
        echo(node)


def test_host_name_is_unknown():
    with pytest.raises(PacsUnreachable, match="pacs.invalid.*not known to this computer"):
        echo(Node("PACS", "pacs.invalid", 104))


def test_host_swallows_packets():
    with swallowing() as port:
        started = time.monotonic()
        with pytest.raises(
            PacsUnreachable, match=r"No answer .* within 0.5 s \(connect_s\)"
        ) as caught:
            echo(Node("PACS", "127.0.0.1", port, connect_s=0.5))
        assert isinstance(caught.value, PacsTimeout)
        assert time.monotonic() - started < 30


def test_pacs_has_another_title():
    with PracticePacs(ae_title="PRACTICE") as pacs:
        node = Node("practice", "127.0.0.1", pacs.node.port)
        with pytest.raises(
            AssociationRejected, match="does not go by the AE title 'practice'.*letter case"
        ):
            echo(node)


def test_pacs_does_not_know_us():
    with PracticePacs(allowed_ae_titles=["SOMEBODY"]) as pacs:
        with pytest.raises(
            AssociationRejected, match="does not know us as 'MAGICIAN'.*Ask its administrator"
        ):
            echo(pacs.node)


def test_pacs_refuses_us_faster_than_we_look(monkeypatch):
    """The answer and the end of the connection are there before our thread looks whether we are
    connected.
    """

    class Late(threading.Event):
        def wait(self, timeout=None):
            super().wait(timeout)
            time.sleep(0.3)

    def begin(self, *arguments):
        original(self, *arguments)
        self._ready = Late()

    original = Connection.__init__
    monkeypatch.setattr(Connection, "__init__", begin)
    with listening(rejects(1, 1, 3)) as node:
        with pytest.raises(AssociationRejected, match="does not know us"):
            echo(node)


def test_pacs_offers_no_common_service():
    with scp(contexts=[Verification]) as node:
        with pytest.raises(
            ServiceNotAccepted, match="Study Root .* FIND.*administrator must switch them on"
        ):
            find_studies(node)


def test_port_belongs_to_a_web_server():
    with listening(
        says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>400</html>")
    ) as node:
        with pytest.raises(AssociationAborted, match="as a web server does. Is this a DICOM port"):
            echo(node)


def test_peer_never_answers_the_association_request():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        node = Node("PACS", "127.0.0.1", listener.getsockname()[1], associate_s=0.5)
        with pytest.raises(
            PacsTimeout,
            match=r"did not answer our association request within 0.5 s \(associate_s\)",
        ):
            echo(node)


def test_peer_answers_the_association_request_a_byte_at_a_time():
    """Each byte comes in time, and the answer never."""

    def trickle(peer):
        while True:
            peer.sendall(b"\x02")
            time.sleep(0.1)

    with listening(trickle, associate_s=0.5) as node:
        with pytest.raises(AssociationAborted, match="a broken message"):
            echo(node)


def test_peer_stops_reading_while_we_send():
    """Its TCP buffers fill up, and then a plain ``socket.send`` would wait for ever."""
    stop = threading.Event()

    def deaf(event):
        event.assoc.dul._is_transport_event = lambda: stop.wait(100) and False

    image = ct_series(slices=1, rows=512, columns=512)[0]
    image.Rows *= 8
    image.Columns *= 8
    image.PixelData *= 64  # 32 MB, more than the buffers of both sides hold
    with scp(
        [(evt.EVT_ESTABLISHED, deaf)], contexts=[CTImageStorage], associate_s=100, dimse_s=0.6
    ) as node:
        started = time.monotonic()
        try:
            with pytest.raises(
                PacsTimeout, match=r"did not answer our C-STORE within 0.6 s \(dimse_s\)"
            ):
                store(node, [image])
            assert time.monotonic() - started < 40
        finally:
            stop.set()


def test_pacs_never_answers_the_echo():
    release = threading.Event()

    def sleep(event):
        release.wait(5)
        return 0x0000

    with scp([(evt.EVT_C_ECHO, sleep)], dimse_s=0.6) as node:
        try:
            with pytest.raises(
                PacsTimeout, match=r"did not answer our C-ECHO within 0.6 s \(dimse_s\)"
            ):
                echo(node)
        finally:
            release.set()


def test_pacs_drops_us_at_the_query():
    """Orthanc does this to callers that it does not know: the association stands, and the first
    C-FIND ends it.
    """

    def drop(event):
        event.assoc.abort()
        yield 0xC000, None

    with scp([(evt.EVT_C_FIND, drop)]) as node:
        with pytest.raises(
            AssociationAborted, match="instead of answering our C-FIND.*connect but not find"
        ):
            find_studies(node)


def test_echo_is_refused():
    with scp([(evt.EVT_C_ECHO, lambda event: 0x0122)]) as node:
        with pytest.raises(DimseFailure, match="SOP class not supported") as caught:
            echo(node)
    assert caught.value.status == 0x0122


def test_tls_is_spoken_to_a_plain_port():
    with scp() as node:
        tls = Node("PEER", "127.0.0.1", node.port, associate_s=2, tls=ssl.create_default_context())
        with pytest.raises(TlsFailure, match="does not speak TLS.*leave tls out"):
            echo(tls)


def test_an_association_is_closed_when_its_block_ends():
    closed = threading.Event()
    with scp([(evt.EVT_RELEASED, lambda event: closed.set())]) as node:
        with associate(node, [Verification]) as association:
            assert association.is_established
        assert closed.wait(5)
        assert not association.is_established


def test_an_association_is_aborted_when_its_block_fails():
    aborted = threading.Event()
    with scp([(evt.EVT_ABORTED, lambda event: aborted.set())]) as node:
        with pytest.raises(KeyError), associate(node, [Verification]):
            raise KeyError("something of the caller's")
        assert aborted.wait(5)


def test_messages_are_not_held_back_by_nagle():
    options = []

    def look(event):
        sock = event.assoc.dul.socket.socket
        options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    with (
        PracticePacs() as pacs,
        associate(pacs.node, [Verification], handlers=[(evt.EVT_ACCEPTED, look)]),
    ):
        pass
    assert options == [1]


def test_a_request_that_follows_closely_on_another_gets_its_answer():
    """The reactor thread must not pass its checkpoint while it still says that it is paused."""
    passed = threading.Event()
    with PracticePacs() as pacs, associate(pacs.node, [Verification]) as association:
        checkpoint = association._reactor_checkpoint
        for _ in range(20):
            checkpoint.clear()
            while not association._is_paused:
                time.sleep(0.001)
            passed.clear()
            association.dimse.get_msg = lambda block: passed.set() or (None, None)
            checkpoint.set()
            checkpoint.clear()
            if association._is_paused:
                assert not passed.wait(0.05)
            del association.dimse.get_msg
            checkpoint.set()


def test_nobody_waits_for_an_answer_over_a_connection_that_has_closed():
    """What the reactor thread takes off the queue must not be what says that the connection is
    gone.
    """
    with PracticePacs() as pacs, associate(pacs.node, [Verification]) as association:
        association._reactor_checkpoint.clear()
        while not association._is_paused:
            time.sleep(0.001)
        association.dul.socket.force_close()
        assert association.dimse.msg_queue.get(timeout=5) == (None, None)
        started = time.monotonic()
        assert association.dimse.get_msg(block=True) == (None, None)
        assert time.monotonic() - started < 5  # of 20


def test_an_association_that_is_accepted_and_lost_is_not_one_without_services():
    with PracticePacs() as pacs:
        with associate(pacs.node, [Verification]) as association:
            association.abort()
            wanted = association.requestor.requested_contexts
            error = explain_failure(association, pacs.node, wanted)
    assert isinstance(error, AssociationAborted)
    assert "ended the association before our request was sent" in str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ORTHANC@127.0.0.1:4242", ("ORTHANC", "127.0.0.1", 4242)),
        ("MY PACS@pacs.example:104", ("MY PACS", "pacs.example", 104)),
        ("A@[::1]:11112", ("A", "::1", 11112)),
    ],
)
def test_a_node_is_read_from_text_and_written_back(text, expected):
    node = Node.parse(text, local_ae_title="ADA")
    assert (node.ae_title, node.host, node.port, node.local_ae_title) == (*expected, "ADA")
    assert str(node) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ORTHANC",
        "ORTHANC@host",
        "@h:104",
        "A@:104",
        "A@h:0",
        "A@h:70000",
        "SEVENTEEN_LETTERS@h:104",
        "A\\B@h:1",
    ],
)
def test_text_that_is_no_node_is_refused(text):
    with pytest.raises(ValueError, match=r"AET@host:port|AE title|TCP port"):
        Node.parse(text)


@pytest.mark.parametrize("seconds", ["connect_s", "associate_s", "dimse_s"])
def test_a_waiting_time_of_nothing_is_refused(seconds):
    with pytest.raises(ValueError, match="more than 0"):
        Node("A", "h", 104, **{seconds: 0})


def test_only_this_computer_is_loopback():
    assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1")] == [
        True
    ] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "10.0.0.1", "localhost.example", "")] == [
        False
    ] * 4
