"""C-FIND: which studies, series and instances a PACS holds (PS3.4 C.4.1)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND

from magician.dimse.association import associate
from magician.dimse.query import (
    INSTANCE_ANSWERS,
    SERIES_ANSWERS,
    STUDY_ANSWERS,
    find,
    query,
    require_uid,
)
from magician.errors import StudyNotFound
from magician.node import Node


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

    An empty key matches everything. ``*`` and ``?`` are wildcards in names, descriptions and text
    identifiers such as the accession number, ``20250101-`` is a range of dates. A UID has no
    wildcards: leave it empty (PS3.4 C.2.2.2).

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
        If the PACS answers with a failure; and the errors of
        `magician.dimse.association.associate`.
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
    """Ask which instances (images) a series has (C-FIND at image level); an empty list if there are
    none.
    """
    keys = {
        "StudyInstanceUID": require_uid(study_instance_uid),
        "SeriesInstanceUID": require_uid(series_instance_uid),
    }
    return _find_alone(node, query("IMAGE", keys, INSTANCE_ANSWERS))


def _find_alone(node: Node, identifier: Dataset) -> list[Dataset]:
    with associate(node, [FIND]) as association:
        return find(association, node, identifier)
