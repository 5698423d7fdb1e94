"""The verbs of a retrieve: get a study, or have it sent elsewhere (Query/Retrieve, PS3.4 Annex C).

A retrieve is complete or it raises. The PACS is first asked what it holds, by its list of images
and by its counts, and what came is compared with the larger number. Called again with the same
folder, a retrieve fetches only what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from magician.client.expected import ask_expected
from magician.client.retrieve_request import fetch_missing, move_missing
from magician.dimse.arrivals import Arrivals
from magician.dimse.query import Expected
from magician.dimse.receiver import Receiver
from magician.dimse.retrieve_errors import (
    MOST_NAMED,
    require_all_moved,
    require_complete,
    require_known_destination,
)
from magician.errors import IncompleteRetrieve, MagicianError, StudyNotFound
from magician.files import StorageQuota, open_folder
from magician.node import Node
from magician.privacy import refuse_unseen_move

logger = logging.getLogger(__name__)

MOST_INSTANCES, MOST_BYTES = 100_000, 64 * 1024**3  # that one folder may hold
LATE_S = 5  # how long images of a C-MOVE may come after its end

# What each retrieve that was incomplete has named, in this process
_named: dict[tuple, frozenset[str]] = {}


@dataclass(frozen=True)
class Retrieval:
    """A retrieve that is complete.

    Attributes
    ----------
    expected : int
        Instances that the PACS holds: those that it lists or those that it counts, if these are
        more; and those that came beyond that.
    received : int or None
        Instances that are here now, those of an earlier call included. For another node those that
        the PACS says it has sent there; None if it does not say, and the node does not either.
    paths : tuple of Path
        Their files, in order of arrival; empty when they went to another node.
    notes : tuple of str
        What was unusual, and should be known before the images are used: a sentence each.
    """

    expected: int
    received: int | None
    paths: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def get_study(
    node: Node,
    study_instance_uid: str,
    folder,
    *,
    series_instance_uid: str = "",
    expected: str = "counts",
    most_instances: int = MOST_INSTANCES,
    most_bytes: int = MOST_BYTES,
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
    expected : str
        What should come. ``"counts"``: as many as the PACS lists or counts, whichever is more.
        ``"list"``: what it lists, for a PACS whose counts are wrong; the outcome says so.
    most_instances, most_bytes : int
        How much the folder may hold in the end. A PACS that sends more is stopped.
    progress : bool
        Show a progress bar when it takes longer than two seconds.

    Raises
    ------
    IncompleteRetrieve
        If fewer instances arrived than the PACS holds. What did arrive stays in `folder`, and
        calling again fetches the rest; the error's ``.paths`` has the files.
    StudyNotFound
        If the PACS holds no such instance.
    DimseFailure, ServiceNotAccepted
        If the PACS refuses; and the errors of `magician.associate`.
    """
    folder = open_folder(folder)
    wanted = ask_expected(node, study_instance_uid, series_instance_uid, expected)
    quota = StorageQuota(folder, instances=most_instances, total_bytes=most_bytes)
    arrivals = Arrivals(wanted, folder, quota, named=_named_before(node, wanted, folder))
    if _must_ask(arrivals) or _was_in_doubt(node, wanted, folder):
        outcome = fetch_missing(node, arrivals, progress=progress)
        with _remembering(node, arrivals):
            require_complete(outcome, arrivals)
    return _complete(arrivals, node)


def move_study(
    node: Node,
    study_instance_uid: str,
    destination: Receiver | Node,
    *,
    series_instance_uid: str = "",
    expected: str = "counts",
    late_s: float = LATE_S,
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
    series_instance_uid, expected : str
        As for `get_study`.
    late_s : float
        How many seconds to wait, after the last response of the PACS, while nothing comes: images
        may still be on their way to the receiver.
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
    if not isinstance(destination, Receiver):
        refuse_unseen_move(node, destination, allow_identified=allow_identified)
    wanted = ask_expected(node, study_instance_uid, series_instance_uid, expected)
    if isinstance(destination, Receiver):
        return _move_to_receiver(node, wanted, destination, late_s, progress=progress)
    return _move_to_node(node, wanted, destination)


def _move_to_receiver(
    node: Node, wanted: Expected, receiver: Receiver, late_s: float, *, progress: bool
) -> Retrieval:
    """Have a study sent to our own receiver, and compare what arrived there."""
    target = receiver.node
    named = _named_before(node, wanted, receiver.folder)
    arrivals = Arrivals(wanted, receiver.folder, named=named)
    if _must_ask(arrivals) or _was_in_doubt(node, wanted, receiver.folder):
        outcome = move_missing(
            node, arrivals, target, receiver=receiver, late_s=late_s, progress=progress
        )
        nothing_came = not (arrivals.count or arrivals.refusals or arrivals.foreign_uids)
        if nothing_came and not arrivals.local_failure:
            require_known_destination(outcome, node, target)
        with _remembering(node, arrivals):
            require_complete(outcome, arrivals)
    return _complete(arrivals, node)


def _move_to_node(node: Node, wanted: Expected, target: Node) -> Retrieval:
    """Have a study sent to another node, and compare the counts that the PACS tells."""
    outcome = move_missing(node, Arrivals(wanted), target, progress=False)
    require_known_destination(outcome, node, target)
    require_all_moved(outcome, wanted)
    received, notes = outcome.completed, _notes_on(wanted)
    if received is None:
        received = _held_by(target, wanted)
        if received is not None and received < wanted.number:
            raise IncompleteRetrieve(
                f"{node} says that its C-MOVE to {target} succeeded, and not how many images it "
                f"has sent. {target.ae_title}, asked for them, holds {received} of "
                f"{wanted.number}. Perhaps they are still on their way: ask it again later, with "
                f"find_studies.",
                received,
                wanted.number,
            )
        if received is None:
            notes.append(
                f"{node} says that its C-MOVE to {target} succeeded ({outcome.words}), and not how "
                f"many images it has sent: whether all {wanted.number} came can't be checked from "
                f"here. Ask {target.ae_title} with find_studies, or look there."
            )
    return _note(Retrieval(max(wanted.number, received or 0), received, (), tuple(notes)))


def _held_by(target: Node, wanted: Expected) -> int | None:
    """Ask a destination how many instances it holds of what was moved; None if it can't tell."""
    try:
        held = ask_expected(target, wanted.study_instance_uid, wanted.series_instance_uid)
    except StudyNotFound:
        return 0
    except MagicianError:  # perhaps it only stores, and can't be asked
        return None
    return held.number


def _key(node: Node, wanted: Expected, folder: Path) -> tuple:
    return str(node), wanted.study_instance_uid, wanted.series_instance_uid, folder.resolve()


def _named_before(node: Node, wanted: Expected, folder: Path) -> frozenset[str]:
    """Return the instances that the PACS named as failed, and does not list, when it was last asked
    to bring this into the same folder. Where its list alone counts, there are none.
    """
    return frozenset() if wanted.by_list else _named.get(_key(node, wanted, folder), frozenset())


def _was_in_doubt(node: Node, wanted: Expected, folder: Path) -> bool:
    """Tell whether the last retrieve of this into the same folder was incomplete: only a new one
    can tell that all is here.
    """
    return not wanted.by_list and _key(node, wanted, folder) in _named


@contextmanager
def _remembering(node: Node, arrivals: Arrivals) -> Iterator[None]:
    """Remember which unlisted instances an incomplete retrieve names: nothing but that tells the
    next one that the study has more than the PACS lists.
    """
    key = _key(node, arrivals.expected, arrivals.folder)
    try:
        yield
    except IncompleteRetrieve as error:
        _named[key] = frozenset(arrivals.unlisted_of(error.missing))
        raise
    _named.pop(key, None)


def _must_ask(arrivals: Arrivals) -> bool:
    """Tell whether anything may be missing: if nothing says how many there are, we can't know."""
    return arrivals.is_short or not arrivals.expected.has_number


def _complete(arrivals: Arrivals, node: Node) -> Retrieval:
    """Make the outcome of a retrieve that is complete."""
    wanted, here, notes = arrivals.expected, len(arrivals.paths), _notes_on(arrivals.expected)
    if wanted.unlisted:
        if wanted.by_list and wanted.instances:
            compared = "its list was believed (expected='list')"
        elif wanted.has_number:
            compared = f"what came was compared with its counts ({wanted.number})"
        else:
            compared = (
                "nothing tells how many images there are, so whether all came can't be checked"
            )
        notes.append(f"{node} gives no whole list of the images: {wanted.unlisted}; {compared}.")
    elif arrivals.unlisted_uids:
        notes.append(
            f"{node} sent {len(arrivals.unlisted_uids)} objects of this study that it had not "
            f"listed: {_some(arrivals.unlisted_uids)}. They are kept."
        )
    if wanted.unlisted and arrivals.here_before:
        notes.append(
            f"{len(arrivals.here_before)} of them were in the folder before, and were not sent "
            f"now: whether the PACS still holds them can't be told."
        )
    if arrivals.foreign_uids:
        notes.append(
            f"{len(arrivals.foreign_uids)} objects came of another study or series than the one "
            f"that was asked for: {_some(arrivals.foreign_uids)}. They do not count."
        )
    if arrivals.merged:
        studies = set(arrivals.merged.values())
        notes.append(
            f"{len(arrivals.merged)} objects that {node} lists in this study carry another Study "
            f"Instance UID, {_some(studies)}: perhaps it has merged studies. They are kept as they "
            f"came."
        )
    paths = tuple(arrivals.paths.values())
    return _note(Retrieval(max(wanted.number, here), here, paths, tuple(notes)))


def _notes_on(wanted: Expected) -> list[str]:
    """Say where the PACS contradicts itself."""
    if not wanted.difference or wanted.unlisted:
        return []
    believed = "its list was believed (expected='list')" if wanted.by_list else "the larger counted"
    return [f"The PACS contradicts itself: {wanted.difference}; {believed}."]


def _some(uids: Collection[str]) -> str:
    return ", ".join(sorted(uids)[:MOST_NAMED]) + (", ..." if len(uids) > MOST_NAMED else "")


def _note(retrieval: Retrieval) -> Retrieval:
    """Log the notes of an outcome: who does not look at them sees them once."""
    for note in retrieval.notes:
        logger.warning("%s", note)
    return retrieval
