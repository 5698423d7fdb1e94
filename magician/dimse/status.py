"""Status codes of DIMSE responses, and what they mean in each service."""

from __future__ import annotations

import time

from pydicom.dataset import Dataset

from magician.errors import AssociationAborted, Finding, PacsTimeout
from magician.node import Node

# Answers to a C-STORE (PS3.4 Table B.2-1, PS3.7 9.1.1.1.9)
SUCCESS, OUT_OF_RESOURCES, NOT_MATCHING, NOT_UNDERSTOOD, NOT_AUTHORISED = (
    0x0000,
    0xA700,
    0xA900,
    0xC000,
    0x0124,
)
# Only what the standard says about each code in each service: PS3.4 Tables B.2-1 (C-STORE), C.4-1
# (C-FIND), C.4-2 (C-MOVE), C.4-3 (C-GET), and PS3.7 Annex C for the codes that are common to all.
_COMMON = {
    0x0000: "Success",
    0x0105: "No such attribute",
    0x0106: "Invalid attribute value",
    0x0110: "Processing failure",
    0x0111: "Duplicate SOP instance",
    0x0112: "No such SOP instance",
    0x0115: "Invalid argument value",
    0x0117: "Invalid SOP instance",
    0x0118: "No such SOP class",
    0x0122: "SOP class not supported",
    0x0124: "Not authorised",
    0x0210: "Duplicate invocation",
    0x0211: "Unrecognised operation",
    0x0212: "Mistyped argument",
    0x0213: "Resource limitation",
    0xFE00: "Cancelled",
}
_BY_SERVICE = {
    "C-STORE": {
        0xB000: "Stored, with a warning: some values were coerced",
        0xB006: "Stored, with a warning: some elements were discarded",
        0xB007: "Stored, with a warning: data set does not match SOP class",
    },
    "C-FIND": {
        0xA700: "Refused: out of resources",
        0xA900: "Failure: the query does not fit the SOP class",
        0xFF00: "Pending: a match",
        0xFF01: "Pending: a match, some optional keys not supported",
    },
    "C-GET": {
        0xA701: "Refused: could not count the matches",
        0xA702: "Refused: could not perform the sub-operations",
        0xA900: "Failure: the request does not fit the SOP class",
        0xB000: "Incomplete: one or more images failed",
        0xFF00: "Pending: images are coming",
    },
    "C-MOVE": {
        0xA701: "Refused: could not count the matches",
        0xA702: "Refused: could not perform the sub-operations",
        0xA801: "Refused: move destination unknown",
        0xA900: "Failure: the request does not fit the SOP class",
        0xB000: "Incomplete: one or more images failed",
        0xFF00: "Pending: images are being sent",
    },
}
# in C-STORE and in the Query/Retrieve services, whole ranges of codes share one meaning
_RANGES = {
    "C-STORE": [
        (0xA700, 0xA7FF, "Refused: out of resources"),
        (0xA900, 0xA9FF, "Failure: data set does not match SOP class"),
        (0xC000, 0xCFFF, "Failure: cannot understand"),
    ],
    "C-FIND": [(0xC000, 0xCFFF, "Failure: unable to process")],
    "C-GET": [(0xC000, 0xCFFF, "Failure: unable to process")],
    "C-MOVE": [(0xC000, 0xCFFF, "Failure: unable to process")],
}


def in_words(response: Dataset, service: str) -> str:
    """Put the status of a response into words, with the peer's own comment if it sent one."""
    comment = response.get("ErrorComment", "")
    return describe_status(response.Status, service) + (f", {comment!r}" if comment else "")


def status_of(response: Dataset, node: Node, service: str, started: float) -> int:
    """Return the Status of a response; raise if no response came.

    Parameters
    ----------
    response : Dataset
        What pynetdicom returned; it is empty when the peer fell silent or the association was lost.
    node, service
        For the words of an error.
    started : float
        ``time.monotonic()`` when we began to wait for this response.

    Raises
    ------
    PacsTimeout, AssociationAborted
    """
    if "Status" in response:
        return response.Status
    if time.monotonic() - started >= 0.95 * node.dimse_s:
        seen = f"{node} did not answer our {service} within {node.dimse_s:g} s (dimse_s)."
        change = "It may be overloaded: try again, or give it more time."
        raise PacsTimeout.of(Finding(service, seen, "the PACS", change))
    seen = f"{node} ended the association instead of answering our {service}."
    change = (
        f"Many PACS do this when they let {node.local_ae_title!r} connect but not "
        f"{service.removeprefix('C-').lower()}: ask its administrator to allow that (in Orthanc: DicomModalities). It "
        f"may also have stopped."
    )
    raise AssociationAborted.of(Finding(service, seen, "the PACS", change))


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
    words = _BY_SERVICE.get(service, {}).get(status) or _COMMON.get(status)
    for low, high, meaning in _RANGES.get(service, []):
        if words is None and low <= status <= high:
            words = meaning
    return f"0x{status:04X} ({words or 'a code that the standard does not define for ' + service})"
