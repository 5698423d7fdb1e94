"""Ask a PACS what it holds (`find_*`) and have it sent (`get_study`, `move_study`): Query/Retrieve,
PS3.4 Annex C.

All requests use the Study Root information model (PS3.4 C.6.2), the one that practically every PACS
offers. A retrieve is complete or it raises: what should come is asked at image level first, and
what came is compared. Called again with the same folder, it fetches only what is missing.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from pynetdicom import evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from magician.dimse.arrivals import Arrivals
from magician.dimse.association import associate, require_service
from magician.dimse.receiver import Receiver
from magician.dimse.retrieve_outcome import (
    Outcome,
    follow,
    raise_if_incomplete,
    raise_incomplete,
    raise_unknown_destination,
)
from magician.dimse.retrieve_request import expected_instances, identifiers, storage_contexts
from magician.files import open_folder
from magician.node import Node
from magician.privacy import refuse_unseen_move

logger = logging.getLogger(__name__)

GET = StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove


@dataclass(frozen=True)
class Retrieval:
    """A retrieve that is complete.

    Attributes
    ----------
    expected : int
        Instances that the PACS holds, by C-FIND at image level.
    received : int
        Instances that are here now, those of an earlier call included.
    paths : tuple of Path
        Their files, in order of arrival; empty when they went to another node.
    """

    expected: int
    received: int
    paths: tuple[Path, ...] = ()


def get_study(
    node: Node,
    study_instance_uid: str,
    folder,
    *,
    series_instance_uid: str = "",
    progress: bool = True,
) -> Retrieval:
    """Retrieve a study over the connection that we open ourselves (C-GET, PS3.4 C.4.3).

    Nothing has to reach us from outside, so this works behind a firewall and on Colab.

    Parameters
    ----------
    node : Node
    study_instance_uid : str
    folder : path
        Where files go, as ``<SOPInstanceUID>.dcm``; made if it does not exist. An instance that
        lies there already, whole and of this study, is not fetched again.
    series_instance_uid : str
        Only this series.
    progress : bool
        Show a progress bar when it takes longer than two seconds.

    Raises
    ------
    IncompleteRetrieve
        If fewer instances arrived than the PACS holds. What did arrive stays in `folder`, and
        calling again fetches the rest.
    StudyNotFound
        If the PACS holds no such instance.
    DimseFailure, ServiceNotAccepted
        If the PACS refuses; and the errors of `magician.dimse.association.associate`.
    """
    folder = open_folder(folder)
    expected = expected_instances(node, study_instance_uid, series_instance_uid)
    arrivals = Arrivals(expected, study_instance_uid, folder)
    if not arrivals.missing:
        return _complete(arrivals)
    storage = storage_contexts(arrivals)
    with (
        associate(
            node,
            [build_context(GET), *storage],
            storage_roles=sorted({context.abstract_syntax for context in storage}),
            handlers=[(evt.EVT_C_STORE, arrivals.take)],
        ) as association,
        arrivals.over(association, "C-GET", progress),
    ):
        require_service(association, node, GET)
        requests = identifiers(arrivals, series_instance_uid)
        outcome = follow(
            requests, lambda keys: association.send_c_get(keys, GET), node, "C-GET", arrivals
        )
        refused_classes = arrivals.refused_classes(association)
    raise_if_incomplete(outcome, arrivals, f"{node} by C-GET", refused_classes)
    return _complete(arrivals, outcome)


def move_study(
    node: Node,
    study_instance_uid: str,
    destination: Receiver | Node,
    *,
    series_instance_uid: str = "",
    allow_identified: bool = False,
    progress: bool = True,
) -> Retrieval:
    """Tell a PACS to send a study to a third party, which may be ourselves (C-MOVE, PS3.4 C.4.2).

    The PACS opens a new association to the destination. It is told only the AE title: host and port
    of that title must have been entered at the PACS beforehand.

    Parameters
    ----------
    node : Node
        The PACS that holds the study.
    study_instance_uid : str
    destination : Receiver or Node
        Our own receiver (what arrived is compared, and what lies in its folder already is not sent
        again) or another node (the counts that the PACS tells are compared).
    series_instance_uid : str
        Only this series.
    allow_identified : bool
        Must be said for a `Node`, unless it and the PACS are both on this computer: a PACS is told
        only the AE title, looks up the address itself, and we can't see what it sends there.
    progress : bool
        Show a progress bar when a move to a receiver takes longer than two seconds.

    Raises
    ------
    UnknownMoveDestination
        If the PACS does not know the destination's AE title.
    IncompleteRetrieve, StudyNotFound, DimseFailure, NotDeidentified
        As in `get_study` and `magician.client.store.store`; and the errors of
        `magician.dimse.association.associate`.
    """
    target = destination.node if isinstance(destination, Receiver) else destination
    if isinstance(destination, Node):
        refuse_unseen_move(node, destination, allow_identified=allow_identified)
    expected = expected_instances(node, study_instance_uid, series_instance_uid)
    receiver = destination if isinstance(destination, Receiver) else None
    arrivals = Arrivals(expected, study_instance_uid, receiver.folder if receiver else None)
    if not arrivals.missing:
        return _complete(arrivals)
    watched = receiver.watched_by(arrivals) if receiver else nullcontext()
    with (
        associate(node, [MOVE]) as association,
        arrivals.over(association, "C-MOVE", progress and bool(receiver)),
    ):
        requests = identifiers(arrivals, series_instance_uid)
        with watched:
            outcome = follow(
                requests,
                lambda keys: association.send_c_move(keys, target.ae_title, MOVE),
                node,
                "C-MOVE",
                arrivals,
            )
    if outcome.status in (0xA801, 0xC000) and not (
        outcome.completed or arrivals.came or arrivals.failure
    ):
        raise_unknown_destination(outcome, node, target)
    where = f"{node} by C-MOVE to {target}"
    if receiver:
        raise_if_incomplete(outcome, arrivals, where)
        return _complete(arrivals, outcome)
    if outcome.completed < len(expected) or outcome.failed:
        total = max(len(expected), outcome.completed + outcome.failed)
        raise_incomplete(outcome, outcome.completed, total, outcome.failed_uids, where)
    _log_if_not_success(outcome)
    return Retrieval(len(expected), outcome.completed)


def _complete(arrivals: Arrivals, outcome: Outcome | None = None) -> Retrieval:
    if outcome is not None:
        _log_if_not_success(outcome)
    return Retrieval(len(arrivals.expected), len(arrivals.paths), tuple(arrivals.paths.values()))


def _log_if_not_success(outcome: Outcome) -> None:
    """All images came, yet the last status may say more: for instance that the destination coerced
    some values.
    """
    if outcome.status != 0x0000:
        logger.warning("All images came, and the %s ended with: %s", outcome.service, outcome.words)
