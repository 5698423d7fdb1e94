"""Ask a PACS what it holds (`find_*`) and have it sent (`get_study`, `move_study`): Query/Retrieve, PS3.4 Annex C.

All requests use the Study Root information model (PS3.4 C.6.2), the one that practically every PACS offers.
A retrieve is complete or it raises: what should come is asked at image level first, and what came is compared.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from magician._files import instance_path
from magician._query import (
    FIND,
    INSTANCE_ANSWERS,
    SERIES_ANSWERS,
    find,
    find_instances,
    find_series,
    find_studies,
    in_words,
    query,
    require_uid,
)
from magician.association import MAX_CONTEXTS, Node, associate, is_loopback, require_service, status_of
from magician.errors import (
    DimseFailure,
    IncompleteRetrieve,
    MagicianError,
    NotDeidentified,
    StudyNotFound,
    UnknownMoveDestination,
)
from magician.storage import NOT_MATCHING, NOT_UNDERSTOOD, SUCCESS, Receiver, read_header, receive

__all__ = ["Retrieval", "find_instances", "find_series", "find_studies", "get_study", "move_study"]

logger = logging.getLogger(__name__)

GET = StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove

# A PACS that does not tell the SOP classes of its images is offered these
USUAL_CLASSES = [CTImageStorage, SegmentationStorage, Comprehensive3DSRStorage, SecondaryCaptureImageStorage]
# Objects are taken as they are stored: each encoding in a context of its own, so that the PACS need not convert
USUAL_SYNTAXES = [
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless,
    JPEGLossless, JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit,
]  # fmt: skip


@dataclass(frozen=True)
class Retrieval:
    """A retrieve that is complete.

    Attributes
    ----------
    expected : int
        Instances that the PACS holds, by C-FIND at image level.
    received : int
        Instances that arrived.
    paths : tuple of Path
        Their files, in order of arrival; empty when they went to another node.
    """

    expected: int
    received: int
    paths: tuple[Path, ...] = ()


def get_study(node: Node, study_instance_uid: str, folder, *, series_instance_uid: str = "") -> Retrieval:
    """Retrieve a study over the connection that we open ourselves (C-GET, PS3.4 C.4.3).

    Nothing has to reach us from outside, so this works behind a firewall and on Colab.

    Parameters
    ----------
    node : Node
    study_instance_uid : str
    folder : path
        Where files go, as ``<SOPInstanceUID>.dcm``; made if it does not exist.
    series_instance_uid : str
        Only this series.

    Raises
    ------
    IncompleteRetrieve
        If fewer instances arrived than the PACS holds. What did arrive stays in `folder`.
    StudyNotFound
        If the PACS holds no such instance.
    DimseFailure, ServiceNotAccepted
        If the PACS refuses; and the errors of `magician.association.associate`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    expected = _expected_instances(node, study_instance_uid, series_instance_uid)
    arrived: dict[str, Path] = {}
    storage = _storage_contexts({sop_class for sop_class in expected.values() if sop_class})
    with associate(
        node,
        [build_context(GET), *storage],
        storage_roles=sorted({context.abstract_syntax for context in storage}),
        handlers=[(evt.EVT_C_STORE, _keep, [folder, study_instance_uid, arrived])],
    ) as association:
        require_service(association, node, GET)
        responses = association.send_c_get(_retrieve_identifier(study_instance_uid, series_instance_uid), GET)
        outcome = _last_response(responses, node, "C-GET")
    return _complete_or_raise(outcome, expected, arrived, f"{node} by C-GET")


def move_study(
    node: Node,
    study_instance_uid: str,
    destination: Receiver | Node,
    *,
    series_instance_uid: str = "",
    allow_identified: bool = False,
) -> Retrieval:
    """Tell a PACS to send a study to a third party, which may be ourselves (C-MOVE, PS3.4 C.4.2).

    The PACS opens a new association to the destination. It is told only the AE title: host and port of that title
    must have been entered at the PACS beforehand.

    Parameters
    ----------
    node : Node
        The PACS that holds the study.
    study_instance_uid : str
    destination : Receiver or Node
        Our own receiver (what arrived is compared) or another node (its counts are).
    series_instance_uid : str
        Only this series.
    allow_identified : bool
        Must be said for a `Node`, unless it and the PACS are both on this computer: a PACS is told only the AE title,
        looks up the address itself, and we can't see what it sends there.

    Raises
    ------
    UnknownMoveDestination
        If the PACS does not know the destination's AE title.
    IncompleteRetrieve, StudyNotFound, DimseFailure, NotDeidentified
        As in `get_study` and `magician.storage.store`; and the errors of `magician.association.associate`.
    """
    target = destination.node if isinstance(destination, Receiver) else destination
    on_this_computer = is_loopback(target.host) and is_loopback(node.host)
    if isinstance(destination, Node) and not on_this_computer and not allow_identified:
        raise NotDeidentified(
            f"A C-MOVE from {node} to {target} sends objects that we can't see, perhaps to another computer; nothing "
            f"was sent. If you may send patients' data there, or know that they are de-identified, say "
            f"allow_identified=True."
        )
    expected = _expected_instances(node, study_instance_uid, series_instance_uid)
    with associate(node, [MOVE]) as association:
        identifier = _retrieve_identifier(study_instance_uid, series_instance_uid)
        responses = association.send_c_move(identifier, target.ae_title, MOVE)
        outcome = _last_response(responses, node, "C-MOVE")
    if outcome.completed == 0 and outcome.status in (0xA801, 0xC000):
        _raise_unknown_destination(outcome, node, target)
    where = f"{node} by C-MOVE to {target}"
    if isinstance(destination, Receiver):
        arrived = {path.stem: path for path in destination.received}
        return _complete_or_raise(outcome, expected, arrived, where)
    if outcome.completed < len(expected):
        _raise_incomplete(outcome, outcome.completed, len(expected), outcome.failed_uids, where)
    _log_if_not_success(outcome)
    return Retrieval(len(expected), outcome.completed)


def _retrieve_identifier(study_instance_uid: str, series_instance_uid: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES" if series_instance_uid else "STUDY"
    identifier.StudyInstanceUID = study_instance_uid
    if series_instance_uid:
        identifier.SeriesInstanceUID = series_instance_uid
    return identifier


def _expected_instances(node: Node, study_instance_uid: str, series_instance_uid: str) -> dict[str, str]:
    """Ask, before a retrieve, what should come: SOP Instance UIDs with their SOP classes ("" if not told)."""
    expected: dict[str, str] = {}
    with associate(node, [FIND]) as association:
        study = {"StudyInstanceUID": require_uid(study_instance_uid)}
        series_uids = [series_instance_uid]
        if not series_instance_uid:
            found = find(association, node, query("SERIES", study, SERIES_ANSWERS))
            series_uids = [series.SeriesInstanceUID for series in found]
        for uid in series_uids:
            keys = {**study, "SeriesInstanceUID": uid}
            for image in find(association, node, query("IMAGE", keys, INSTANCE_ANSWERS)):
                expected[image.SOPInstanceUID] = image.get("SOPClassUID", "")
    if not expected:
        series = f", series {series_instance_uid}" if series_instance_uid else ""
        raise StudyNotFound(f"{node} holds no images of study {study_instance_uid}{series}.")
    return expected


def _storage_contexts(sop_classes: set[str]) -> list[PresentationContext]:
    """A context for each class and encoding, as many encodings as fit into one association."""
    classes = sorted(sop_classes) or USUAL_CLASSES
    room = (MAX_CONTEXTS - 1) // len(classes)
    if room == 0:
        raise MagicianError(f"The study holds {len(classes)} SOP classes, too many for one C-GET: get it by series.")
    return [build_context(UID(uid), syntax) for uid in classes for syntax in USUAL_SYNTAXES[:room]]


def _keep(event: evt.Event, folder: Path, study_instance_uid: str, arrived: dict[str, Path]) -> int:
    """Answer one of the C-STORE requests of a C-GET."""
    header = read_header(event)
    if header is None:
        return NOT_UNDERSTOOD
    if header.get("StudyInstanceUID") != study_instance_uid:
        logger.warning("Refused an object of another study than the one that we asked for")
        return NOT_MATCHING
    status = receive(event, folder, header)
    if status == SUCCESS:
        arrived[header.SOPInstanceUID] = instance_path(folder, header.SOPInstanceUID)
    return status


@dataclass(frozen=True)
class _Outcome:
    """How a C-GET or C-MOVE ended: its last response, or the error that stood in its place."""

    service: str
    status: int | None
    words: str
    completed: int = 0
    failed_uids: tuple[str, ...] = field(default=())
    error: MagicianError | None = None


def _last_response(responses: Iterator, node: Node, service: str) -> _Outcome:
    """Follow the pending responses of a retrieve to the last one (PS3.4 C.4.2.1.7)."""
    started, completed = time.monotonic(), 0
    for response, identifier in responses:
        try:
            status = status_of(response, node, service, started)
        except MagicianError as error:
            return _Outcome(service, None, str(error), completed, error=error)
        started = time.monotonic()
        completed = response.get("NumberOfCompletedSuboperations", 0) + response.get("NumberOfWarningSuboperations", 0)
        if status != 0xFF00:
            failed = identifier.get("FailedSOPInstanceUIDList") if identifier else None
            failed = [failed] if isinstance(failed, str) else failed or []
            return _Outcome(service, status, in_words(response, service), completed, tuple(failed))
    raise AssertionError("pynetdicom ended a retrieve without a last response")


def _complete_or_raise(outcome: _Outcome, expected: dict, arrived: dict[str, Path], where: str) -> Retrieval:
    missing = [uid for uid in expected if uid not in arrived]
    if missing:
        _raise_incomplete(outcome, len(expected) - len(missing), len(expected), missing, where)
    _log_if_not_success(outcome)
    paths = tuple(path for uid, path in arrived.items() if uid in expected)
    return Retrieval(len(expected), len(paths), paths)


def _log_if_not_success(outcome: _Outcome) -> None:
    """All images came, yet the last status may say more: for instance that the destination coerced some values."""
    if outcome.status != SUCCESS:
        logger.warning("All images came, and the %s ended with: %s", outcome.service, outcome.words)


def _raise_unknown_destination(outcome: _Outcome, node: Node, target: Node) -> NoReturn:
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


def _raise_incomplete(outcome: _Outcome, received: int, expected: int, missing, where: str) -> NoReturn:
    """Raise for a retrieve that did not bring everything: the specific error if nothing came at all."""
    if received == 0 and outcome.error is not None:
        raise outcome.error
    if received == 0 and outcome.status not in (None, SUCCESS, 0xB000, 0xFE00):
        raise DimseFailure(f"Nothing came from {where}: {outcome.words}. Its log says why.", outcome.status)
    listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    raise IncompleteRetrieve(
        f"Only {received} of {expected} images came from {where} ({outcome.words}). Missing: {listed or 'not told'}. "
        f"Retrieve again; if it happens again, the log of the PACS says why.",
        received,
        expected,
        missing,
    )
