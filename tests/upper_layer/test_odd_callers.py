"""Callers whose association request deviates: a listener serves them, or its log names them and the
cause (PS3.8 9.3.2, PS3.7 Annex D).
"""

import logging
import re
import time

import pytest
from listeners import LISTENERS, QUICK, a_listener, eventually
from odd_callers import (
    ABORTED,
    CLASS_UID,
    EXPLICIT,
    IMPLICIT,
    MAXIMUM,
    REJECTED,
    RELEASE,
    USER,
    VERIFICATION,
    answer_to,
    context,
    echo_request,
    request,
    throw_at,
)
from odd_pacs import NO_DATA_SET, OBJECTS, STUDY_UID, command_set, data_pdus, item, pdu, ui, us

from magician.client.retrieve import get_study
from magician.errors import MagicianError
from magician.practice_pacs.association_log import AssociationLog
from magician.practice_pacs.pacs import PracticePacs
from magician.upper_layer import peer_faults, throughput


@pytest.fixture
def said(caplog):
    """The lines of our log, and of pynetdicom's; what was said in earlier tests is forgotten."""
    peer_faults._say_once.cache_clear()
    caplog.set_level(logging.INFO, logger="magician")
    return lambda name="magician": [
        r.getMessage() for r in caplog.records if r.name.startswith(name)
    ]


def titled(node):
    return node.ae_title.encode()


# What the standard wants skipped, or does not count


SKIPPED = {
    "an item that nobody knows": {"more": item(0x60, b"xy")},
    "an item of a later standard in the user information": {"user": USER + item(0x5F, b"abcd")},
    "an empty item that nobody knows": {"more": item(0x00, b""), "user": USER + item(0x7E, b"")},
    "asynchronous operations": {"user": USER + item(0x53, b"\0\x08\0\x08")},
    "asynchronous operations, malformed": {"user": USER + item(0x53, b"\0")},
    "an identity": {"user": USER + item(0x58, b"\2\1\0\4user\0\4pass")},
    "an identity of a kind that nobody knows": {"user": USER + item(0x58, b"\x09\1\0\4user")},
    "an extension, malformed": {"user": USER + item(0x56, b"\0\xff1")},
    "reserved bytes that are not zero": {"reserved": b"\xff" * 32},
    "a later protocol version beside the first": {"version": 3},
    "a title with spaces before it": {"calling": b"   me 2".ljust(16)},
    "an application context with a zero byte": {"application": b"1.2.840.10008.3.1.1.1\0"},
    "an abstract syntax with a zero byte": {"contexts": context(abstract=VERIFICATION + "\0")},
    "no implementation class": {"user": MAXIMUM},
}


@pytest.mark.parametrize("odd", SKIPPED.values(), ids=SKIPPED)
def test_what_does_not_count_is_skipped_without_a_word(odd, said):
    with PracticePacs(limits=QUICK) as pacs:
        assert answer_to(pacs.node, request(called=titled(pacs.node), **odd)) == "echo"
    assert not any("deviates" in line or "broken" in line for line in said())


SERVED = {
    "a long version name": ({"user": USER + item(0x55, b"A" * 40)}, "version name is b'AAAA"),
    "a version name in latin-1": ({"user": USER + item(0x55, b"Ger\xe4t")}, r"Ger\\xe4t"),
    "a version name with a backslash": ({"user": USER + item(0x55, b"A\\B")}, "version name"),
    "no maximum length": ({"user": CLASS_UID}, "no maximum length, and gets 16378 bytes"),
    "a maximum length of two bytes": ({"user": CLASS_UID + item(0x51, b"\1\0")}, "malformed"),
    "a blank calling title": ({"calling": b" " * 16}, "calling AE title is b'     "),
    "a calling title of zero bytes": ({"calling": bytes(16)}, "calling AE title"),
    "a calling title with zero bytes": ({"calling": b"ME".ljust(16, b"\0")}, r"'ME' at .*ME\\x00"),
    "a calling title with rubbish after a zero": ({"calling": b"ME\0xyz".ljust(16)}, "'ME' at "),
    "a calling title in latin-1": ({"calling": "GERÄT".encode("latin-1").ljust(16)}, "'GER.T' at"),
    "control characters in a title": ({"calling": b"M\x07\\E".ljust(16)}, "calling AE title"),
    "a called title with zero bytes": ("padded", "called AE title"),
    "a class UID that is none": ({"user": MAXIMUM + item(0x52, b"1.2.03.x")}, "0x52.*malformed"),
    "a role that is cut": ({"user": USER + item(0x54, b"\0\x111.2.840")}, "0x54.*malformed"),
    "a role of no SOP class": ({"user": USER + item(0x54, b"\0\0\1\1")}, "0x54.*malformed"),
    "a role that is a question": ({"user": USER + item(0x54, b"\0\x0512.34\2\1")}, "0x54.*malfo"),
    "a transfer syntax that is no UID": (
        {"contexts": context(syntaxes=("unknown", IMPLICIT))},
        "context 1 names b'unknown', which is no UID",
    ),
    "an empty transfer syntax": ({"contexts": context(syntaxes=("", IMPLICIT))}, "names b''"),
    "one ID for two contexts": ({"contexts": context() + context(1, "1.2.3")}, "have the ID 1"),
    "a second context of an even ID": ({"contexts": context() + context(2)}, "even ID 2"),
    "a context that is cut": ({"contexts": context() + item(0x20, b"\3")}, "context has 1 bytes"),
    "no application context": ({"application": b""}, "no application context name"),
    "no user information": ({"user_item": b""}, "no maximum length"),
    "a user information that says it is longer": (
        {"user_item": item(0x50, USER)[:2] + b"\x10\0" + USER},
        "0x50 of the message says that it has 4096 bytes",
    ),
    "a user information that says it is shorter": (
        {"user_item": item(0x50, MAXIMUM) + CLASS_UID},
        "0x52 stands outside",
    ),
    "bytes after the last item": ({"user_item": item(0x50, USER) + b"\x55\0\0\x09x"}, "0x55"),
}


@LISTENERS
@pytest.mark.parametrize(("odd", "words"), SERVED.values(), ids=SERVED)
def test_what_deviates_is_served_and_said_once(name, odd, words, said, tmp_path):
    with a_listener(name, tmp_path) as (node, _):
        if odd == "padded":
            odd, title = {}, titled(node).ljust(16, b"\0")
        else:
            title = titled(node)
        assert [answer_to(node, request(called=title, **odd)) for _ in range(2)] == ["echo"] * 2
    (line,) = [line for line in said() if "deviates" in line]
    assert "127.0.0.1" in line
    assert re.search(words, line)
    assert said("pynetdicom") == []


# What can't be served


REFUSED = {
    "a blank called title": (lambda title: request(called=b" " * 16), REJECTED, "Called AE title"),
    "another called title in latin-1": (lambda t: request(called=b"PR\xc4"), REJECTED, "Called AE"),
    "a protocol version without the first": (
        lambda title: request(called=title, version=2),
        REJECTED,
        "protocol version is 0x0002",
    ),
    "no presentation context": (
        lambda title: request(called=title, contexts=b""),
        ABORTED,
        "'ME' at 127.0.0.1.*no presentation context",
    ),
    "an even ID": (
        lambda title: request(called=title, contexts=context(2)),
        ABORTED,
        "'ME' at 127.0.0.1.*even ID 2",
    ),
    "a maximum length into which nothing fits": (
        lambda title: request(called=title, user=item(0x51, b"\0\0\0\6")),
        ABORTED,
        "'ME' at 127.0.0.1.*6 bytes at a time",
    ),
    "a request that is cut": (
        lambda title: pdu(0x01, b"\0\1\0\0" + title),
        ABORTED,
        "somebody at 127.0.0.1.*fixed part",
    ),
    "an answer": (lambda title: b"\2" + request(called=title)[1:], ABORTED, "A-ASSOCIATE-AC"),
    "HTTP": (
        lambda title: b"GET / HTTP/1.1\r\n\r\n",
        ABORTED,
        "not DICOM: it began with b'GET / '",
    ),
    "TLS": (lambda title: b"\x16\3\1\2\0\1\0\1\xfc", ABORTED, "a TLS handshake"),
}


@LISTENERS
@pytest.mark.parametrize(("make", "answer", "words"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_served_is_refused_and_its_caller_named(
    name, make, answer, words, said, tmp_path
):
    with a_listener(name, tmp_path) as (node, _):
        assert answer_to(node, make(titled(node)))[0] == answer
        if name == "receiver" and words.startswith("Called AE"):
            return  # the practice PACS alone keeps a log of its associations
        assert eventually(
            lambda: [line for line in said() if re.search(words, line) and "127.0.0.1" in line], 5
        )
    theirs = said("pynetdicom")
    assert [line for line in theirs if "Unsupported protocol version" not in line] == []


@pytest.mark.parametrize("abstract", ["", "no.uid", "1.2." + "3" * 70])
def test_a_service_that_is_no_uid_is_refused_alone(abstract):
    with PracticePacs(limits=QUICK) as pacs:
        asked = request(
            called=titled(pacs.node),
            contexts=context(1, abstract) + context(3, syntaxes=[EXPLICIT]),
        )
        assert answer_to(pacs.node, asked, context_id=3) == "echo"


def test_an_allow_list_does_not_admit_a_blank_title():
    with PracticePacs(allowed_ae_titles=["ME"], limits=QUICK) as pacs:
        assert answer_to(pacs.node, request(called=titled(pacs.node))) == "echo"
        blank = request(called=titled(pacs.node), calling=b" " * 16)
        assert answer_to(pacs.node, blank) == (REJECTED, b"\0\1\1\3")


# After the association has begun


BROKEN = {
    "a fragment that is cut": pdu(0x04, b"\xff" * 4),
    "no PDU at all": b"\x09" * 40,
    "a command set of zeros": data_pdus(1, bytes(30), is_command=True),
    "a C-ECHO without a message ID": data_pdus(
        1, command_set({0x2: ui(VERIFICATION), 0x100: us(0x30), 0x800: us(0x101)}), is_command=True
    ),
    "a command field that nobody knows": data_pdus(
        1, command_set({0x100: us(0x7777), 0x800: us(0x101)}), is_command=True
    ),
}


@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_later_is_said_in_one_line(message, said):
    with PracticePacs(limits=QUICK) as pacs:
        throw_at(pacs.node, request(called=titled(pacs.node)), message)
        assert eventually(
            lambda: [line for line in said() if "'ME' at 127.0.0.1, which" in line], 5
        )
        throw_at(pacs.node, request(called=titled(pacs.node)), echo_request(), RELEASE)
    assert len([line for line in said() if "which sent" in line]) == 1


def test_a_message_that_comes_before_pynetdicom_says_that_it_accepted_is_counted(said, monkeypatch):
    begin = AssociationLog._begin_count

    def begin_late(self, event):
        time.sleep(0.3)
        begin(self, event)

    monkeypatch.setattr(AssociationLog, "_begin_count", begin_late)
    with PracticePacs(limits=QUICK) as pacs:
        assert answer_to(pacs.node, request(called=titled(pacs.node))) == "echo"
        assert eventually(lambda: "'ME' at 127.0.0.1: 1 C-ECHO; released" in said(), 5)
    assert said("pynetdicom") == []


def test_a_caller_whose_answer_to_an_object_has_no_status_is_named(said, monkeypatch, tmp_path):
    def answer(primitive):
        elements = {0x100: us(0x8001), 0x120: us(primitive.MessageIDBeingRespondedTo)}
        return b"\3" + command_set({**elements, 0x800: us(NO_DATA_SET)})

    monkeypatch.setattr(throughput, "_store_response", answer)
    with PracticePacs(limits=QUICK) as pacs:
        pacs.add(OBJECTS)
        with pytest.raises(MagicianError):
            get_study(pacs.node, STUDY_UID, tmp_path)
        words = "'MAGICIAN' at 127.0.0.1, which sent a response without a Status"
        assert eventually(lambda: [line for line in said() if words in line], 5)
