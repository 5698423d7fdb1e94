"""Faults of a peer, said in words: PDUs that can't be read, and responses that are none.

pynetdicom writes a traceback into its log for each, and ends the association. Here the connection
remembers the fault, for the error of a caller of ours; a listener logs it in one line that names
who called. What deviates and is served all the same is said once.
"""

from __future__ import annotations

import logging
from functools import lru_cache

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_STORE

from magician.upper_layer.association_pdu import (
    ABORT,
    ACCEPTANCE,
    REJECTION,
    REQUEST,
    normalise,
)
from magician.upper_layer.connection import CONNECTION_CLOSED, MessageTooLarge

logger = logging.getLogger(__name__)

HEADER_BYTES = 6
PDU_NAMES = {  # by their type (PS3.8 9.3.1)
    0x01: "A-ASSOCIATE-RQ",
    0x02: "A-ASSOCIATE-AC",
    0x03: "A-ASSOCIATE-RJ",
    0x04: "P-DATA-TF",
    0x05: "A-RELEASE-RQ",
    0x06: "A-RELEASE-RP",
    0x07: "A-ABORT",
}
NORMALISED = (REQUEST, ACCEPTANCE, REJECTION, ABORT)
TLS_HANDSHAKE = b"\x16\x03"  # RFC 8446 5.1
UNREADABLE = "Evt19"  # "unrecognized or invalid PDU received" (PS3.8 9.2.1)
MANY_CALLERS = 256  # whose deviations are remembered as said


class _Unreadable(Exception):
    """Why a PDU can't be read."""


def caller_of(association: Association) -> str:
    """Name who called a listener: its title, as far as it is known, and its address."""
    caller = association.requestor
    title = caller.ae_title or association.dul.socket.calling
    # quoted: a title comes from the network
    return f"{title!r} at {caller.address}" if title else f"somebody at {caller.address}"


def note_fault(association: Association, fault: str) -> None:
    """Remember what a peer did wrong. A listener logs it, too; only the first fault counts."""
    connection = association.dul.socket
    if not connection.wrong_answer:
        connection.wrong_answer = fault
        if association.is_acceptor:
            logger.warning(
                "%s ended the connection of %s, which sent %s",
                association.acceptor.ae_title,
                caller_of(association),
                fault,
            )


def read_pdus_in_words(association: Association) -> None:
    """Let an association read its PDUs here; pynetdicom's own reading logs tracebacks."""
    association.dul._read_pdu_data = lambda: _read_pdu(association)


def _read_pdu(association: Association) -> None:
    """Read a PDU, and report it to the state machine as an event (PS3.8 9.2.1)."""
    dul, name = association.dul, "PDU"
    try:
        whole = _receive(association)
        name = PDU_NAMES[whole[0]]
        pdu, event = dul._decode_pdu(_normalised(association, whole))
    except OSError as error:
        _note_early_end(association, error)
        dul.event_queue.put(CONNECTION_CLOSED)
    except _Unreadable as error:
        end_unreadable(association, str(error))
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else "a part of it can't be decoded"
        end_unreadable(association, f"a broken message ({name}): {reason}")
    else:
        dul.event_queue.put(event)
        dul._recv_pdu.put(pdu)


def _note_early_end(association: Association, error: OSError) -> None:
    """Note why a message was not read to its end. That it took too long, or is larger than we take,
    or that the peer is gone, makes no wrong answer: our caller's error says that in other words.
    """
    is_limit = error.errno is None and not isinstance(error, ConnectionError)
    has_words = isinstance(error, TimeoutError | MessageTooLarge)
    if is_limit and (association.is_acceptor or not has_words):
        note_fault(association, f"a message that is not taken: {error}")


def end_unreadable(association: Association, fault: str) -> None:
    """End an association, from the thread that reads, over a message that can't be read."""
    note_fault(association, fault)
    if UNREADABLE not in association.dul.event_queue.queue:
        association.dul.event_queue.put(UNREADABLE)
    # the state machine tells it to nobody who waits for an answer
    association.dimse.msg_queue.put((None, None))


def _receive(association: Association) -> bytes:
    connection = association.dul.socket
    header = bytes(connection.recv(HEADER_BYTES))
    if not header:
        raise ConnectionAbortedError("the peer has closed the connection")
    if header.startswith(TLS_HANDSHAKE):
        raise _Unreadable(f"a TLS handshake, and we speak plain DICOM: it began with {header!r}")
    if header[0] not in PDU_NAMES:
        raise _Unreadable(f"something that is not DICOM: it began with {header!r}")
    length = int.from_bytes(header[2:], "big")
    body = connection.recv(length) if len(header) == HEADER_BYTES else b""
    if len(body) < length or len(header) < HEADER_BYTES:
        if not association.is_established:
            note_fault(
                association,
                f"a broken message ({PDU_NAMES[header[0]]}): only {len(header) + len(body)} bytes "
                f"of it came before the connection was closed",
            )
        raise ConnectionAbortedError("the peer has closed the connection")
    return header + body


def _normalised(association: Association, pdu: bytes) -> bytes:
    """Return a PDU as pynetdicom can decode it; only those that open or end an association change.

    Raises
    ------
    _Unreadable
        If it can't be made so.
    """
    if pdu[0] not in NORMALISED:
        return pdu
    connection = association.dul.socket
    proposed = {}
    if association.is_requestor:
        contexts = association.requestor.requested_contexts
        proposed = {context.context_id: context.transfer_syntax for context in contexts}
    normalised = normalise(pdu, proposed)
    if pdu[0] in (REQUEST, ACCEPTANCE):
        connection.calling, connection.deviations = normalised.calling, normalised.deviations
    else:
        connection.numbers = normalised.numbers
    if normalised.fault:
        raise _Unreadable(f"a broken message ({PDU_NAMES[pdu[0]]}): {normalised.fault}")
    if normalised.deviations:
        peer = connection.node if association.is_requestor else caller_of(association)
        listener = "" if association.is_requestor else f"{association.acceptor.ae_title}: "
        _say_once(
            f"{listener}{peer} deviates from the standard in its {PDU_NAMES[pdu[0]]}, and is "
            f"served as far as that goes: {'; '.join(normalised.deviations)}"
        )
    return normalised.data


@lru_cache(maxsize=MANY_CALLERS)
def _say_once(sentence: str) -> None:
    logger.warning("%s", sentence)


def wrong_response(association: Association, message) -> str:
    """Say what is wrong with a message that came in place of the response to our last request.

    Only one request is open at a time. So a response to another message is not taken for the
    answer: it may be a late one, and its status is that of something else. DCMTK does the same.

    Returns
    -------
    str
        Empty if the message is the response, or, during a C-GET, an object that is sent to us.
    """
    service, message_id = association.dul.socket.asked
    answered = message.MessageIDBeingRespondedTo
    if service is C_GET and isinstance(message, C_STORE) and answered is None:
        missing = [word for word in message.REQUEST_KEYWORDS if getattr(message, word) is None]
        return f"a C-STORE request without {' and '.join(missing)}" if missing else ""
    kind = "response" if answered is not None or message.Status is not None else "message"
    if type(message) is not service:
        return f"a {message.msg_type} {kind}"
    if answered is None:
        if message.MessageID is not None:
            return f"a {message.msg_type} request in place of a response"
        return (
            "a response that does not tell which message it answers (Message ID Being Responded "
            "To, 0000,0120)"
        )
    if message.Status is None:
        return "a response without a Status (0000,0900)"
    if answered != message_id and association.is_requestor:
        return f"the response to another message: to number {answered}, and ours is {message_id}"
    return ""
