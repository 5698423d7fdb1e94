"""Ask a PACS what it holds: C-FIND in the Study Root model (PS3.4 C.4.1, C.6.2); a part of `query_retrieve`."""

from __future__ import annotations

import time

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND

from magician.association import associate, status_of
from magician.errors import DimseFailure, MagicianError, StudyNotFound, describe_status
from magician.node import Node

# What a query asks to be told about each match (PS3.4 Tables C.6-5, C.6-3, C.6-4 and C.3-1)
STUDY_ANSWERS = [
    "StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "AccessionNumber", "StudyID", "StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
]  # fmt: skip
SERIES_ANSWERS = [
    "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined",
    "NumberOfSeriesRelatedInstances",
]  # fmt: skip
INSTANCE_ANSWERS = ["SOPInstanceUID", "SOPClassUID", "InstanceNumber"]

MOST_MATCHES = 100_000  # a peer that never ends its answer must not fill our memory


def find_studies(
    node: Node,
    *,
    accession_number: str = "",
    patient_id: str = "",
    patient_name: str = "",
    study_date: str = "",
    modality: str = "",
    study_instance_uid: str = "",
) -> list[Dataset]:
    """Ask which studies match (C-FIND at study level, PS3.4 C.4.1).

    An empty key matches everything. ``*`` and ``?`` are wildcards in names, descriptions and text identifiers such as
    the accession number, ``20250101-`` is a range of dates. A UID has no wildcards: leave it empty (PS3.4 C.2.2.2).

    Returns
    -------
    list of Dataset
        One for each study, with what the PACS tells of it.

    Raises
    ------
    StudyNotFound
        If nothing matches.
    ValueError
        If `study_instance_uid` holds a wildcard.
    DimseFailure
        If the PACS answers with a failure; and the errors of `magician.association.associate`.
    """
    keys = {
        "AccessionNumber": accession_number,
        "PatientID": patient_id,
        "PatientName": patient_name,
        "StudyDate": study_date,
        "ModalitiesInStudy": modality,
        "StudyInstanceUID": study_instance_uid,
    }
    found = _find_alone(node, query("STUDY", keys, STUDY_ANSWERS))
    if not found:
        sent = ", ".join(f"{keyword}={value!r}" for keyword, value in keys.items() if value)
        raise StudyNotFound(
            f"{node} holds no study that matches {sent or 'an empty query'}. Check the spelling; if the study must "
            f"be there, ask its administrator whether {node.local_ae_title!r} may see it."
        )
    return found


def find_series(node: Node, study_instance_uid: str) -> list[Dataset]:
    """Ask which series a study has (C-FIND at series level); an empty list if there are none."""
    keys = {"StudyInstanceUID": require_uid(study_instance_uid)}
    return _find_alone(node, query("SERIES", keys, SERIES_ANSWERS))


def find_instances(node: Node, study_instance_uid: str, series_instance_uid: str) -> list[Dataset]:
    """Ask which instances (images) a series has (C-FIND at image level); an empty list if there are none."""
    keys = {"StudyInstanceUID": require_uid(study_instance_uid), "SeriesInstanceUID": require_uid(series_instance_uid)}
    return _find_alone(node, query("IMAGE", keys, INSTANCE_ANSWERS))


def query(level: str, keys: dict[str, str], answers: list[str]) -> Dataset:
    """Make a C-FIND identifier: the keys to match, and empty elements for what we want to be told."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword in answers:
        setattr(identifier, keyword, "")
    for keyword, value in keys.items():
        if keyword.endswith("UID") and ("*" in value or "?" in value):
            raise ValueError(f"{keyword}={value!r}: a UID has no wildcards (PS3.4 C.2.2.2.4). Leave it empty.")
        setattr(identifier, keyword, value)
    if not "".join(keys.values()).isascii():
        identifier.SpecificCharacterSet = "ISO_IR 192"  # UTF-8 (PS3.3 C.12.1.1.2)
    return identifier


def require_uid(uid: str) -> str:
    """Return `uid`, or raise `ValueError` if it is empty: an empty key would match every study."""
    if not uid:
        raise ValueError("This level needs the UID of the level above it, as a query of that level returns it.")
    return uid


def find(association: Association, node: Node, identifier: Dataset) -> list[Dataset]:
    """Send one C-FIND on an association and collect its matches (PS3.4 C.4.1.1.4 for the statuses)."""
    matches, started = [], time.monotonic()
    for response, match in association.send_c_find(identifier, FIND):
        status = status_of(response, node, "C-FIND", started)
        started = time.monotonic()
        if status in (0xFF00, 0xFF01):
            matches.append(_readable(match, node))
            if len(matches) > MOST_MATCHES:
                raise MagicianError(f"{node} answered our C-FIND with more than {MOST_MATCHES} matches: ask for less.")
        elif status != 0x0000:
            raise DimseFailure(f"{node} answered our C-FIND with {in_words(response, 'C-FIND')}.", status)
    return matches


def _readable(match: Dataset | None, node: Node) -> Dataset:
    """Return a match whose values can all be read; pydicom decodes them only when they are looked at."""
    try:
        for element in match:
            element.value  # noqa: B018
    except Exception as error:  # a hostile answer can fail in any of pydicom's ways; all mean the same here
        raise MagicianError(f"{node} answered our C-FIND with a match that can't be read: {error}") from error
    return match


def in_words(response: Dataset, service: str) -> str:
    """Put the status of a response into words, with the peer's own comment if it sent one."""
    comment = response.get("ErrorComment", "")
    return describe_status(response.Status, service) + (f", {comment!r}" if comment else "")


def _find_alone(node: Node, identifier: Dataset) -> list[Dataset]:
    with associate(node, [FIND]) as association:
        return find(association, node, identifier)
