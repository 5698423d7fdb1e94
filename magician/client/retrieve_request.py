"""The requests of a retrieve: what is asked for, sent by C-GET or C-MOVE (PS3.4 C.4.3 and C.4.2).

`fetch_missing` and `move_missing` open the association, send the requests and follow the responses
to the last one. Where a PACS stops at a limit of its own, they ask for less at once. They raise
nothing for instances that did not come: the `Outcome` tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as MOVE

from magician.client.retrieve_plan import (
    first_requests,
    next_requests,
    number_again,
    storage_contexts,
)
from magician.dimse.arrivals import Arrivals
from magician.dimse.association import (
    associate,
    classes_without_role,
    lost_means_aborted,
    require_service,
    watch_life_signs,
)
from magician.dimse.receiver import Receiver
from magician.dimse.retrieve_outcome import (
    Outcome,
    completed_of,
    counters_of,
    describe_counters,
    failed_uids_of,
)
from magician.dimse.status import SUCCESS, describe_response, is_pending, require_status
from magician.errors import AssociationAborted, Finding, MagicianError, PacsTimeout
from magician.node import Node

ENDED = ("Completed", "Failed", "Warning")  # sub-operations that have ended, well or not
# How long a PACS may answer that it goes on, where nothing shows whether it does
LONGEST_UNSEEN_S = 3600
GRACE_S = 0.5  # for images that come although the request was broken off

Responses = Iterator[tuple[Dataset, Dataset | None]]


def fetch_missing(node: Node, arrivals: Arrivals, *, progress: bool = True) -> Outcome:
    """Fetch the missing instances over an association that we open (C-GET, PS3.4 C.4.3).

    Parameters
    ----------
    node : Node
        The PACS that holds them.
    arrivals : Arrivals
        It keeps what comes.
    progress : bool
        Show a progress bar when it takes longer than two seconds.

    Returns
    -------
    Outcome
        How it ended; see `require_complete`.

    Raises
    ------
    ServiceNotAccepted
        If the PACS does not offer C-GET; and the errors of `associate`.
    """
    outcome = _fetch(node, arrivals, progress=progress)
    if _takes_no_lists(outcome):
        arrivals.takes_lists = False
        outcome = _fetch(node, arrivals, progress=progress)
    unlisted = arrivals.unlisted_of(outcome.failed_uids)
    if unlisted and not outcome.error and not arrivals.local_failure:
        arrivals.named |= unlisted  # perhaps of classes that we have not offered
        outcome = _fetch(node, arrivals, progress=progress)
    return outcome


def _takes_no_lists(outcome: Outcome) -> bool:
    """Tell whether a PACS broke off, or fell silent, over a request by UIDs."""
    is_lost = isinstance(outcome.error, (AssociationAborted, PacsTimeout))
    return is_lost and outcome.level == "IMAGE" and not outcome.brought


def _fetch(node: Node, arrivals: Arrivals, *, progress: bool) -> Outcome:
    """Fetch what is missing over one association."""
    storage = storage_contexts(arrivals)
    with (
        associate(
            node,
            [build_context(GET), *storage],
            storage_roles=sorted({context.abstract_syntax for context in storage}),
            handlers=[(evt.EVT_C_STORE, arrivals.handle_store)],
        ) as association,
        arrivals.collecting_over(association, "C-GET", progress),
    ):
        require_service(association, node, GET, "use C-MOVE (move_study)")
        retrieve = _Retrieve(node, "C-GET", arrivals, lambda: arrivals.last_arrival_at)
        outcome = retrieve.follow(lambda request: association.send_c_get(request, GET))
        unanswered = classes_without_role(association) if not arrivals.count else set()
        refused = arrivals.refused_classes(association, unanswered)
    return replace(outcome, refused_classes=refused)


def move_missing(
    node: Node,
    arrivals: Arrivals,
    target: Node,
    *,
    receiver: Receiver | None = None,
    late_s: float = 0,
    progress: bool = True,
) -> Outcome:
    """Have the missing instances sent to `target` (C-MOVE, PS3.4 C.4.2).

    Parameters
    ----------
    node : Node
        The PACS that holds them.
    arrivals : Arrivals
    target : Node
        The destination; the PACS is told only its AE title.
    receiver : Receiver, optional
        The destination, if it is ours. What comes there shows that the PACS is at work: it need not
        send pending responses (PS3.4 C.4.2.3.1).
    late_s : float
        How long to wait, after the last response, for images that are still on their way to the
        receiver.
    progress : bool
        Show a progress bar when it takes longer than two seconds.

    Returns
    -------
    Outcome
        How it ended; see `require_complete` and `require_all_moved`.
    """
    outcome = _move(node, arrivals, target, receiver, late_s, progress=progress)
    if _takes_no_lists(outcome):
        arrivals.takes_lists = False
        outcome = _move(node, arrivals, target, receiver, late_s, progress=progress)
    return replace(outcome, route=f"{outcome.route} to {target}")


def _move(
    node: Node,
    arrivals: Arrivals,
    target: Node,
    receiver: Receiver | None,
    late_s: float,
    *,
    progress: bool,
) -> Outcome:
    """Have what is missing sent, by requests over one association."""

    def last_life_sign() -> float:
        return max(receiver.last_activity(), arrivals.last_arrival_at)

    with (
        associate(node, [MOVE]) as association,
        arrivals.collecting_over(association, "C-MOVE", progress),
        receiver.watched_by(arrivals) if receiver else nullcontext(),
    ):
        if receiver:
            watch_life_signs(association, last_life_sign)
        retrieve = _Retrieve(node, "C-MOVE", arrivals, last_life_sign if receiver else None)
        return retrieve.follow(
            lambda request: association.send_c_move(request, target.ae_title, MOVE), late_s
        )


class _Retrieve:
    """One retrieve over an association. `last_life_sign` returns ``time.monotonic()`` of the last
    sign that images are coming; it is None where they go to another node.
    """

    def __init__(
        self,
        node: Node,
        service: str,
        arrivals: Arrivals,
        last_life_sign: Callable[[], float] | None,
    ) -> None:
        self._node, self._service, self._arrivals = node, service, arrivals
        self._last_life_sign = last_life_sign
        self._has_waited = False

    def follow(self, send: Callable[[Dataset], Responses], late_s: float = 0) -> Outcome:
        """Send what `first_requests` builds, then what `next_requests` builds, as long as that asks
        in a new way or brings something new; return the last outcome.
        """
        arrivals, repeated = self._arrivals, False
        level, requests = first_requests(arrivals)
        asked_at: set[str] = set()
        while True:
            asked_at.add(level)
            here, count = len(arrivals.paths), arrivals.count
            again = number_again(arrivals, level, requests)
            arrivals.allow_offers()
            outcome = self._send_all(requests, send)
            self._wait_for_late(outcome, late_s)
            brought, is_new = arrivals.count - count, len(arrivals.paths) > here
            repeated = not is_new and (repeated or 0 < again <= brought)
            outcome = replace(outcome, level=level, brought=brought, repeated=repeated)
            level, requests = next_requests(arrivals, outcome)
            if not requests or (level in asked_at and not is_new):
                return outcome

    def _send_all(self, requests: list[Dataset], send: Callable[[Dataset], Responses]) -> Outcome:
        """Send requests one by one; return the first outcome that is no success, or the last."""
        outcome = None
        for request in requests:
            try:
                with lost_means_aborted(self._arrivals.association, self._node):
                    latest = self._follow_to_the_end(send(request))
            except AssociationAborted as error:
                latest = self._broken_off(error)
            if outcome is None or outcome.status == SUCCESS:
                outcome = latest
            if latest.error:
                break
        return outcome

    def _follow_to_the_end(self, responses: Responses) -> Outcome:
        """Follow the pending responses of one request to the last one (PS3.4 C.4.2.1.7)."""
        counters: dict[str, int | None] = {}
        before: dict[str, int | None] = {}
        progress = _Progress(self._node, self._service, self._last_life_sign)
        for response, identifier in responses:
            try:
                association = self._arrivals.association
                status = require_status(response, association, self._node, self._service)
                counters = counters_of(response)
                if is_pending(status):
                    progress.require(counters)
                    before = counters if any(counters.values()) else before
                    continue
            except MagicianError as error:
                return replace(self._broken_off(error), completed=completed_of(counters))
            words = describe_response(response, self._service)
            if before and completed_of(counters) is None:
                words += f"; before that it counted {describe_counters(before)}"
            return Outcome(
                self._route,
                self._service,
                status,
                words,
                # a success that counts nothing at all does not tell how many were sent
                completed_of(counters) if status != SUCCESS or any(counters.values()) else None,
                counters["Failed"] or 0,
                failed_uids_of(identifier),
            )
        raise AssertionError("pynetdicom ended a retrieve without a last response")

    def _wait_for_late(self, outcome: Outcome, late_s: float) -> None:
        """Wait for images on their way, unless the PACS says that it has sent no more."""
        arrivals, sent = self._arrivals, outcome.completed
        came = arrivals.count + len(arrivals.foreign_uids) + len(arrivals.refusals)
        may_come = bool(outcome.error) or (sent or 0) > came
        if sent is None and outcome.status == SUCCESS:
            may_come = not outcome.failed
        if outcome.error and not came:  # most probably none will
            late_s = min(late_s, GRACE_S)
        if late_s and may_come and not self._has_waited:
            count = arrivals.count
            arrivals.wait_for_late(late_s, self._last_life_sign)
            self._has_waited = arrivals.count == count  # in vain: not once more

    @property
    def _route(self) -> str:
        return f"{self._node} by {self._service}"

    def _broken_off(self, error: MagicianError) -> Outcome:
        """Make the outcome of a request to which no last response came, and end the association:
        it can't be released while the request runs (PS3.8 7.2).
        """
        self._arrivals.association.abort()
        words, count = str(error), self._arrivals.count
        if type(error) is AssociationAborted and count:
            words = f"{self._node} ended the association after {count} objects"
        return Outcome(self._route, self._service, None, words, error=error)


class _Progress:
    """The progress of one request, by what its pending responses count and by what comes.

    `last_life_sign` is that of a `_Retrieve`.
    """

    def __init__(
        self, node: Node, service: str, last_life_sign: Callable[[], float] | None
    ) -> None:
        self._node, self._service, self._last_life_sign = node, service, last_life_sign
        self._moved_at = time.monotonic()
        self._most_done, self._least_left = 0, None

    def require(self, counters: dict[str, int | None]) -> None:
        """Raise `PacsTimeout` if the PACS goes on answering, and nothing has moved for long.

        Where neither the counters nor what comes can show it, the time is `LONGEST_UNSEEN_S`.
        """
        now, most_s, limit = time.monotonic(), self._node.dimse_s, "dimse_s"
        if self._last_life_sign:  # where we see what comes, nothing else counts
            counters = dict.fromkeys(counters)
            self._moved_at = max(self._moved_at, self._last_life_sign())
        elif set(counters.values()) == {None}:
            most_s, limit = max(most_s, LONGEST_UNSEEN_S), "nothing shows whether it does"
        done, left = sum(counters[name] or 0 for name in ENDED), counters["Remaining"]
        is_less = None not in (left, self._least_left) and left < self._least_left
        if done > self._most_done or is_less:
            self._moved_at = now
        self._most_done = max(done, self._most_done)
        if self._least_left is None or is_less:
            self._least_left = left
        if now - self._moved_at > most_s:
            seen = (
                f"{self._node} answers our {self._service} with pending again and again, and "
                f"nothing has moved for {most_s:g} s ({limit})."
            )
            change = "Its administrator can see in its log what it waits for."
            raise PacsTimeout.of(Finding(self._service, seen, "the PACS", change))
