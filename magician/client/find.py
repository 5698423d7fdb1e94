"""The verbs of a query: which studies, series and instances a PACS holds (C-FIND, PS3.4 C.4.1)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from magician.client.query_keys import advise, require_keys, require_text
from magician.dimse.answers import Matches
from magician.dimse.association import associate
from magician.dimse.query import (
    FIND,
    INSTANCE_ANSWERS,
    MOST_MATCHES,
    SERIES_ANSWERS,
    STUDY_ANSWERS,
    build_query,
    send_query,
)
from magician.errors import SeveralStudies, StudyNotFound, WrongArgument
from magician.node import PRACTICE_PACS_UID, Node, explain_empty

# What the keys of `find_studies` are called in DICOM, in the order of its arguments
KEYWORDS = (
    "AccessionNumber", "PatientID", "PatientName", "StudyDate", "ModalitiesInStudy",
    "StudyInstanceUID",
)  # fmt: skip
MOST_ROWS = 6  # of the studies that the message of `only_study` lists


def find_studies(
    node: Node,
    *,
    accession_number: str = "",
    patient_id: str = "",
    patient_name: str = "",
    study_date: str = "",
    modality: str = "",
    study_instance_uid: str = "",
    most_matches: int = MOST_MATCHES,
) -> Matches:
    """Ask which studies match (C-FIND at study level, PS3.4 C.4.1).

    An empty key matches everything. ``*`` and ``?`` are wildcards in names, descriptions and text
    identifiers such as the accession number, ``20250101-`` is a range of dates. A UID has no
    wildcards: leave it empty (PS3.4 C.2.2.2). A PACS that answers with more than `most_matches` is
    not believed.

    Returns
    -------
    Matches
        A list with a data set for each study, with what the PACS tells of it. Studies that
        contradict a key are left out, unless all do. What was wrong with the answers stands in the
        attributes of the list, and in the log: `magician.dimse.answers.Matches`.

    Raises
    ------
    StudyNotFound
        If nothing matches. A practice PACS of ours is then asked once more, without keys: an empty
        one is said to be empty.
    ValueError
        Before anything is sent: if an argument is no text, if `study_date` has not the form
        YYYYMMDD or that of a range, if `modality` is no code, or if `study_instance_uid` is no UID.
    DimseFailure
        If the PACS answers with a failure; and the errors of `magician.associate`.
    MagicianError
        If an answer can't be read or has no Study Instance UID, or if there are too many.
    """
    arguments = {
        "accession_number": accession_number,
        "patient_id": patient_id,
        "patient_name": patient_name,
        "study_date": study_date,
        "modality": modality,
        "study_instance_uid": study_instance_uid,
    }
    asked = require_keys(arguments)
    keys = dict(zip(KEYWORDS, asked.values(), strict=True))
    with associate(node, [FIND]) as association:
        # strict: a UID compares exactly, and a study with another one is never the one meant
        studies = send_query(
            association,
            node,
            build_query("STUDY", keys, STUDY_ANSWERS),
            strict=True,
            most=most_matches,
        )
        if not (studies or studies.dropped) and _is_empty(association, node, keys):
            raise StudyNotFound(
                f"{node} is empty: this practice PACS holds no study at all. "
                f"{explain_empty(node.ae_title)}"
            )
    if not studies:
        sent = ", ".join(f"{keyword}={value!r}" for keyword, value in keys.items() if value)
        advice = advise(asked) or "Check the spelling."
        others = (
            f"It answered with {studies.dropped} other studies, which were left out: it ignores "
            f"StudyInstanceUID. "
            if studies.dropped
            else ""
        )
        raise StudyNotFound(
            f"{node} holds no study that matches {sent or 'an empty query'}. {others}{advice} "
            f"If the study must be there, ask its administrator whether {node.local_ae_title!r} "
            f"may see it."
        )
    return studies


def _is_empty(association: Association, node: Node, keys: dict[str, str]) -> bool:
    """Tell whether a practice PACS of ours holds no study at all; a hospital's is never asked."""
    if association.acceptor.implementation_class_uid != PRACTICE_PACS_UID:
        return False
    everything = build_query("STUDY", dict.fromkeys(keys, ""), STUDY_ANSWERS)
    return not any(keys.values()) or not send_query(association, node, everything)


def only_study(studies: Sequence[Dataset]) -> Dataset:
    """Return the one study that a query matched; ask back if there are several.

    Parameters
    ----------
    studies : sequence of Dataset
        The answers of `find_studies`.

    Raises
    ------
    SeveralStudies
        If there is more than one. The message lists them, with the PatientID that tells them apart;
        those of one patient with their Study Instance UID. Or if there may be more, because the
        PACS stopped at a limit of its own.
    StudyNotFound
        If there is none, or the only one contradicts a key of the query.
    """
    if not isinstance(studies, Sequence) or not all(isinstance(s, Dataset) for s in studies):
        raise WrongArgument("only_study takes the list that find_studies returns.")
    if len(studies) == 1:
        _require_sure(studies)
        return studies[0]
    if not studies:
        raise StudyNotFound("No study matched.")
    patients = {str(study.get("PatientID", "")) for study in studies}
    rows = [_row(study, of_one_patient=len(patients) == 1) for study in studies[:MOST_ROWS]]
    more = f"; and {len(studies) - MOST_ROWS} more" if len(studies) > MOST_ROWS else ""
    key = "study_instance_uid" if len(patients) == 1 else "patient_id"
    raise SeveralStudies(
        f"{len(studies)} studies match, and only one can be meant: {'; '.join(rows)}{more}. Write "
        f"the {key} of the right one into the query, and ask again."
    )


def _require_sure(studies: Sequence[Dataset]) -> None:
    """Raise if the one study of a list is perhaps not the one that was meant."""
    row = _row(studies[0], of_one_patient=False)
    if getattr(studies, "cut", ""):
        raise SeveralStudies(
            f"One study came, and there may be more that match: the PACS stopped at a limit of its "
            f"own ({studies.cut}). It is {row}. Ask for less, for instance for a range of dates; "
            f"or take studies[0] if that is the right one."
        )
    if getattr(studies, "contradicted", ()):
        raise StudyNotFound(
            f"One study came, and it is not what was asked for: its "
            f"{' and '.join(studies.contradicted)} differs. It is {row}. Take studies[0] if it is "
            f"the right one all the same."
        )


def _row(study: Dataset, *, of_one_patient: bool) -> str:
    """Write what tells a study from others: its patient, or if that is one for all, its UID."""
    name, date = study.get("PatientName", ""), study.get("StudyDate", "")
    if of_one_patient:
        return f"{name} {date}, study_instance_uid={str(study.get('StudyInstanceUID', ''))!r}"
    return f"{name}, patient_id={str(study.get('PatientID', ''))!r}"


def find_series(node: Node, study_instance_uid: str) -> Matches:
    """Ask which series a study has (C-FIND at series level); an empty list if there are none.

    The list and the errors are those of `find_studies`.
    """
    study_uid = require_text("study_instance_uid", study_instance_uid, needed=True)
    return _ask(node, build_query("SERIES", {"StudyInstanceUID": study_uid}, SERIES_ANSWERS))


def find_instances(node: Node, study_instance_uid: str, series_instance_uid: str) -> Matches:
    """Ask which instances (images) a series has (C-FIND at image level); an empty list if none.

    The list and the errors are those of `find_studies`.
    """
    keys = {
        "StudyInstanceUID": require_text("study_instance_uid", study_instance_uid, needed=True),
        "SeriesInstanceUID": require_text("series_instance_uid", series_instance_uid, needed=True),
    }
    return _ask(node, build_query("IMAGE", keys, INSTANCE_ANSWERS))


def _ask(node: Node, query: Dataset) -> Matches:
    """Send one query on an association of its own."""
    with associate(node, [FIND]) as association:
        return send_query(association, node, query, strict=True)
