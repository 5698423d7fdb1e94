"""The errors of a retrieve that is not complete, and who is to blame for it.

A warning after a C-GET or C-MOVE means incomplete (PS3.4 Tables C.4-2 and C.4-3), and a success is
a claim. So what came is compared with what the PACS had listed and counted before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from magician.dimse.arrivals import Arrivals
from magician.dimse.query import Expected
from magician.dimse.reception import Refused
from magician.dimse.retrieve_outcome import NOT_A_FAILURE, Outcome
from magician.dimse.status import (
    DESTINATION_UNKNOWN,
    OUT_OF_RESOURCES,
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

MOST_NAMED = 3  # of the missing instances, in a message
AGAIN = "Retrieve again, into the same folder, and only what is missing is fetched"
ROLE_REFUSED = (  # PS3.8 9.3.3.2; the role of a receiver, during a C-GET (PS3.7 D.3.3.4)
    "when we associated (presentation context, or role selection): use C-MOVE (move_study), or its "
    "administrator must allow it to send"
)


@dataclass(frozen=True)
class Shortage:
    """How much of a study came, and which instances did not, as far as they are known by name.

    Attributes
    ----------
    received, expected : int
    missing : sequence of str
        SOP Instance UIDs.
    refusals : mapping of Refused
        Why this computer refused some of them, by SOP Instance UID.
    difference : str
        What the PACS lists and counts, if that is not the same number.
    paths : sequence of Path
        The files that came.
    foreign : int
        How many objects came of what was not asked for.
    not_taken : mapping of str
        Why our receiver did not take a SOP class, by its name.
    can_resume : bool
        Whether the next retrieve fetches only what is missing.
    unlisted : int
        How many of those received the PACS had not listed.
    """

    received: int
    expected: int
    missing: Sequence[str]
    refusals: Mapping[str, Refused] = field(default_factory=dict)
    difference: str = ""
    paths: Sequence[Path] = ()
    foreign: int = 0
    not_taken: Mapping[str, str] = field(default_factory=dict)
    can_resume: bool = True
    unlisted: int = 0


def require_complete(outcome: Outcome, arrivals: Arrivals) -> None:
    """Raise unless every expected instance is here; log what the last status says beyond that.

    An object that failed and that C-FIND did not list counts as missing, too. An object that was
    sent a second time does not.

    Raises
    ------
    IncompleteRetrieve
        If instances are missing: some came, or the PACS reported no error, or this computer
        stopped the retrieve or refused an object.
    DimseFailure, PacsTimeout, AssociationAborted
        If nothing came: the reason.
    """
    foreign = arrivals.foreign_uids
    failed, refusals = [*outcome.failed_uids], {}
    if outcome.service == "C-GET":  # a receiver may refuse objects of others
        refusals = {uid: r for uid, r in arrivals.refusals.items() if uid not in foreign}
        failed += [] if arrivals.is_short else refusals
    missing = list(dict.fromkeys([*arrivals.missing, *sorted(arrivals.unlisted_of(failed))]))
    unnamed = 0
    if not missing and not outcome.failed_uids:
        unnamed = max(0, outcome.failed - len(foreign))
    here, expected = len(arrivals.paths), arrivals.expected.number
    if not arrivals.expected.has_number:  # then what it says to have sent is all that there is
        expected = max(expected, outcome.completed or 0)
    shortage = Shortage(
        here,
        max(expected, here + len(missing) + unnamed),
        missing,
        refusals | {uid: arrivals.refusals[uid] for uid in missing if uid in arrivals.refusals},
        arrivals.expected.difference,
        tuple(arrivals.paths.values()),
        len(foreign),
        arrivals.classes_not_taken,
        unlisted=len(arrivals.unlisted_uids),
    )
    if arrivals.local_failure:
        raise _stopped_by_us(outcome, shortage, arrivals.local_failure)
    if shortage.received < shortage.expected or not here:
        raise _not_sent(outcome, shortage)
    if not arrivals.expected.has_number and outcome.status != SUCCESS:
        raise _not_sent(outcome, shortage)
    _log_unless_success(outcome)


def require_all_moved(outcome: Outcome, expected: Expected) -> None:
    """Raise unless a C-MOVE to another node counts as many sub-operations as completed.

    A success without counters passes: whether it is true can't be seen from here.

    The errors are those of `require_complete`.
    """
    if outcome.completed is None and outcome.status == SUCCESS:
        return
    completed = outcome.completed or 0
    if completed < expected.number or outcome.failed:
        total = max(expected.number, completed + outcome.failed)
        uids, difference = outcome.failed_uids, expected.difference
        shortage = Shortage(completed, total, uids, difference=difference, can_resume=False)
        raise _not_sent(outcome, shortage)
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
    error = _incomplete(
        outcome, shortage, reason, f"{AGAIN}; what is here already is not sent again."
    )
    error.__cause__ = failure
    return error


def _not_sent(outcome: Outcome, shortage: Shortage) -> MagicianError:
    """Make the error of a retrieve that the PACS did not complete; if nothing came, its reason."""
    if shortage.refusals:
        return _refused_by_us(outcome, shortage)
    if shortage.received == 0 and outcome.error is not None:
        return outcome.error
    is_failure = outcome.status not in (None, *NOT_A_FAILURE)
    refused = ", ".join(outcome.refused_classes)
    if shortage.received == 0 and is_failure and not (shortage.foreign or shortage.not_taken):
        why = "Its log says why."
        if refused:
            why = f"It did not agree to send {refused} {ROLE_REFUSED}."
        return DimseFailure(
            f"Nothing came from {outcome.route}: {outcome.words}. {why}", outcome.status
        )
    return _incomplete(outcome, shortage, _reason(outcome, shortage), _advice(outcome, shortage))


def _reason(outcome: Outcome, shortage: Shortage) -> str:
    """Say how a retrieve ended, and what is known beside the status."""
    reason = outcome.words
    if outcome.refused_classes:
        refused = ", ".join(outcome.refused_classes)
        reason += f"; the PACS did not agree to send {refused} {ROLE_REFUSED}"
    if shortage.not_taken:
        classes = "; ".join(f"{name}: {why}" for name, why in shortage.not_taken.items())
        reason += f"; our own receiver does not take {classes}"
    if shortage.unlisted and shortage.missing:
        reason += f"; {shortage.unlisted} of them it had not listed"
    if shortage.foreign:
        reason += (
            f"; {shortage.foreign} objects came of another study or series than the one that we "
            f"asked for, and do not count"
        )
    if shortage.difference:
        reason += f"; the PACS contradicts itself: {shortage.difference}"
    return reason


def _advice(outcome: Outcome, shortage: Shortage) -> str:
    """Say what to do about a retrieve that is incomplete."""
    if outcome.repeated and shortage.missing:
        return (
            f"Two retrieves have brought the same {shortage.received}: perhaps the PACS lists what "
            f"it can't send any more. This error's .paths has the files that came. Ask its "
            f"administrator for the others."
        )
    if outcome.repeated:
        return (
            f"Two retrieves have brought the same {shortage.received}: perhaps the PACS counts "
            f"wrongly. This error's .paths has their files. With expected='list' its counts are "
            f"left aside."
        )
    if shortage.not_taken:
        return "Let the receiver take these kinds of objects, or leave them out."
    if not shortage.can_resume and shortage.difference and not outcome.failed:
        return "If the PACS counts wrongly: with expected='list' its counts are left aside."
    again = AGAIN if shortage.can_resume else "Move them again"
    look = "the log of the PACS says why"
    if shortage.foreign:
        look = "compare its study with ours"
    elif outcome.service == "C-GET" and outcome.failed:
        look = (
            "the PACS may hold it in an encoding or a class that we have not offered: "
            "move_study takes more, and its administrator can see the cause"
        )
    return f"{again}; if it happens again, {look}."


def _refused_by_us(outcome: Outcome, shortage: Shortage) -> IncompleteRetrieve:
    """Make the error of a retrieve whose objects this computer did not all take."""
    refusals = list(shortage.refusals.values())
    reasons = "; ".join(str(refusal).rstrip(".") for refusal in refusals[:MOST_NAMED])
    more = "; ..." if len(refusals) > MOST_NAMED else ""
    change = "Such an object may be damaged in the PACS: ask its administrator to look at it."
    if any(refusal.status == OUT_OF_RESOURCES for refusal in refusals):
        change = (
            "Make room on this computer, or raise the limit that is named (of the receiver, or of "
            "get_study), and retrieve again."
        )
    here = " The others are here, see this error's .paths." if shortage.received else ""
    return _incomplete(
        outcome,
        shortage,
        "the association was lost" if outcome.error else outcome.words,
        f"This computer refused {len(refusals)} of them, not the PACS: {reasons}{more}. "
        f"{change}{here}",
    )


def _incomplete(
    outcome: Outcome, shortage: Shortage, reason: str, advice: str
) -> IncompleteRetrieve:
    received, expected, missing = shortage.received, shortage.expected, shortage.missing
    listed = ", ".join(missing[:MOST_NAMED]) + (", ..." if len(missing) > MOST_NAMED else "")
    number = f"Only {received} of {expected}" if expected else "No"
    return IncompleteRetrieve(
        f"{number} images came from {outcome.route} ({reason}). "
        f"Missing: {listed or 'not told'}. {advice}",
        received,
        expected,
        missing,
        shortage.paths,
    )


def _log_unless_success(outcome: Outcome) -> None:
    """Log a last status that says more, for instance that the destination coerced some values."""
    if outcome.status != SUCCESS:
        logger.warning("All images came, and the %s ended with: %s", outcome.service, outcome.words)
