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

from magician.dimse.arrivals import Arrivals, storage_contexts
from magician.dimse.association import (
    associate,
    classes_without_role,
    lost_means_aborted,
    require_service,
)
from magician.dimse.query import UIDS_AT_ONCE, build_image_retrieves, build_retrieve
from magician.dimse.receiver import Receiver
from magician.dimse.retrieve_outcome import (
    NOT_A_FAILURE,
    Outcome,
    completed_of,
    counters_of,
    failed_uids_of,
)
from magician.dimse.status import (
    LIMITS_OF_A_RETRIEVE,
    PENDING,
    SUCCESS,
    describe_response,
    require_status,
)
from magician.errors import AssociationAborted, Finding, MagicianError, PacsTimeout
from magician.node import Node
from magician.upper_layer.requestor import connection_of

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
        require_service(association, node, GET)
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
    with (
        associate(node, [MOVE]) as association,
        arrivals.collecting_over(association, "C-MOVE", progress),
        receiver.watched_by(arrivals) if receiver else nullcontext(),
    ):
        last_life_sign = None
        if receiver:

            def last_life_sign() -> float:
                return max(receiver.last_activity(), arrivals.last_arrival_at)

            connection_of(association).other_life_signs = last_life_sign
        retrieve = _Retrieve(node, "C-MOVE", arrivals, last_life_sign)
        outcome = retrieve.follow(
            lambda request: association.send_c_move(request, target.ae_title, MOVE), late_s
        )
    return replace(outcome, route=f"{outcome.route} to {target}")


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

    def follow(self, send: Callable[[Dataset], Responses], late_s: float = 0) -> Outcome:
        """Send what `first_requests` builds, then what `narrower_requests` builds, as long as that
        asks in a new way or brings something new; return the last outcome.
        """
        level, requests = first_requests(self._arrivals)
        asked_at: set[str] = set()
        while True:
            asked_at.add(level)
            here, count = len(self._arrivals.paths), self._arrivals.count
            self._arrivals.allow_offers()
            outcome = self._send_all(requests, send)
            self._wait_for_late(outcome, late_s)
            brought = self._arrivals.count - count
            is_new = len(self._arrivals.paths) > here
            repeated = not is_new and 0 < here <= brought
            outcome = replace(outcome, repeated=repeated)
            level, requests = narrower_requests(self._arrivals, outcome, level, brought)
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
        moved_at = time.monotonic()
        for response, identifier in responses:
            try:
                association = self._arrivals.association
                status = require_status(response, association, self._node, self._service)
                before, counters = counters, counters_of(response)
                if counters != before or not self._can_see_progress(counters):
                    moved_at = time.monotonic()
                if status == PENDING:
                    self._require_progress(moved_at)
            except MagicianError as error:
                return replace(self._broken_off(error), completed=completed_of(counters))
            if status != PENDING:
                return Outcome(
                    self._route,
                    self._service,
                    status,
                    describe_response(response, self._service),
                    completed_of(counters),
                    counters["Failed"] or 0,
                    failed_uids_of(identifier),
                )
        raise AssertionError("pynetdicom ended a retrieve without a last response")

    def _can_see_progress(self, counters: dict[str, int | None]) -> bool:
        """Tell whether a pending response, or what comes, shows if anything moves."""
        return self._last_life_sign is not None or set(counters.values()) != {None}

    def _require_progress(self, moved_at: float) -> None:
        """Raise `PacsTimeout` if the PACS goes on answering, and nothing has moved for long."""
        if self._last_life_sign:
            moved_at = max(moved_at, self._last_life_sign())
        if time.monotonic() - moved_at > self._node.dimse_s:
            seen = (
                f"{self._node} answers our {self._service} with pending again and again, and "
                f"nothing has moved for {self._node.dimse_s:g} s (dimse_s)."
            )
            change = "Its administrator can see in its log what it waits for."
            raise PacsTimeout.of(Finding(self._service, seen, "the PACS", change))

    def _wait_for_late(self, outcome: Outcome, late_s: float) -> None:
        """Wait for images on their way, unless the PACS says that it has sent no more."""
        arrivals, sent = self._arrivals, outcome.completed
        came = arrivals.count + len(arrivals.foreign_uids) + len(arrivals.refusals)
        is_told = sent is not None and (sent or outcome.failed)
        if late_s and outcome.status in NOT_A_FAILURE and not (is_told and sent <= came):
            arrivals.wait_for_late(late_s, self._last_life_sign)

    @property
    def _route(self) -> str:
        return f"{self._node} by {self._service}"

    def _broken_off(self, error: MagicianError) -> Outcome:
        """Make the outcome of a request to which no last response came, and end the association:
        it can't be released while the request runs (PS3.8 7.2).
        """
        self._arrivals.association.abort()
        return Outcome(self._route, self._service, None, str(error), error=error)


def first_requests(arrivals: Arrivals) -> tuple[str, list[Dataset]]:
    """Build the identifiers to begin with (PS3.4 C.4.3.1.3), and tell their level.

    They ask for the whole study or series; if some instances are here, for the missing ones by
    their UIDs; and if the PACS counts more than it lists, for each series that is short.
    """
    expected = arrivals.expected
    if arrivals.paths and expected.number > len(arrivals.paths) + len(arrivals.missing):
        return _series_requests(arrivals)
    if arrivals.paths and arrivals.missing:
        return _image_requests(arrivals)
    if expected.series_instance_uid:
        return _series_requests(arrivals)
    return "STUDY", [build_retrieve("STUDY", StudyInstanceUID=expected.study_instance_uid)]


def narrower_requests(
    arrivals: Arrivals, outcome: Outcome, level: str, brought: int
) -> tuple[str, list[Dataset]]:
    """Build the identifiers to go on with after requests at a level, if it makes sense.

    A PACS that stopped at a limit of its own, or counts more than it lists, is asked for each
    series. If the limit lies there, it is asked for the missing instances by their UIDs, for no
    more at once than it has just sent. A PACS that takes no list of UIDs is asked for the series
    that hold them.

    Parameters
    ----------
    arrivals : Arrivals
    outcome : Outcome
        How those requests ended.
    level : str
        Theirs.
    brought : int
        How many objects they brought.
    """
    nothing = "", []
    if outcome.error or arrivals.local_failure or arrivals.refusals or not arrivals.is_short:
        return nothing
    at_limit = outcome.status in LIMITS_OF_A_RETRIEVE
    counts_more = arrivals.expected.number > len(arrivals.paths) + len(arrivals.missing)
    if level == "STUDY" and (at_limit or counts_more):
        return _series_requests(arrivals)
    if level in ("SERIES", "IMAGE") and at_limit and arrivals.missing:
        return _image_requests(arrivals, brought or UIDS_AT_ONCE)
    if level == "IMAGE" and outcome.status not in NOT_A_FAILURE and not brought:
        return _series_requests(arrivals)
    return nothing


def _series_requests(arrivals: Arrivals) -> tuple[str, list[Dataset]]:
    """Ask for each series of which not all is here, or for the study if none is short by itself."""
    expected = arrivals.expected
    study = {"StudyInstanceUID": expected.study_instance_uid}
    wanted = expected.series_instance_uid
    short = [
        uid for uid in expected.series_uids if arrivals.arrived_of(uid) < expected.number_in(uid)
    ]
    series_uids = [wanted] if wanted else short
    if not series_uids:
        return "STUDY", [build_retrieve("STUDY", **study)]
    requests = [build_retrieve("SERIES", **study, SeriesInstanceUID=uid) for uid in series_uids]
    return "SERIES", requests


def _image_requests(arrivals: Arrivals, at_once: int = UIDS_AT_ONCE) -> tuple[str, list[Dataset]]:
    """Ask for the missing instances by their UIDs, series by series."""
    expected = arrivals.expected
    series_of = {uid: expected.instances[uid].series_instance_uid for uid in arrivals.missing}
    return "IMAGE", build_image_retrieves(expected.study_instance_uid, series_of, at_once)
