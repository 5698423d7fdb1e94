"""The verbs of a retrieve: get a study, or have it sent elsewhere (Query/Retrieve, PS3.4 Annex C).

A retrieve is complete or it raises. The PACS is first asked at image level what it holds, and what
came is compared with that. Called again with the same folder, a retrieve fetches only what is
missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from magician.dimse.arrivals import Arrivals
from magician.dimse.query import list_expected
from magician.dimse.receiver import Receiver
from magician.dimse.retrieve_outcome import (
    require_all_moved,
    require_complete,
    require_known_destination,
)
from magician.dimse.retrieve_request import fetch_missing, move_missing
from magician.files import open_folder
from magician.node import Node
from magician.privacy import refuse_unseen_move


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
        If the PACS refuses; and the errors of `magician.associate`.
    """
    folder = open_folder(folder)
    expected = list_expected(node, study_instance_uid, series_instance_uid)
    arrivals = Arrivals(expected, study_instance_uid, folder)
    if arrivals.missing:
        outcome = fetch_missing(node, arrivals, series_instance_uid, progress=progress)
        require_complete(outcome, arrivals)
    return Retrieval(len(expected), len(arrivals.paths), tuple(arrivals.paths.values()))


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
        As in `get_study` and `magician.store`; and the errors of `magician.associate`.
    """
    if isinstance(destination, Receiver):
        return _move_to_receiver(
            node, study_instance_uid, destination, series_instance_uid, progress=progress
        )
    refuse_unseen_move(node, destination, allow_identified=allow_identified)
    return _move_to_node(node, study_instance_uid, destination, series_instance_uid)


def _move_to_receiver(
    node: Node,
    study_instance_uid: str,
    receiver: Receiver,
    series_instance_uid: str,
    *,
    progress: bool,
) -> Retrieval:
    """Have a study sent to our own receiver, and compare what arrived there."""
    target = receiver.node
    expected = list_expected(node, study_instance_uid, series_instance_uid)
    arrivals = Arrivals(expected, study_instance_uid, receiver.folder)
    if arrivals.missing:
        outcome = move_missing(
            node,
            arrivals,
            target,
            series_instance_uid,
            watching=receiver.watched_by(arrivals),
            progress=progress,
        )
        if not arrivals.count and not arrivals.local_failure:
            require_known_destination(outcome, node, target)
        require_complete(outcome, arrivals)
    return Retrieval(len(expected), len(arrivals.paths), tuple(arrivals.paths.values()))


def _move_to_node(
    node: Node, study_instance_uid: str, target: Node, series_instance_uid: str
) -> Retrieval:
    """Have a study sent to another node, and compare the counts that the PACS tells."""
    expected = list_expected(node, study_instance_uid, series_instance_uid)
    nothing_here = Arrivals(expected, study_instance_uid)
    outcome = move_missing(node, nothing_here, target, series_instance_uid, progress=False)
    require_known_destination(outcome, node, target)
    require_all_moved(outcome, len(expected))
    return Retrieval(len(expected), outcome.completed)
