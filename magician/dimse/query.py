"""Ask a PACS what it holds: C-FIND in the Study Root model (PS3.4 C.4.1, C.6.2); a part of
`query_retrieve`.
"""

from __future__ import annotations

import time

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND

from magician.dimse.status import describe_response, require_status
from magician.errors import DimseFailure, MagicianError
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


def query(level: str, keys: dict[str, str], answers: list[str]) -> Dataset:
    """Make a C-FIND identifier: the keys to match, and empty elements for what we want to be told."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword in answers:
        setattr(identifier, keyword, "")
    for keyword, value in keys.items():
        if keyword.endswith("UID") and ("*" in value or "?" in value):
            raise ValueError(
                f"{keyword}={value!r}: a UID has no wildcards (PS3.4 C.2.2.2.4). Leave it empty."
            )
        setattr(identifier, keyword, value)
    if not "".join(keys.values()).isascii():
        identifier.SpecificCharacterSet = "ISO_IR 192"  # UTF-8 (PS3.3 C.12.1.1.2)
    return identifier


def require_uid(uid: str) -> str:
    """Return `uid`, or raise `ValueError` if it is empty: an empty key would match every study."""
    if not uid:
        raise ValueError(
            "This level needs the UID of the level above it, as a query of that level returns it."
        )
    return uid


def find(association: Association, node: Node, identifier: Dataset) -> list[Dataset]:
    """Send one C-FIND on an association and collect its matches (PS3.4 C.4.1.1.4 for the statuses)."""
    matches, started = [], time.monotonic()
    for response, match in association.send_c_find(identifier, FIND):
        status = require_status(response, node, "C-FIND", started)
        started = time.monotonic()
        if status in (0xFF00, 0xFF01):
            matches.append(_readable(match, node))
            if len(matches) > MOST_MATCHES:
                raise MagicianError(
                    f"{node} answered our C-FIND with more than {MOST_MATCHES} matches: ask for less."
                )
        elif status != 0x0000:
            raise DimseFailure(
                f"{node} answered our C-FIND with {describe_response(response, 'C-FIND')}.", status
            )
    return matches


def _readable(match: Dataset | None, node: Node) -> Dataset:
    """Return a match whose values can all be read; pydicom decodes them only when they are looked
    at.
    """
    try:
        for element in match:
            element.value  # noqa: B018
    # a hostile answer can fail in any of pydicom's ways; all mean the same here
    except Exception as error:
        raise MagicianError(
            f"{node} answered our C-FIND with a match that can't be read: {error}"
        ) from error
    return match
