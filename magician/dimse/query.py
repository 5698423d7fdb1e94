"""Queries: what a PACS is asked, and the matches that it answers (C-FIND, PS3.4 C.4.1).

All queries use the Study Root information model (PS3.4 C.6.2), which practically every PACS offers.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND

from magician.dimse.association import associate
from magician.dimse.status import SUCCESS, describe_response, is_pending, require_status
from magician.errors import DimseFailure, MagicianError, StudyNotFound, WrongArgument
from magician.files import is_uid
from magician.node import Node

# What a PACS is asked to tell of each match (PS3.4 Tables C.6-5, C.6-3, C.6-4 and C.3-1)
STUDY_ANSWERS = [
    "StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate",
    "StudyTime", "AccessionNumber", "StudyID", "StudyDescription", "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
]  # fmt: skip
SERIES_ANSWERS = [
    "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined",
    "NumberOfSeriesRelatedInstances",
]  # fmt: skip
INSTANCE_ANSWERS = ["SOPInstanceUID", "SOPClassUID", "InstanceNumber"]

MOST_MATCHES = 100_000  # a peer that never ends its answer must not fill our memory


@dataclass(frozen=True)
class Instance:
    """An instance that a PACS says it holds; the SOP class is empty if it is not told."""

    series_instance_uid: str
    sop_class_uid: str


def build_query(level: str, keys: dict[str, str], answers: list[str]) -> Dataset:
    """Build the identifier of a C-FIND: the keys to match, and empty elements to be filled in.

    Parameters
    ----------
    level : str
        ``"STUDY"``, ``"SERIES"`` or ``"IMAGE"``.
    keys : dict of str
        The values to match, by keyword; an empty one matches everything.
    answers : list of str
        Keywords of the elements that the PACS is asked to return.

    Raises
    ------
    ValueError
        If a UID holds a wildcard.
    """
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword in answers:
        setattr(identifier, keyword, "")
    for keyword, value in keys.items():
        if keyword.endswith("UID"):
            require_wildcards_allowed(keyword, value)
        setattr(identifier, keyword, value)
    if not "".join(keys.values()).isascii():
        identifier.SpecificCharacterSet = "ISO_IR 192"  # UTF-8 (PS3.3 C.12.1.1.2)
    return identifier


def require_wildcards_allowed(keyword: str, uid: str) -> None:
    """Raise `WrongArgument` if a UID holds a wildcard."""
    if "*" in uid or "?" in uid:
        raise WrongArgument(
            f"{keyword}={uid!r}: a UID has no wildcards (PS3.4 C.2.2.2.4). Leave it empty."
        )


def require_uid(uid: str) -> str:
    """Return `uid`, or raise `ValueError` if it is empty: an empty key would match every study."""
    if not uid:
        raise WrongArgument(
            "This level needs the UID of the level above it, as a query of that level returns it."
        )
    return uid


def send_query(association: Association, node: Node, identifier: Dataset) -> list[Dataset]:
    """Send one C-FIND on an association and collect its matches (PS3.4 C.4.1.1.4).

    Raises
    ------
    DimseFailure
        If the PACS answers with a failure.
    MagicianError
        If a match can't be read, or if the matches never end.
    PacsTimeout, AssociationAborted
        If the PACS does not answer.
    """
    matches = []
    for response, match in association.send_c_find(identifier, FIND):
        status = require_status(response, association, node, "C-FIND")
        if is_pending(status):
            matches.append(_require_readable(match, node))
            if len(matches) > MOST_MATCHES:
                raise MagicianError(
                    f"{node} answered our C-FIND with more than {MOST_MATCHES} matches: "
                    f"ask for less."
                )
        elif status != SUCCESS:
            words = describe_response(response, "C-FIND")
            raise DimseFailure(f"{node} answered our C-FIND with {words}.", status)
    return matches


def _require_readable(match: Dataset | None, node: Node) -> Dataset:
    """Return a match whose values can all be read; raise `MagicianError` if one can't."""
    try:
        for element in match:  # pydicom decodes a value only when it is read: read them all now
            element.value  # noqa: B018
    # a hostile answer can fail in any of pydicom's ways; all mean the same here
    except Exception as error:
        raise MagicianError(
            f"{node} answered our C-FIND with a match that can't be read: {error}"
        ) from error
    return match


def list_expected(
    node: Node, study_instance_uid: str, series_instance_uid: str = ""
) -> dict[str, Instance]:
    """Ask a PACS which instances it holds of a study, or of one series: those should come.

    Returns
    -------
    dict of Instance
        By SOP Instance UID.

    Raises
    ------
    StudyNotFound
        If there is none.
    MagicianError
        If the PACS lists an image without a proper UID; and the errors of `associate` and
        `send_query`.
    """
    study = {"StudyInstanceUID": require_uid(study_instance_uid)}
    expected: dict[str, Instance] = {}
    with associate(node, [FIND]) as association:
        series_uids = [series_instance_uid]
        if not series_instance_uid:
            found = send_query(association, node, build_query("SERIES", study, SERIES_ANSWERS))
            series_uids = [str(series.get("SeriesInstanceUID", "")) for series in found]
        for series_uid in series_uids:
            keys = {**study, "SeriesInstanceUID": series_uid}
            images = send_query(association, node, build_query("IMAGE", keys, INSTANCE_ANSWERS))
            for image in images:
                sop_class = str(image.get("SOPClassUID", ""))
                instance = Instance(series_uid, sop_class if is_uid(sop_class) else "")
                expected[str(image.get("SOPInstanceUID", ""))] = instance
    if not all(is_uid(uid) for uid in expected):
        raise MagicianError(
            f"{node} lists an image of study {study_instance_uid} whose SOP Instance UID is none."
        )
    if not expected:
        series = f", series {series_instance_uid}" if series_instance_uid else ""
        raise StudyNotFound(f"{node} holds no images of study {study_instance_uid}{series}.")
    return expected
