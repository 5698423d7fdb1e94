"""The verbs of a query: which studies, series and instances a PACS holds (C-FIND, PS3.4 C.4.1)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from magician.dimse.association import associate
from magician.dimse.query import (
    FIND,
    INSTANCE_ANSWERS,
    SERIES_ANSWERS,
    STUDY_ANSWERS,
    build_query,
    require_uid,
    send_query,
)
from magician.errors import SeveralStudies, StudyNotFound
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
        A data set for each study, with what the PACS tells of it.

    Raises
    ------
    StudyNotFound
        If nothing matches.
    ValueError
        If `study_instance_uid` holds a wildcard.
    DimseFailure
        If the PACS answers with a failure; and the errors of `magician.associate`.
    """
    keys = {
        "AccessionNumber": accession_number,
        "PatientID": patient_id,
        "PatientName": patient_name,
        "StudyDate": study_date,
        "ModalitiesInStudy": modality,
        "StudyInstanceUID": study_instance_uid,
    }
    studies = _ask(node, build_query("STUDY", keys, STUDY_ANSWERS))
    if not studies:
        sent = ", ".join(f"{keyword}={value!r}" for keyword, value in keys.items() if value)
        raise StudyNotFound(
            f"{node} holds no study that matches {sent or 'an empty query'}. Check the spelling; "
            f"if the study must be there, ask its administrator whether {node.local_ae_title!r} "
            f"may see it."
        )
    return studies


def only_study(studies: Sequence[Dataset]) -> Dataset:
    """Return the one study that a query matched; ask back if there are several.

    Parameters
    ----------
    studies : sequence of Dataset
        The answers of `find_studies`.

    Raises
    ------
    SeveralStudies
        If there is more than one. The message lists them, with the PatientID that tells them apart.
    StudyNotFound
        If there is none.
    """
    if len(studies) == 1:
        return studies[0]
    if not studies:
        raise StudyNotFound("No study matched.")
    rows = "; ".join(
        f"{study.get('PatientName', '')}, patient_id={str(study.get('PatientID', ''))!r}"
        for study in studies
    )
    raise SeveralStudies(
        f"{len(studies)} studies match, and only one can be meant: {rows}. "
        f"Add the patient_id of the right one to the query, and ask again."
    )


def find_series(node: Node, study_instance_uid: str) -> list[Dataset]:
    """Ask which series a study has (C-FIND at series level); an empty list if there are none."""
    keys = {"StudyInstanceUID": require_uid(study_instance_uid)}
    return _ask(node, build_query("SERIES", keys, SERIES_ANSWERS))


def find_instances(node: Node, study_instance_uid: str, series_instance_uid: str) -> list[Dataset]:
    """Ask which instances (images) a series has (C-FIND at image level); an empty list if none."""
    keys = {
        "StudyInstanceUID": require_uid(study_instance_uid),
        "SeriesInstanceUID": require_uid(series_instance_uid),
    }
    return _ask(node, build_query("IMAGE", keys, INSTANCE_ANSWERS))


def _ask(node: Node, query: Dataset) -> list[Dataset]:
    """Send one query on an association of its own."""
    with associate(node, [FIND]) as association:
        return send_query(association, node, query)
