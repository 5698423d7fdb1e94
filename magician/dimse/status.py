"""The status codes of DIMSE responses: a name for each that we use, and words for all of them.

The standard's meanings come from the tables of `pynetdicom.status`: PS3.7 Annex C for the codes
that all services share, PS3.4 Tables B.2-1 (C-STORE), C.4-1 (C-FIND), C.4-2 (C-MOVE) and C.4-3
(C-GET) for the others. Some of them are put into kinder words here.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.status import (
    GENERAL_STATUS,
    QR_FIND_SERVICE_CLASS_STATUS,
    QR_GET_SERVICE_CLASS_STATUS,
    QR_MOVE_SERVICE_CLASS_STATUS,
    STATUS_FAILURE,
    STORAGE_SERVICE_CLASS_STATUS,
)

from magician.errors import AssociationAborted, Finding, PacsTimeout, WrongAnswer
from magician.node import Node
from magician.upper_layer.requestor import connection_of

# Every service (PS3.7 Annex C)
SUCCESS = 0x0000
NOT_AUTHORISED = 0x0124
# optional attributes not supported, attribute list error, attribute value out of range
GENERAL_WARNINGS = (0x0001, 0x0107, 0x0116)
RESOURCE_LIMITATION = 0x0213
CANCELLED = 0xFE00
# C-STORE (PS3.4 Table B.2-1)
OUT_OF_RESOURCES = 0xA700
NOT_MATCHING = 0xA900
NOT_UNDERSTOOD = 0xC000
# C-FIND, C-GET and C-MOVE (PS3.4 Tables C.4-1, C.4-2 and C.4-3)
PENDING = 0xFF00
PENDING_WITHOUT_SOME_KEYS = 0xFF01
UNABLE_TO_COUNT = 0xA701
UNABLE_TO_SEND = 0xA702
INCOMPLETE = 0xB000
DESTINATION_UNKNOWN = 0xA801
UNABLE_TO_PROCESS = 0xC000

COMMENT_CHARACTERS = 64  # the longest Error Comment (0000,0902), a LO (PS3.5 6.2)
# With these a PACS may stop a C-GET or C-MOVE at a limit of its own
LIMITS_OF_A_RETRIEVE = (
    CANCELLED,
    OUT_OF_RESOURCES,
    RESOURCE_LIMITATION,
    UNABLE_TO_COUNT,
    UNABLE_TO_SEND,
)

STANDARD_MEANINGS = {
    "C-STORE": STORAGE_SERVICE_CLASS_STATUS,
    "C-FIND": QR_FIND_SERVICE_CLASS_STATUS,
    "C-GET": QR_GET_SERVICE_CLASS_STATUS,
    "C-MOVE": QR_MOVE_SERVICE_CLASS_STATUS,
}
RETRIEVE_WORDS = {
    UNABLE_TO_COUNT: "Refused: could not count the matches",
    UNABLE_TO_SEND: "Refused: could not perform the sub-operations",
    0xA900: "Failure: the request does not fit the SOP class",
    INCOMPLETE: "Incomplete: one or more images failed",
}
# Where we say more than the tables do, or say it more plainly
KINDER_WORDS = {
    "C-STORE": {
        0xB000: "Stored, with a warning: some values were coerced",
        0xB006: "Stored, with a warning: some elements were discarded",
        0xB007: "Stored, with a warning: data set does not match SOP class",
    },
    "C-FIND": {
        0xA900: "Failure: the query does not fit the SOP class",
        PENDING: "Pending: a match",
        PENDING_WITHOUT_SOME_KEYS: "Pending: a match, some optional keys not supported",
    },
    "C-GET": {**RETRIEVE_WORDS, PENDING: "Pending: images are coming"},
    "C-MOVE": {
        **RETRIEVE_WORDS,
        DESTINATION_UNKNOWN: "Refused: move destination unknown",
        PENDING: "Pending: images are being sent",
    },
}
KINDER_WORDS_OF_ALL_SERVICES = {
    SUCCESS: "Success",
    CANCELLED: "Cancelled",
    0x0111: "Duplicate SOP instance",
    0x0117: "Invalid SOP instance",
    0x0122: "SOP class not supported",
    NOT_AUTHORISED: "Not authorised",
}


def is_pending(status: int) -> bool:
    """Tell whether a C-FIND response brings one match, and more responses follow."""
    return status in (PENDING, PENDING_WITHOUT_SOME_KEYS)


def is_limit(status: int) -> bool:
    """Tell whether the last response of a C-FIND with matches says that there may be more.

    Out of resources (0xA7xx, 0x0213), *cancelled* although nobody has (0xFE00), or a warning
    (PS3.4 Table C.4-1, PS3.7 Annex C).
    """
    return (
        status >> 8 == OUT_OF_RESOURCES >> 8
        or status in (RESOURCE_LIMITATION, CANCELLED)
        or is_warning(status)
    )


def is_warning(status: int) -> bool:
    """Tell whether the service was performed, with a warning (PS3.7 C.3 and Annex C.4: 0xB000 to
    0xBFFF, and some of the general codes).
    """
    return 0xB000 <= status <= 0xBFFF or status in GENERAL_WARNINGS


def describe_status(status: int, service: str = "C-ECHO") -> str:
    """Put a DIMSE status into words, as ``0x0000 (Success)``.

    The same code means different things in different services: 0xB000 after a C-STORE is *stored,
    with a warning*, after a C-GET it is *incomplete*.

    Parameters
    ----------
    status : int
        The Status (0000,0900) of a response.
    service : str
        ``"C-ECHO"``, ``"C-STORE"``, ``"C-FIND"``, ``"C-GET"`` or ``"C-MOVE"``.

    Notes
    -----
    PS3.7 Annex C for the general codes; PS3.4 Annex B.2.3 and C.4 for those of a service.
    """
    words = (
        KINDER_WORDS.get(service, {}).get(status)
        or KINDER_WORDS_OF_ALL_SERVICES.get(status)
        or _standard_words(status, service)
        or f"a code that the standard does not define for {service}"
    )
    return f"0x{status:04X} ({words})"


def _standard_words(status: int, service: str) -> str:
    """Return the standard's meaning of a status; empty if it defines none for this service."""
    category, meaning = STANDARD_MEANINGS.get(service, GENERAL_STATUS).get(status, ("", ""))
    if category != STATUS_FAILURE or status in GENERAL_STATUS or meaning.startswith("Refused"):
        return _sentence_case(meaning)
    return f"Failure: {_sentence_case(meaning, start=False)}"


def _sentence_case(title: str, *, start: bool = True) -> str:
    """Write a title in small letters, but for abbreviations and, at its start, the first letter."""
    words = " ".join(word if word.isupper() else word.lower() for word in title.split())
    return words[:1].upper() + words[1:] if start else words


def describe_response(response: Dataset, service: str) -> str:
    """Put the status of a response into words, with the peer's own comment if it sent one.

    The comment may be anything: it is shown as a quotation, and no longer than the standard allows.
    """
    comment = str(response.get("ErrorComment") or "").strip()[:COMMENT_CHARACTERS]
    return describe_status(response.Status, service) + (f", {comment!r}" if comment else "")


def require_status(response: Dataset, association: Association, node: Node, service: str) -> int:
    """Return the Status of a response; raise if no response came.

    Parameters
    ----------
    response : Dataset
        What pynetdicom returned; it is empty when the peer fell silent or the association was lost.
    association : Association
        The one over which it should have come: its connection knows why it did not.
    node, service
        For the words of an error.

    Raises
    ------
    WrongAnswer
        If what came is no answer to this request (PS3.7 9.3): without a status, of another kind, or
        to another message.
    PacsTimeout, AssociationAborted
    """
    if "Status" in response:
        return response.Status
    connection = connection_of(association)
    if connection.wrong_answer:
        seen = f"{node} answered our {service} with {connection.wrong_answer}. We aborted."
        change = "That is a fault of its software: its administrator can report it to the maker."
        raise WrongAnswer.of(Finding(service, seen, "the PACS", change))
    if connection.timed_out or isinstance(connection.failure, TimeoutError):
        seen = f"{node} did not answer our {service} within {node.dimse_s:g} s (dimse_s)."
        change = "It may be overloaded: try again, or give it more time."
        raise PacsTimeout.of(Finding(service, seen, "the PACS", change))
    seen = f"{node} ended the association instead of answering our {service}."
    change = (
        f"Many PACS do this when they let {node.local_ae_title!r} connect but not "
        f"{service.removeprefix('C-').lower()}: ask its administrator to allow that "
        f"(in Orthanc: DicomModalities). It may also have stopped."
    )
    raise AssociationAborted.of(Finding(service, seen, "the PACS", change))
