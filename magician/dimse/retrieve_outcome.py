"""The outcome of a retrieve: how a C-GET or C-MOVE ended, and the errors if it is incomplete.

A warning after a C-GET or C-MOVE means incomplete (PS3.4 Tables C.4-2 and C.4-3), and a success is
a claim. So what came is compared with what the PACS had listed before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from magician.dimse.arrivals import Arrivals
from magician.dimse.reception import Refused
from magician.dimse.status import (
    CANCELLED,
    DESTINATION_UNKNOWN,
    INCOMPLETE,
    SUCCESS,
    UNABLE_TO_PROCESS,
)
from magician.errors import (
    DimseFailure,
    IncompleteRetrieve,
    MagicianError,
    UnknownMoveDestination,
)
from magician.node import Node, is_loopback

logger = logging.getLogger(__name__)

# After these the PACS did not fail: it says only that not everything came
NOT_A_FAILURE = (SUCCESS, INCOMPLETE, CANCELLED)


@dataclass(frozen=True)
class Outcome:
    """How a C-GET or C-MOVE ended.

    Attributes
    ----------
    route : str
        Who sends, and by which service: ``"PACS@127.0.0.1:104 by C-GET"``.
    service : str
        ``"C-GET"`` or ``"C-MOVE"``.
    status : int or None
        The status of the last response; None if an error came in its place.
    words : str
        That status, or that error, in words.
    completed, failed : int
        Numbers of sub-operations, as the last response tells them.
    failed_uids : tuple of str
        SOP Instance UIDs that the last response lists as failed (0008,0058).
    error : MagicianError or None
        The error that came in place of a last response.
    refused_classes : tuple of str
        Names of the SOP classes that the PACS did not agree to send.
    """

    route: str
    service: str
    status: int | None
    words: str
    completed: int = 0
    failed: int = 0
    failed_uids: tuple[str, ...] = ()
    error: MagicianError | None = None
    refused_classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shortage:
    """How much of a study came, and which instances did not, as far as they are known by name."""

    received: int
    expected: int
    missing: Sequence[str]


def require_complete(outcome: Outcome, arrivals: Arrivals) -> None:
    """Raise unless every expected instance is here; log what the last status says beyond that.

    An object that failed and that C-FIND did not list counts as missing, too. An object that was
    sent a second time does not.

    Raises
    ------
    IncompleteRetrieve
        If instances are missing: some came, or the PACS reported no error, or this computer
        stopped the retrieve.
    DimseFailure, PacsTimeout, AssociationAborted
        If nothing came: the reason.
    """
    known = arrivals.expected.keys() | arrivals.foreign_uids
    unlisted = [uid for uid in outcome.failed_uids if uid not in known]
    missing = arrivals.missing + unlisted
    unnamed = outcome.failed if not outcome.failed_uids and not missing else 0
    expected = len(arrivals.expected) + len(unlisted) + unnamed
    shortage = Shortage(len(arrivals.paths), expected, missing)
    if arrivals.local_failure:
        raise _stopped_by_us(outcome, shortage, arrivals.local_failure)
    if missing or unnamed:
        raise _not_sent(outcome, shortage)
    _log_unless_success(outcome)


def require_all_moved(outcome: Outcome, expected: int) -> None:
    """Raise unless a C-MOVE to another node counts so many sub-operations as completed.

    The errors are those of `require_complete`.
    """
    if outcome.completed < expected or outcome.failed:
        total = max(expected, outcome.completed + outcome.failed)
        raise _not_sent(outcome, Shortage(outcome.completed, total, outcome.failed_uids))
    _log_unless_success(outcome)


def require_known_destination(outcome: Outcome, node: Node, target: Node) -> None:
    """Raise `UnknownMoveDestination` if a C-MOVE sent nothing, and that is the likely reason.

    Some PACS answer 0xC000 (unable to process) in place of 0xA801 (move destination unknown).
    """
    if outcome.completed or outcome.status not in (DESTINATION_UNKNOWN, UNABLE_TO_PROCESS):
        return
    host = target.host
    if is_loopback(host) and not is_loopback(node.host):
        host = "the address of this computer"
    vague = outcome.status == UNABLE_TO_PROCESS
    orthanc = " (Orthanc says no more than this)" if vague else ""
    raise UnknownMoveDestination(
        f"{node} answered our C-MOVE with {outcome.words}{orthanc}: it does not know the AE title "
        f"{target.ae_title!r}, or could not reach it. Its administrator must enter "
        f"{target.ae_title!r} with host {host} and port {target.port}; a practice PACS learns it "
        f"by .know(node). Or use C-GET.",
        outcome.status,
    )


def _stopped_by_us(outcome: Outcome, shortage: Shortage, failure: Refused) -> IncompleteRetrieve:
    """Make the error of a retrieve that this computer stopped."""
    reason = f"this computer stopped it: it refused {failure}"
    error = _incomplete(outcome, shortage, reason, "what is here already is not sent again")
    error.__cause__ = failure
    return error


def _not_sent(outcome: Outcome, shortage: Shortage) -> MagicianError:
    """Make the error of a retrieve that the PACS did not complete; if nothing came, its reason."""
    if shortage.received == 0 and outcome.error is not None:
        return outcome.error
    refused = ", ".join(outcome.refused_classes)
    if shortage.received == 0 and outcome.status not in (None, *NOT_A_FAILURE):
        not_agreed = f" It did not agree to send {refused}." if refused else ""
        return DimseFailure(
            f"Nothing came from {outcome.route}: {outcome.words}.{not_agreed} Its log says why.",
            outcome.status,
        )
    reason = outcome.words + (f"; the PACS did not agree to send {refused}" if refused else "")
    return _incomplete(
        outcome, shortage, reason, "if it happens again, the log of the PACS says why"
    )


def _incomplete(
    outcome: Outcome, shortage: Shortage, reason: str, advice: str
) -> IncompleteRetrieve:
    received, expected, missing = shortage.received, shortage.expected, shortage.missing
    listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return IncompleteRetrieve(
        f"Only {received} of {expected} images came from {outcome.route} ({reason}). "
        f"Missing: {listed or 'not told'}. Retrieve again, into the same folder, and only what is "
        f"missing is fetched; {advice}.",
        received,
        expected,
        missing,
    )


def _log_unless_success(outcome: Outcome) -> None:
    """Log a last status that says more, for instance that the destination coerced some values."""
    if outcome.status != SUCCESS:
        logger.warning("All images came, and the %s ended with: %s", outcome.service, outcome.words)
