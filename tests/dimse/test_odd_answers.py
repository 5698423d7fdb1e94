"""PACS whose answers deviate: they are served, or the error says what was wrong with the answer
(PS3.8 9.3, PS3.7 9.3 and Annex D).
"""

import logging
import time

import pytest
from odd_pacs import (
    ANSWERED_ID,
    COMMAND_FIELD,
    MESSAGE_ID,
    OBJECTS,
    STATUS,
    STUDY_UID,
    OddPacs,
    accept,
    item,
    pdu,
    us,
)
from peers import listening, says
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from magician.client.diagnosis import diagnose
from magician.client.echo import echo
from magician.client.find import find_studies
from magician.client.retrieve import get_study
from magician.client.store import store
from magician.dimse.association import associate
from magician.errors import (
    AssociationAborted,
    AssociationRejected,
    MagicianError,
    ServiceNotAccepted,
    WrongAnswer,
)
from magician.upper_layer import peer_faults
from magician.upper_layer.association_pdu import UNSTATED_MAXIMUM


@pytest.fixture
def warned(caplog):
    peer_faults._say_once.cache_clear()
    caplog.set_level(logging.INFO, logger="magician")
    return lambda: [r.getMessage() for r in caplog.records if r.name.startswith("magician")]


def accepting(**odd):
    return OddPacs(accept=lambda proposal: accept(proposal, **odd))


def results(edit):
    """An A-ASSOCIATE-AC whose items for the presentation contexts `edit` makes, from their ID and
    transfer syntax.
    """

    def answer(proposal):
        made = b"".join(edit(number, proposal.chosen(number)) for number in proposal.contexts)
        plain = accept(proposal, refused=[], more_items=made)
        body, kept, start = plain[6:], plain[6:74], 68
        while start < len(body):
            length = 4 + int.from_bytes(body[start + 2 : start + 4], "big")
            if body[start] != 0x21 or body[start : start + length] in made:
                kept += body[start : start + length]
            start += length
        return pdu(0x02, kept)

    return OddPacs(accept=answer)


def result(number, code, *syntaxes):
    named = b"".join(item(0x40, s if isinstance(s, bytes) else s.encode()) for s in syntaxes)
    return item(0x21, bytes((number, 0, code, 0)) + named)


# The answer to our association request


SKIPPED = {
    "an item that nobody knows": {"more_items": item(0x60, b"xy")},
    "an item of a later standard": {"more_user_items": item(0x5F, b"abcd")},
    "no version name": {"version": None},
    "an empty version name": {"version": b""},
    "a version name with zero bytes": {"version": b"ODD\0\0"},
    "a class UID with a zero byte": {"class_uid": b"1.2.3.4.5\0"},
    "no class UID": {"class_uid": None},
    "blank titles": {"titles": b" " * 32},
    "titles of zero bytes": {"titles": bytes(32)},
    "titles in latin-1": {"titles": b"\xc4" * 32},
    "an application context with a zero byte": {"application_context": b"1.2.840.10008.3.1.1.1\0"},
    "a later protocol version": {"protocol": 3},
    "no protocol version": {"protocol": 0},
    "an identity that nobody asked for, cut": {"more_user_items": item(0x59, b"\0")},
}


@pytest.mark.parametrize("odd", SKIPPED.values(), ids=SKIPPED)
def test_what_does_not_count_is_skipped_without_a_word(odd, warned):
    with accepting(**odd) as node:
        assert echo(node) == 0x0000
    assert warned() == []


SERVED = {
    "a long version name": ({"version": b"A" * 17}, "version name is b'AAAA"),
    "a version name in latin-1": ({"version": b"Ger\xe4t"}, "version name is"),
    "a class UID that is none": ({"class_uid": b"1.2.03"}, "0x52"),
    "no maximum length": ({"max_length": None}, "no maximum length, and gets 16378 bytes"),
    "an answer to what nobody proposed": (
        {"more_items": result(99, 3, "unknown")},
        "presentation context 99, which we did not propose",
    ),
    "an even ID": ({"more_items": result(2, 3)}, "even ID 2"),
    "a role of another kind": ({"more_user_items": item(0x54, b"\0\x051.2.3\7\7")}, "0x54"),
}


@pytest.mark.parametrize(("odd", "words"), SERVED.values(), ids=SERVED)
def test_what_deviates_is_served_and_said_once(odd, words, warned):
    with accepting(**odd) as node:
        assert [echo(node), echo(node)] == [0x0000] * 2
    (line,) = [line for line in warned() if "deviates" in line]
    assert words in line
    assert str(node) in line


def test_diagnose_has_nothing_to_say_of_a_pacs_without_maximum_length():
    with accepting(max_length=None) as node:
        assert diagnose(node).stopped_at is None


def test_a_pacs_without_maximum_length_gets_no_more_than_the_usual_at_a_time():
    pieces = []
    pacs = accepting(max_length=None)

    class Watched(type(pacs)):
        def _converse(self, connection):
            super()._converse(Watching(connection, pieces))

    pacs.__class__ = Watched
    large = OBJECTS[0].__class__(OBJECTS[0])
    large.file_meta = OBJECTS[0].file_meta
    large.Rows, large.Columns, large.PixelData = 200, 200, bytes(2 * 200 * 200)
    with pacs as node:
        assert store(node, [large]).sent == 1
    assert max(pieces) == UNSTATED_MAXIMUM


class Watching:
    """A socket that notes how long the P-DATA-TF PDUs are that it reads, by their headers."""

    def __init__(self, connection, lengths):
        self._connection, self._lengths = connection, lengths

    def recv(self, count):
        content = self._connection.recv(count)
        if count == 6 and content[:1] == b"\x04":
            self._lengths.append(int.from_bytes(content[2:], "big"))
        return content

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._connection.close()


def test_a_context_that_is_accepted_without_transfer_syntax_has_the_only_one_proposed():
    with results(lambda number, syntax: result(number, 0)) as node:
        with associate(node, [build_context(Verification, ImplicitVRLittleEndian)]) as association:
            assert association.send_c_echo().Status == 0x0000
        with pytest.raises(ServiceNotAccepted, match="context 1 is accepted without transfer"):
            find_studies(node)


@pytest.mark.parametrize("named", ["1.2.840.10008.1.2.4.90", "1.2.3", "rubbish"])
def test_a_transfer_syntax_that_we_did_not_propose_is_no_acceptance(named):
    with results(lambda number, syntax: result(number, 0, named)) as node:
        with pytest.raises(ServiceNotAccepted, match="deviates from the standard.*context 1"):
            echo(node)


def test_a_result_that_no_standard_defines_is_a_refusal():
    with results(lambda number, syntax: result(number, 77, syntax)) as node:
        with pytest.raises(ServiceNotAccepted, match="context 1 has the result 77"):
            echo(node)


def test_of_two_answers_for_one_context_the_first_counts():
    def twice(number, syntax):
        return result(number, 0, syntax) + result(number, 3, syntax)

    with results(twice) as node:
        assert echo(node) == 0x0000


BROKEN = {
    "it answers nothing": (pdu(0x02, bytes(68) + item(0x50, b"")), "no presentation context"),
    "it is cut": (pdu(0x02, b"\0\1\0\0"), "10 bytes, and its fixed part alone has 74"),
    "it is a request": (pdu(0x01, b"\0\1\0\0"), "A-ASSOCIATE-RQ"),
    "it is cut in the middle": (b"\x02\0\0\0\1\0abc", "only 9 bytes"),
    "it is a message": (pdu(0x04, b"\xff" * 9), "P-DATA-TF"),
}


@pytest.mark.parametrize(("answer", "words"), BROKEN.values(), ids=BROKEN)
def test_what_can_not_be_read_is_named(answer, words):
    def talk(peer):
        peer.recv(65536)
        peer.sendall(answer)

    with listening(talk) as node:
        with pytest.raises(AssociationAborted, match=f"a broken message.*{words}") as caught:
            echo(node)
    assert caught.value.finding.side == "the PACS"


# A-ASSOCIATE-RJ and A-ABORT with numbers that the standard does not define


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((1, 1, 99), "Rejected .Permanent.: reason 99 of source 1, which the standard does not"),
        ((1, 9, 3), "reason 3 of source 9"),
        ((7, 1, 3), "result 7: Calling AE title not recognised, which.*does not know us"),
        ((0, 0, 0), "result 0: reason 0 of source 0"),
        ((2, 3, 2), "Rejected .Transient.: Local limit exceeded.*try again later"),
        ((2, 3, 7), "reason 7 of source 3.*try again later"),
        ((1, 2, 2), "Protocol version not supported"),
    ],
)
def test_a_refusal_with_any_numbers_is_one(numbers, words):
    with listening(says(pdu(0x03, bytes((0, *numbers))))) as node:
        with pytest.raises(AssociationRejected, match=words):
            echo(node)


def test_a_refusal_without_numbers_is_one():
    with listening(says(pdu(0x03, b""))) as node:
        with pytest.raises(AssociationRejected, match="reason 0 of source 0"):
            echo(node)


@pytest.mark.parametrize("numbers", [(0, 0), (2, 3), (2, 9), (1, 1), (200, 200)])
def test_an_abort_with_any_numbers_is_one(numbers):
    with listening(says(pdu(0x07, bytes((0, 0, *numbers))))) as node:
        with pytest.raises(AssociationAborted, match="A-ABORT.*, without a reason"):
            echo(node)


def test_the_reason_of_an_abort_is_told():
    with listening(says(pdu(0x07, b"\0\0\2\6"))) as node:
        with pytest.raises(AssociationAborted, match="takes a value of our message for invalid"):
            echo(node)


def test_an_abort_with_odd_numbers_in_place_of_an_answer():
    abort = pdu(0x07, b"\0\0\x02\x09")
    with OddPacs(mangle=lambda sent: abort if sent[0] == 0x04 else sent) as node:
        started = time.monotonic()
        with pytest.raises(AssociationAborted, match="instead of answering our C-ECHO"):
            echo(node)
    assert time.monotonic() - started < 3


# Responses that are none


def without(number):
    return lambda request, elements: elements.pop(number)


def with_value(number, value):
    return lambda request, elements: elements.update({number: us(value)})


def as_a_request(request, elements):
    elements.pop(ANSWERED_ID), elements.pop(STATUS)
    elements.update({COMMAND_FIELD: us(0x30), MESSAGE_ID: us(1)})


WRONG = {
    "no status": (without(STATUS), r"a response without a Status \(0000,0900\)"),
    "no message ID": (without(ANSWERED_ID), "does not tell which message it answers"),
    "another message": (with_value(ANSWERED_ID, 77), "to number 77, and ours is 1"),
    "another service": (with_value(COMMAND_FIELD, 0x8021), "a C-MOVE response"),
    "no command that is known": (with_value(COMMAND_FIELD, 0x7777), "can't be decoded"),
    "two values for a status": (
        lambda request, elements: elements.update({STATUS: b"\0"}),
        "(can't be decoded|without a Status)",
    ),
}


@pytest.mark.parametrize(("edit", "words"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(
    ("service", "ask"),
    [
        ("C-ECHO", echo),
        ("C-FIND", find_studies),
        ("C-STORE", lambda node: store(node, OBJECTS[:1])),
    ],
)
def test_a_response_that_is_none_is_a_wrong_answer(service, ask, edit, words):
    with OddPacs(edit_response=edit) as node:
        started = time.monotonic()
        with pytest.raises(WrongAnswer, match=f"answered our {service} with.*{words}") as caught:
            ask(node)
    assert time.monotonic() - started < 4  # of 5 that a time-out takes
    assert caught.value.finding.layer == service


def test_a_request_is_no_response():
    with OddPacs(edit_response=as_a_request) as node:
        with pytest.raises(WrongAnswer, match="a C-ECHO request in place of a response"):
            echo(node)


def test_a_wrong_answer_in_the_middle_of_a_retrieve_is_named(tmp_path):
    def edit(request, elements):
        if request.service == "C-GET":
            elements.pop(STATUS)

    with OddPacs(edit_response=edit) as node:
        with pytest.raises(MagicianError, match="without a Status"):
            get_study(node, STUDY_UID, tmp_path)


def test_diagnose_names_a_wrong_answer():
    with OddPacs(edit_response=without(STATUS)) as node:
        stopped = diagnose(node).stopped_at
    assert (stopped.layer, stopped.side) == ("C-ECHO", "the PACS")
    assert "without a Status" in stopped.seen


def test_rubbish_in_place_of_an_answer_is_no_time_out():
    with OddPacs(mangle=lambda sent: b"rubbish" * 9 if sent[0] == 0x04 else sent) as node:
        started = time.monotonic()
        with pytest.raises(WrongAnswer, match="C-ECHO with something that is not DICOM.*b'rubbis'"):
            echo(node)
    assert time.monotonic() - started < 4
