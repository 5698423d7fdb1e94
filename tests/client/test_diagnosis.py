"""The failure table: each situation with the layer at which it stops, what is seen, and whose turn
it is.
"""

import socket
import threading
import time
from contextlib import contextmanager

import pytest
from helpers import require_program
from orthanc import free_port, running, running_orthanc
from peers import ABORTED, hangs_up, listening, rejects, says, scp, swallowing
from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from magician.client.diagnosis import diagnose
from magician.dimse.receiver import Receiver
from magician.errors import LAYERS
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs


def outcomes(found):
    return {row.layer: row.outcome for row in found.rows}


HEALTHY_PACS = {layer: "ok" for layer in LAYERS if layer != "TLS"}
DESTINATION = HEALTHY_PACS | {
    "C-FIND": "not offered",
    "C-GET": "not offered",
    "C-MOVE": "not offered",
}


# No false alarm


def test_practice_pacs_is_healthy():
    with PracticePacs() as pacs:
        found = diagnose(pacs.node)
    assert found.ok
    assert outcomes(found) == HEALTHY_PACS
    assert not any(row.change for row in found.rows)
    assert found["C-GET"].seen == "offered; it would send us CT, SEG, SR, SC"


def test_receiver_is_a_storage_destination_and_that_is_no_fault(tmp_path):
    with Receiver(tmp_path) as receiver:
        found = diagnose(receiver.node)
    assert outcomes(found) == DESTINATION
    assert "a storage destination" in found["presentation contexts"].seen
    assert not any(row.change for row in found.rows)


@contextmanager
def dcmtk_server(*command):
    port = free_port()
    with running([require_program(command[0]), *command[1:], port], port):
        yield port


def test_dcmtk_storescp_is_a_storage_destination(tmp_path):
    with dcmtk_server("storescp", "-od", tmp_path) as port:
        found = diagnose(Node("STORESCP", "127.0.0.1", port))
    assert outcomes(found) == DESTINATION
    assert "a storage destination" in found["presentation contexts"].seen


def test_dcmtk_dcmqrscp_is_healthy(tmp_path):
    (tmp_path / "db").mkdir()
    configuration = (
        "MaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nDCMQR {tmp_path / 'db'} RW (200, 1024mb) ANY\nAETable END\n"
    )
    (tmp_path / "dcmqrscp.cfg").write_text(configuration)
    with dcmtk_server("dcmqrscp", "-c", tmp_path / "dcmqrscp.cfg") as port:
        found = diagnose(Node("DCMQR", "127.0.0.1", port))
        stranger = diagnose(Node("WRONG", "127.0.0.1", port))
    assert outcomes(found) == HEALTHY_PACS
    assert stranger.stopped_at.layer == "association"
    assert "does not go by the AE title 'WRONG'" in stranger.stopped_at.seen


def test_orthanc_that_knows_us_is_healthy_and_one_that_does_not_is_named_as_that(tmp_path):
    with running_orthanc(tmp_path, known={"MAGICIAN": free_port()}) as node:
        known = diagnose(node)
        stranger = diagnose(Node(node.ae_title, node.host, node.port, local_ae_title="STRANGER"))
    assert outcomes(known) == HEALTHY_PACS
    assert outcomes(stranger) == HEALTHY_PACS | {
        "C-FIND": "stopped", "C-GET": "not tried", "C-MOVE": "not tried", "C-STORE": "not tried",
    }  # fmt: skip
    row = stranger.stopped_at
    assert "still answers a C-ECHO: it lets 'STRANGER' connect, but not query" in row.seen
    assert row.side == "the PACS"
    assert "add 'STRANGER'" in row.change
    assert "DicomModalities" in row.change


# Where it stops below DICOM


def stops(node, layer, side, seen, change):
    """Diagnose, and hold the one row that matters against what is expected of it."""
    found = diagnose(node)
    row = found.stopped_at
    assert row is not None, found
    assert (row.layer, row.side) == (layer, side)
    assert seen in row.seen
    assert change in row.change
    before, after = found.rows[: found.rows.index(row)], found.rows[found.rows.index(row) + 1 :]
    assert {other.outcome for other in before} <= {"ok", "warning"}
    assert {other.outcome for other in after} <= {"not tried", "not offered"}


def test_host_name_is_unknown():
    stops(
        Node("PACS", "pacs.invalid", 104), "host name", "we", "'pacs.invalid'", "Check its spelling"
    )


def test_name_server_does_not_answer(monkeypatch):
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **keywords: asked.wait(5))
    node = Node("PACS", "pacs.example", 104, connect_s=0.2)
    try:
        stops(node, "host name", "the network", "within 0.2 s (connect_s)", "Try the IP address")
    finally:
        asked.set()


def test_nobody_listens_on_the_port():
    stops(
        Node("PACS", "127.0.0.1", free_port()),
        "TCP",
        "we, or the PACS",
        "Nothing listens",
        "Is the PACS started",
    )


def test_host_swallows_packets():
    with swallowing() as port:
        node = Node("PACS", "127.0.0.1", port, connect_s=0.5)
        started = time.monotonic()
        stops(
            node, "TCP", "we, or the network", "within 0.5 s (connect_s)", "network's administrator"
        )
        assert time.monotonic() - started < 30


def test_no_way_to_the_host():
    # a multicast address has no TCP
    node = Node("PACS", "224.0.0.1", 104, connect_s=1)
    stops(node, "TCP", "we, or the network", "", "network's administrator")


# Where the association stops


@pytest.mark.parametrize(
    ("talk", "kind"),
    [
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "as a web server does"),
        (says(b"SSH-2.0-OpenSSH_9.2p1\r\n", first=True), "as an SSH server does"),
        (says(b"220 mail.example ESMTP\r\n", first=True), "as a mail or FTP server does"),
        (says(b"what do you want?\n"), "b'what d'"),
    ],
)
def test_port_belongs_to_another_server(talk, kind):
    with listening(talk) as node:
        stops(node, "association", "we", kind, "Is this a DICOM port")


def test_port_stays_silent():
    with listening(says(b""), associate_s=0.5) as node:
        seen = "did not answer our association request within 0.5 s (associate_s)"
        stops(node, "association", "we, or the PACS", seen, "Is this port a DICOM port")


def test_port_hangs_up():
    with listening(hangs_up) as node:
        stops(
            node,
            "association",
            "we, or the PACS",
            "closed the connection without a DICOM answer",
            "DICOM port?",
        )


def test_peer_aborts_the_request():
    with listening(says(ABORTED)) as node:
        stops(node, "association", "the PACS", "aborted the association", "refuses our IP address")


def test_peer_answers_with_a_broken_message():
    with listening(says(bytes.fromhex("040000000004ffffffff"))) as node:
        stops(node, "association", "the PACS", "a broken message", "its log")


@pytest.mark.parametrize(
    ("numbers", "side", "seen", "change"),
    [
        ((1, 1, 7), "we", "does not go by the AE title 'PEER'", "the exact title"),
        ((1, 1, 3), "we, or the PACS", "does not know us as 'MAGICIAN'", "add this AE title"),
        ((1, 1, 1), "the PACS", "No reason given", "its log"),
        ((1, 1, 2), "the PACS", "Application context name not supported", "its log"),
        ((1, 2, 2), "the PACS", "Protocol version not supported", "its log"),
        ((2, 3, 1), "the PACS", "Temporary congestion", "try again later"),
        ((2, 3, 2), "the PACS", "Local limit exceeded", "try again later"),
    ],
)
def test_association_is_rejected(numbers, side, seen, change):
    with listening(rejects(*numbers)) as node:
        stops(node, "association", side, seen, change)


def test_peer_offers_nothing_that_we_use():
    with scp(contexts=["1.2.840.10008.5.1.4.31"]) as node:  # a worklist server
        stops(node, "presentation contexts", "the PACS", "none of the services", "switch them on")


# Where a service stops


def test_echo_is_never_answered():
    release = threading.Event()
    with scp([(evt.EVT_C_ECHO, lambda event: release.wait(5) and 0x0000)], dimse_s=0.6) as node:
        try:
            stops(
                node,
                "C-ECHO",
                "the PACS",
                "did not answer our C-ECHO within 0.6 s (dimse_s)",
                "overloaded",
            )
        finally:
            release.set()


def test_echo_is_refused():
    with scp([(evt.EVT_C_ECHO, lambda event: 0x0122)]) as node:
        stops(
            node,
            "C-ECHO",
            "the PACS",
            "0x0122 (SOP class not supported)",
            "'MAGICIAN' is not allowed this",
        )


def test_find_is_never_answered():
    release = threading.Event()

    def find(event):
        release.wait(5)
        yield 0x0000, None

    with scp([(evt.EVT_C_FIND, find)], dimse_s=0.6) as node:
        try:
            stops(
                node,
                "C-FIND",
                "the PACS",
                "did not answer our C-FIND within 0.6 s (dimse_s)",
                "overloaded",
            )
        finally:
            release.set()


@pytest.mark.parametrize(
    ("status", "words"), [(0xA700, "out of resources"), (0xC001, "unable to process")]
)
def test_find_fails(status, words):
    with scp([(evt.EVT_C_FIND, lambda event: iter([(status, None)]))]) as node:
        stops(node, "C-FIND", "the PACS", words, "its log")


def test_pacs_stops_at_our_query():
    def abort(event):
        event.assoc._server.ae.require_calling_aet = ["NOBODY"]  # from now on, as if it had gone
        event.assoc.abort()
        yield 0xC000, None

    with scp([(evt.EVT_C_FIND, abort)]) as node:
        stops(
            node,
            "C-FIND",
            "the PACS",
            "ended the association at our C-FIND, and then:",
            "has stopped",
        )


def test_peer_drops_us_after_the_echo():
    def drop(event):
        threading.Thread(target=event.assoc.abort).start()
        return 0x0000

    with scp([(evt.EVT_C_ECHO, drop)]) as node:
        assert diagnose(node).stopped_at.layer in ("C-ECHO", "C-FIND")


def test_pacs_answers_a_query_with_everything_it_has():
    def find(event):
        while not event.is_cancelled and event.assoc.is_established:
            match = Dataset()
            match.QueryRetrieveLevel, match.StudyInstanceUID = "STUDY", "1.2.3"
            yield 0xFF00, match

    with scp([(evt.EVT_C_FIND, find)]) as node:
        found = diagnose(node)
    assert found.ok
    assert found["C-FIND"].outcome == "warning"
    assert "ignores StudyInstanceUID" in found["C-FIND"].seen


# What is offered


def test_query_without_retrieve_is_a_warning():
    with scp([(evt.EVT_C_FIND, lambda event: iter([(0x0000, None)]))]) as node:
        found = diagnose(node)
    assert found.ok
    assert (found["C-MOVE"].outcome, found["C-MOVE"].side) == ("warning", "the PACS")
    assert found["C-GET"].outcome == "not offered"


def test_pacs_does_not_send_images_on_our_association():
    find, get = (
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
    )
    with scp(
        [(evt.EVT_C_FIND, lambda event: iter([(0x0000, None)]))],
        contexts=[Verification, find, get, CTImageStorage],
    ) as node:
        found = diagnose(node)
    assert found["C-GET"].outcome == "warning"
    assert "role selection not answered" in found["C-GET"].seen
    assert found["C-STORE"].outcome == "warning"
    assert found["C-STORE"].seen == "takes CT, not SEG, SR, SC"


def test_server_answers_echo_and_no_more():
    with scp(contexts=[Verification]) as node:
        found = diagnose(node)
    assert found.ok
    assert "answers C-ECHO and no more" in found["presentation contexts"].seen


def test_destination_without_echo_is_a_warning():
    with scp(contexts=[CTImageStorage]) as node:
        found = diagnose(node)
    assert found.ok
    assert found["C-ECHO"].outcome == "warning"


# The table


def test_what_a_peer_says_is_text_and_not_html():
    def find(event):
        status = Dataset()
        status.Status, status.ErrorComment = 0xC000, "<script>alert(1)</script>\x07"
        yield status, None

    with scp([(evt.EVT_C_FIND, find)]) as node:
        found = diagnose(node)
    assert "&lt;script&gt;" in found._repr_html_()
    assert "<script>" not in found._repr_html_()
    assert "\x07" not in str(found)


def test_a_diagnosis_reads_as_text():
    with PracticePacs(allowed_ae_titles=["SOMEBODY"]) as pacs:
        node = pacs.node
        text = str(diagnose(node))
    assert text.splitlines()[0] == f"{node}, called by MAGICIAN: it stops at: association"
    assert "-> we, or the PACS: Ask its administrator to add this AE title" in text
    assert "C-ECHO                 not tried" in text
