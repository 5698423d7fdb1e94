"""What C-GET and C-MOVE share: what should come, how it is asked for, how it ended; a part of `query_retrieve`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
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
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from magician._arrivals import Arrivals, Instance
from magician._query import FIND, INSTANCE_ANSWERS, SERIES_ANSWERS, find, in_words, query, require_uid
from magician.association import MAX_CONTEXTS, associate, lost_means_aborted, status_of
from magician.errors import (
    AssociationAborted,
    DimseFailure,
    IncompleteRetrieve,
    MagicianError,
    StudyNotFound,
    UnknownMoveDestination,
)
from magician.files import is_uid
from magician.node import Node, is_loopback

# A PACS that does not tell the SOP classes of its images is offered these
USUAL_CLASSES = [CTImageStorage, SegmentationStorage, Comprehensive3DSRStorage, SecondaryCaptureImageStorage]
# Objects are taken as they are stored: each encoding in a context of its own, so that the PACS need not convert.
# The ones that CT uses come first, for a study with so many classes that not all encodings find room.
USUAL_SYNTAXES = [
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless,
    JPEGLossless, JPEG2000, JPEGLSNearLossless, JPEGBaseline8Bit, JPEGExtended12Bit,
]  # fmt: skip
UIDS_AT_ONCE = 500  # the UIDs of one request: a value of VR UI holds less than 64 KiB in explicit VR (PS3.5 7.1.2)


def expected_instances(node: Node, study_instance_uid: str, series_instance_uid: str) -> dict[str, Instance]:
    """Ask, before a retrieve, what should come: instances by SOP Instance UID."""
    expected: dict[str, Instance] = {}
    with associate(node, [FIND]) as association:
        study = {"StudyInstanceUID": require_uid(study_instance_uid)}
        series_uids = [series_instance_uid]
        if not series_instance_uid:
            found = find(association, node, query("SERIES", study, SERIES_ANSWERS))
            series_uids = [str(series.get("SeriesInstanceUID", "")) for series in found]
        for uid in series_uids:
            keys = {**study, "SeriesInstanceUID": uid}
            for image in find(association, node, query("IMAGE", keys, INSTANCE_ANSWERS)):
                sop_class = str(image.get("SOPClassUID", ""))
                expected[str(image.get("SOPInstanceUID", ""))] = Instance(uid, sop_class if is_uid(sop_class) else "")
    if not all(is_uid(uid) for uid in expected):
        raise MagicianError(f"{node} lists an image of study {study_instance_uid} whose SOP Instance UID is none.")
    if not expected:
        series = f", series {series_instance_uid}" if series_instance_uid else ""
        raise StudyNotFound(f"{node} holds no images of study {study_instance_uid}{series}.")
    return expected


def identifiers(arrivals: Arrivals, series_instance_uid: str) -> list[Dataset]:
    """What to ask for (PS3.4 C.4.3.1.3): the study or series at once, or only the instances that are not here yet."""
    keys = {"StudyInstanceUID": arrivals.study_instance_uid}
    if series_instance_uid:
        keys["SeriesInstanceUID"] = series_instance_uid
    if not arrivals.paths:
        return [_identifier("SERIES" if series_instance_uid else "STUDY", **keys)]
    requests = []
    by_series = sorted(arrivals.missing, key=lambda uid: arrivals.expected[uid].series_instance_uid)
    for series, uids in groupby(by_series, key=lambda uid: arrivals.expected[uid].series_instance_uid):
        wanted = list(uids)
        for start in range(0, len(wanted), UIDS_AT_ONCE):
            part = wanted[start : start + UIDS_AT_ONCE]
            requests.append(_identifier("IMAGE", **(keys | {"SeriesInstanceUID": series, "SOPInstanceUID": part})))
    return requests


def _identifier(level: str, **keys) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def storage_contexts(arrivals: Arrivals) -> list[PresentationContext]:
    """A context for each class and encoding (PS3.8 9.3.2.2), as many encodings as fit into one association."""
    classes = sorted({arrivals.expected[uid].sop_class_uid for uid in arrivals.missing} - {""}) or USUAL_CLASSES
    room = (MAX_CONTEXTS - 1) // len(classes)
    if room == 0:
        raise MagicianError(f"The study holds {len(classes)} SOP classes, too many for one C-GET: get it by series.")
    return [build_context(UID(uid), syntax) for uid in classes for syntax in USUAL_SYNTAXES[:room]]


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


def follow(requests: Iterable[Dataset], send: Callable, node: Node, service: str, arrivals: Arrivals) -> Outcome:
    """Send the requests for the parts of one study; of their outcomes the first failure, or the last one."""
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
            status = status_of(response, node, service, arrivals.heard)
        except MagicianError as error:
            return Outcome(service, None, str(error), completed, error=error)
        arrivals.heard = time.monotonic()
        completed = response.get("NumberOfCompletedSuboperations", 0) + response.get("NumberOfWarningSuboperations", 0)
        if status != 0xFF00:
            uids = _failed_uids(identifier)
            failed = response.get("NumberOfFailedSuboperations", 0)
            return Outcome(service, status, in_words(response, service), completed, failed, uids)
    raise AssertionError("pynetdicom ended a retrieve without a last response")


def _failed_uids(identifier: Dataset | None) -> tuple[str, ...]:
    """The instances that a last response lists as failed (0008,0058), if it lists them and they can be read."""
    try:
        uids = identifier.get("FailedSOPInstanceUIDList") if identifier else None
    except Exception:  # a hostile answer can fail in any of pydicom's ways; the list is optional
        return ()
    return (str(uids),) if isinstance(uids, str) else tuple(str(uid) for uid in uids or [] if uid)


def raise_if_incomplete(outcome: Outcome, arrivals: Arrivals, where: str, refused_classes=()) -> None:
    """Compare what came with what should have come.

    A warning after a C-GET or C-MOVE means incomplete (PS3.4 Tables C.4-2 and C.4-3). So an object that failed and that
    C-FIND did not list counts as missing too; one that was sent a second time does not.
    """
    known = arrivals.expected.keys() | arrivals.foreign
    unlisted = [uid for uid in outcome.failed_uids if uid not in known]
    missing = arrivals.missing + unlisted
    untold = outcome.failed if not outcome.failed_uids and not missing else 0
    if arrivals.failure or missing or untold:
        expected = len(arrivals.expected) + len(unlisted) + untold
        raise_incomplete(outcome, len(arrivals.paths), expected, missing, where, refused_classes, arrivals.failure)


def raise_incomplete(
    outcome: Outcome, received: int, expected: int, missing, where: str, refused_classes=(), failure=None
) -> NoReturn:
    """Raise for a retrieve that did not bring everything: the specific error if nothing came at all."""
    if failure is None and received == 0 and outcome.error is not None:
        raise outcome.error
    if failure is None and received == 0 and outcome.status not in (None, 0x0000, 0xB000, 0xFE00):
        unagreed = f" It did not agree to send {', '.join(refused_classes)}." if refused_classes else ""
        raise DimseFailure(f"Nothing came from {where}: {outcome.words}.{unagreed} Its log says why.", outcome.status)
    why, advice = outcome.words, "if it happens again, the log of the PACS says why"
    if refused_classes:
        why += f"; the PACS did not agree to send {', '.join(refused_classes)}"
    if failure is not None:
        why, advice = f"this computer stopped it: it refused {failure}", "what is here already is not sent again"
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
