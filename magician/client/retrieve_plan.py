"""The plan of a retrieve: in which contexts objects may come, which identifiers to send first, and
which after that (PS3.4 C.4.3.1.3).

A PACS may stop at a limit of its own, take no lists of UIDs, or hold more than it lists.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pynetdicom.presentation import PresentationContext

from magician.dimse.arrivals import Arrivals
from magician.dimse.contexts import contexts_to_receive
from magician.dimse.query import UIDS_AT_ONCE, build_image_retrieves, build_retrieve
from magician.dimse.retrieve_outcome import NOT_A_FAILURE, Outcome
from magician.dimse.status import DESTINATION_UNKNOWN, LIMITS_OF_A_RETRIEVE
from magician.errors import MagicianError

Plan = tuple[str, list[Dataset]]  # a level, and identifiers of this level
# After these, or if the destination is unknown, another request fares no better
NO_OTHER_WAY = (*NOT_A_FAILURE, DESTINATION_UNKNOWN)
NOTHING: Plan = ("", [])


def storage_contexts(arrivals: Arrivals) -> list[PresentationContext]:
    """The contexts in which what is missing can be sent (PS3.8 9.3.2.2).

    Where the PACS does not tell the class of each object, its study and the modalities suggest some
    classes; if it tells none for its study, all are offered.
    """
    expected = arrivals.expected
    listed = {expected.instances[uid].sop_class_uid for uid in arrivals.listed_missing}
    is_told = not (
        "" in listed or _counts_more(arrivals) or expected.unlisted or arrivals.named_missing
    )
    try:
        if is_told and expected.series_instance_uid:
            return contexts_to_receive(listed)
        if is_told:
            return contexts_to_receive(listed | expected.sop_classes)
        known = (listed - {""}) | expected.sop_classes
        others = not expected.sop_classes or bool(arrivals.named_missing)
        return contexts_to_receive(known, expected.modalities, others=others)
    except ValueError as error:
        raise MagicianError(f"The study holds {error} Get it by series.") from error


def first_requests(arrivals: Arrivals) -> Plan:
    """Build the identifiers to begin with, and tell their level.

    They ask for the whole study or series; if some instances are here, for the missing ones by
    their UIDs; and if the PACS holds more than it lists, for each series that is short.
    """
    expected = arrivals.expected
    by_uid = arrivals.takes_lists and not arrivals.named_missing and not _counts_more(arrivals)
    if arrivals.paths and arrivals.missing and by_uid:
        return _image_requests(arrivals)
    if arrivals.paths or expected.series_instance_uid:
        return _series_requests(arrivals)
    return _study_requests(arrivals)


def next_requests(arrivals: Arrivals, outcome: Outcome) -> Plan:
    """Build the identifiers to go on with, if it makes sense; `outcome` is that of the last ones.

    A PACS that stopped at a limit of its own, fails to send a study, or counts more than it lists,
    is asked for each series. If the limit lies there, it is asked for the missing instances by
    their UIDs, for no more at once than it has just sent. A PACS that sends nothing for a list of
    UIDs is asked for the series that hold them, and one that sends nothing for a series is asked
    for the study.
    """
    is_ended = outcome.error or arrivals.local_failure or arrivals.refusals
    if is_ended or not arrivals.is_short:
        return NOTHING
    level, at_limit = outcome.level, outcome.status in LIMITS_OF_A_RETRIEVE
    failed = not outcome.brought and outcome.status not in NO_OTHER_WAY
    if level == "STUDY" and (at_limit or failed or _counts_more(arrivals)):
        return _series_requests(arrivals)
    if level in ("SERIES", "IMAGE") and at_limit and arrivals.listed_missing:
        return _image_requests(arrivals, outcome.brought or UIDS_AT_ONCE)
    if level == "IMAGE" and not outcome.brought:
        return _series_requests(arrivals)
    if level == "SERIES" and not outcome.brought and not arrivals.expected.series_instance_uid:
        return _study_requests(arrivals)
    return NOTHING


def number_again(arrivals: Arrivals, level: str, identifiers: list[Dataset]) -> int:
    """Count the instances that are here already and that may come again for these identifiers: a
    PACS may take a list of UIDs for the whole series.
    """
    if level == "STUDY":
        return len(arrivals.paths)
    series_uids = {str(identifier.SeriesInstanceUID) for identifier in identifiers}
    return sum(map(arrivals.arrived_of, series_uids))


def _counts_more(arrivals: Arrivals) -> bool:
    """Tell whether the PACS counts more instances than are here or missing by name."""
    return arrivals.expected.number > len(arrivals.paths) + len(arrivals.missing)


def _study_requests(arrivals: Arrivals) -> Plan:
    study_uid = arrivals.expected.study_instance_uid
    return "STUDY", [build_retrieve("STUDY", StudyInstanceUID=study_uid)]


def _series_requests(arrivals: Arrivals) -> Plan:
    """Ask for each series of which not all is here, or for the study if none is short by itself."""
    expected = arrivals.expected
    wanted = expected.series_instance_uid
    short = [
        uid for uid in expected.series_uids if arrivals.arrived_of(uid) < expected.number_in(uid)
    ]
    keys = {"StudyInstanceUID": expected.study_instance_uid}
    requests = [
        build_retrieve("SERIES", **keys, SeriesInstanceUID=uid)
        for uid in ([wanted] if wanted else short)
    ]
    return ("SERIES", requests) if requests else _study_requests(arrivals)


def _image_requests(arrivals: Arrivals, at_once: int = UIDS_AT_ONCE) -> Plan:
    """Ask for the missing instances by their UIDs, series by series."""
    expected = arrivals.expected
    series_of = {
        uid: expected.instances[uid].series_instance_uid for uid in arrivals.listed_missing
    }
    return "IMAGE", build_image_retrieves(expected.study_instance_uid, series_of, at_once)
