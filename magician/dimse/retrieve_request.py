"""The request of a retrieve: what is asked for, sent by C-GET or C-MOVE (PS3.4 C.4.3 and C.4.2).

`fetch_missing` and `move_missing` open the association, send the requests and follow the responses
to the last one. They raise nothing for instances that did not come: the `Outcome` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import groupby

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
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as MOVE

from magician.dimse.arrivals import Arrivals
from magician.dimse.association import associate, lost_means_aborted, require_service
from magician.dimse.contexts import MAX_CONTEXTS
from magician.dimse.retrieve_outcome import Outcome
from magician.dimse.status import PENDING, SUCCESS, describe_response, require_status
from magician.errors import AssociationAborted, MagicianError
from magician.node import Node

# A PACS that does not tell the SOP classes of its images is offered these
USUAL_CLASSES = [
    CTImageStorage,
    SegmentationStorage,
    Comprehensive3DSRStorage,
    SecondaryCaptureImageStorage,
]
# Objects are taken as they are stored: each encoding in a context of its own, so that the PACS need
# not convert. The ones that CT uses come first, for a study with so many classes that not all
# encodings find room.
USUAL_SYNTAXES = [
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1, JPEG2000Lossless,
    JPEGLSLossless, RLELossless, JPEGLossless, JPEG2000, JPEGLSNearLossless, JPEGBaseline8Bit,
    JPEGExtended12Bit,
]  # fmt: skip
# the UIDs of one request: a value of VR UI holds less than 64 KiB in explicit VR (PS3.5 7.1.2)
UIDS_AT_ONCE = 500

Responses = Iterator[tuple[Dataset, Dataset | None]]


def fetch_missing(
    node: Node, arrivals: Arrivals, series_instance_uid: str = "", *, progress: bool = True
) -> Outcome:
    """Fetch the missing instances over an association that we open (C-GET, PS3.4 C.4.3).

    Parameters
    ----------
    node : Node
        The PACS that holds them.
    arrivals : Arrivals
        It keeps what comes.
    series_instance_uid : str
        The series that the expected instances belong to; empty for a whole study.
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
        outcome = _send_requests(
            build_requests(arrivals, series_instance_uid),
            lambda request: association.send_c_get(request, GET),
            node,
            "C-GET",
            arrivals,
        )
        return replace(outcome, refused_classes=arrivals.refused_classes(association))


def move_missing(
    node: Node,
    arrivals: Arrivals,
    target: Node,
    series_instance_uid: str = "",
    *,
    watching: AbstractContextManager = nullcontext(),  # noqa: B008
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
    series_instance_uid : str
        The series that the expected instances belong to; empty for a whole study.
    watching : context manager
        It is entered before the first request is sent, and left before the association ends:
        `Receiver.watched_by` where the destination is ours.
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
        watching,
    ):
        outcome = _send_requests(
            build_requests(arrivals, series_instance_uid),
            lambda request: association.send_c_move(request, target.ae_title, MOVE),
            node,
            "C-MOVE",
            arrivals,
        )
    return replace(outcome, route=f"{outcome.route} to {target}")


def _send_requests(
    requests: list[Dataset],
    send: Callable[[Dataset], Responses],
    node: Node,
    service: str,
    arrivals: Arrivals,
) -> Outcome:
    """Send the requests one by one; return the first outcome that is no success, or the last."""
    outcome = None
    for request in requests:
        try:
            with lost_means_aborted(arrivals.association, node):
                latest = _follow_to_the_end(send(request), node, service, arrivals)
        except AssociationAborted as error:
            latest = _broken_off(node, service, error)
        if outcome is None or outcome.status == SUCCESS:
            outcome = latest
        if latest.error:
            break
    return outcome


def _follow_to_the_end(
    responses: Responses, node: Node, service: str, arrivals: Arrivals
) -> Outcome:
    """Follow the pending responses of one request to the last one (PS3.4 C.4.2.1.7)."""
    completed = 0
    for response, identifier in responses:
        try:
            status = require_status(response, arrivals.association, node, service)
        except MagicianError as error:
            return replace(_broken_off(node, service, error), completed=completed)
        arrivals.note_response()
        completed = response.get("NumberOfCompletedSuboperations", 0) + response.get(
            "NumberOfWarningSuboperations", 0
        )
        if status != PENDING:
            return Outcome(
                f"{node} by {service}",
                service,
                status,
                describe_response(response, service),
                completed,
                response.get("NumberOfFailedSuboperations", 0),
                _failed_uids(identifier),
            )
    raise AssertionError("pynetdicom ended a retrieve without a last response")


def _broken_off(node: Node, service: str, error: MagicianError) -> Outcome:
    """Make the outcome of a request to which no last response came."""
    return Outcome(f"{node} by {service}", service, None, str(error), error=error)


def _failed_uids(identifier: Dataset | None) -> tuple[str, ...]:
    """Read which instances a last response lists as failed (0008,0058), if that can be read."""
    try:
        uids = identifier.get("FailedSOPInstanceUIDList") if identifier else None
    except Exception:  # a hostile answer can fail in any of pydicom's ways; the list is optional
        return ()
    return (str(uids),) if isinstance(uids, str) else tuple(str(uid) for uid in uids or [] if uid)


def build_requests(arrivals: Arrivals, series_instance_uid: str = "") -> list[Dataset]:
    """Build the identifiers to send (PS3.4 C.4.3.1.3): of the whole study or series, or of the
    missing instances only, if some are here already.
    """
    study = {"StudyInstanceUID": arrivals.study_instance_uid}
    if not arrivals.paths and series_instance_uid:
        return [_build_request("SERIES", **study, SeriesInstanceUID=series_instance_uid)]
    if not arrivals.paths:
        return [_build_request("STUDY", **study)]

    def series_of(uid: str) -> str:
        return arrivals.expected[uid].series_instance_uid

    requests = []
    for series_uid, uids in groupby(sorted(arrivals.missing, key=series_of), key=series_of):
        missing = list(uids)
        for start in range(0, len(missing), UIDS_AT_ONCE):
            keys = {**study, "SeriesInstanceUID": series_uid}
            keys["SOPInstanceUID"] = missing[start : start + UIDS_AT_ONCE]
            requests.append(_build_request("IMAGE", **keys))
    return requests


def _build_request(level: str, **keys) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def storage_contexts(arrivals: Arrivals) -> list[PresentationContext]:
    """The contexts in which the missing instances can be sent: one for each class and encoding
    (PS3.8 9.3.2.2), with as many encodings as fit into one association.
    """
    classes = {arrivals.expected[uid].sop_class_uid for uid in arrivals.missing} - {""}
    offered = sorted(classes) or USUAL_CLASSES
    syntaxes_each = (MAX_CONTEXTS - 1) // len(offered)
    if syntaxes_each == 0:
        raise MagicianError(
            f"The study holds {len(offered)} SOP classes, too many for one C-GET: get it by series."
        )
    syntaxes = USUAL_SYNTAXES[:syntaxes_each]
    return [build_context(UID(uid), syntax) for uid in offered for syntax in syntaxes]
