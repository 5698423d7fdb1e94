"""What C-GET and C-MOVE share: what should come, how it is asked for, how it ended; a part of
`query_retrieve`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from pydicom.dataset import Dataset

from magician.dimse.arrivals import Arrivals
from magician.dimse.association import lost_means_aborted
from magician.dimse.status import describe_response, require_status
from magician.errors import (
    AssociationAborted,
    DimseFailure,
    IncompleteRetrieve,
    MagicianError,
    UnknownMoveDestination,
)
from magician.node import Node, is_loopback


@dataclass(frozen=True)
class Outcome:
    """How a C-GET or C-MOVE ended: its last response, or the error that stood in its place."""

    service: str
    status: int | None
    words: str
    completed: int = 0
    failed: int = 0
    failed_uids: tuple[str, ...] = field(default=())
    error: MagicianError | None = None


def follow(
    requests: Iterable[Dataset], send: Callable, node: Node, service: str, arrivals: Arrivals
) -> Outcome:
    """Send the requests for the parts of one study; of their outcomes the first failure, or the
    last one.
    """
    outcome = None
    for identifier in requests:
        try:
            with lost_means_aborted(arrivals.association, node):
                result = _last_response(send(identifier), node, service, arrivals)
        except AssociationAborted as error:
            result = Outcome(service, None, str(error), error=error)
        if outcome is None or outcome.status == 0x0000:
            outcome = result
        if result.error:
            break
    return outcome


def _last_response(responses: Iterator, node: Node, service: str, arrivals: Arrivals) -> Outcome:
    """Follow the pending responses of a retrieve to the last one (PS3.4 C.4.2.1.7)."""
    completed = 0
    for response, identifier in responses:
        try:
            status = require_status(response, node, service, arrivals.heard)
        except MagicianError as error:
            return Outcome(service, None, str(error), completed, error=error)
        arrivals.heard = time.monotonic()
        completed = response.get("NumberOfCompletedSuboperations", 0) + response.get(
            "NumberOfWarningSuboperations", 0
        )
        if status != 0xFF00:
            uids = _failed_uids(identifier)
            failed = response.get("NumberOfFailedSuboperations", 0)
            return Outcome(service, status, describe_response(response, service), completed, failed, uids)
    raise AssertionError("pynetdicom ended a retrieve without a last response")


def _failed_uids(identifier: Dataset | None) -> tuple[str, ...]:
    """The instances that a last response lists as failed (0008,0058), if it lists them and they can
    be read.
    """
    try:
        uids = identifier.get("FailedSOPInstanceUIDList") if identifier else None
    except Exception:  # a hostile answer can fail in any of pydicom's ways; the list is optional
        return ()
    return (str(uids),) if isinstance(uids, str) else tuple(str(uid) for uid in uids or [] if uid)


def raise_if_incomplete(
    outcome: Outcome, arrivals: Arrivals, where: str, refused_classes=()
) -> None:
    """Compare what came with what should have come.

    A warning after a C-GET or C-MOVE means incomplete (PS3.4 Tables C.4-2 and C.4-3). So an object
    that failed and that C-FIND did not list counts as missing too; one that was sent a second time
    does not.
    """
    known = arrivals.expected.keys() | arrivals.foreign
    unlisted = [uid for uid in outcome.failed_uids if uid not in known]
    missing = arrivals.missing + unlisted
    untold = outcome.failed if not outcome.failed_uids and not missing else 0
    if arrivals.failure or missing or untold:
        expected = len(arrivals.expected) + len(unlisted) + untold
        raise_incomplete(
            outcome,
            len(arrivals.paths),
            expected,
            missing,
            where,
            refused_classes,
            arrivals.failure,
        )


def raise_incomplete(
    outcome: Outcome,
    received: int,
    expected: int,
    missing,
    where: str,
    refused_classes=(),
    failure=None,
) -> NoReturn:
    """Raise for a retrieve that did not bring everything: the specific error if nothing came at
    all.
    """
    if failure is None and received == 0 and outcome.error is not None:
        raise outcome.error
    if failure is None and received == 0 and outcome.status not in (None, 0x0000, 0xB000, 0xFE00):
        unagreed = (
            f" It did not agree to send {', '.join(refused_classes)}." if refused_classes else ""
        )
        raise DimseFailure(
            f"Nothing came from {where}: {outcome.words}.{unagreed} Its log says why.",
            outcome.status,
        )
    why, advice = outcome.words, "if it happens again, the log of the PACS says why"
    if refused_classes:
        why += f"; the PACS did not agree to send {', '.join(refused_classes)}"
    if failure is not None:
        why, advice = (
            f"this computer stopped it: it refused {failure}",
            "what is here already is not sent again",
        )
    listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    raise IncompleteRetrieve(
        f"Only {received} of {expected} images came from {where} ({why}). Missing: {listed or 'not told'}. "
        f"Retrieve again, into the same folder, and only what is missing is fetched; {advice}.",
        received,
        expected,
        missing,
    ) from failure


def raise_unknown_destination(outcome: Outcome, node: Node, target: Node) -> NoReturn:
    """Raise for a C-MOVE that did not get anywhere: 0xA801, or what a PACS answers in its place."""
    host = target.host
    if is_loopback(host) and not is_loopback(node.host):
        host = "the address of this computer"
    orthanc = " (Orthanc says no more than this)" if outcome.status == 0xC000 else ""
    raise UnknownMoveDestination(
        f"{node} answered our C-MOVE with {outcome.words}{orthanc}: it does not know the AE title "
        f"{target.ae_title!r}, or could not reach it. Its administrator must enter {target.ae_title!r} with host "
        f"{host} and port {target.port}; a practice PACS learns it by .know(node). Or use C-GET.",
        outcome.status,
    )
