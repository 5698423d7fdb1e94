"""What should come of a study: a PACS is asked for its list of images and for its counts.

Some PACS cut their list at a limit of their own, have no list at all, or leave objects out of it.
So the list is never trusted alone (PS3.4 C.4.1, C.6.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association

from magician.dimse.answers import Matches
from magician.dimse.association import associate
from magician.dimse.query import (
    FIND,
    INSTANCE_ANSWERS,
    SERIES_ANSWERS,
    Expected,
    Instance,
    build_query,
    require_uid,
    send_query,
)
from magician.errors import (
    AssociationAborted,
    DimseFailure,
    MagicianError,
    PacsTimeout,
    StudyNotFound,
    WrongAnswer,
    WrongArgument,
)
from magician.files import is_uid
from magician.node import Node

STUDY_COUNTS = [
    "StudyInstanceUID", "ModalitiesInStudy", "SOPClassesInStudy", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
]  # fmt: skip
PADDING = " \0"  # of a UID (PS3.5 6.2)
SOURCES = ("counts", "list")  # what `expected` may be in a retrieve


def ask_expected(
    node: Node, study_instance_uid: str, series_instance_uid: str = "", source: str = "counts"
) -> Expected:
    """Ask a PACS what it holds of a study, or of one series: that should come.

    It is asked at study level for its count, at series level for the series and their counts, and
    at image level for the list of each series. A PACS that refuses a level is believed at the
    others.

    Parameters
    ----------
    node : Node
    study_instance_uid, series_instance_uid : str
        The series is empty for a whole study.
    source : str
        ``"counts"``: the list and the counts, whichever is more. ``"list"``: the list alone.

    Raises
    ------
    StudyNotFound
        If the PACS knows nothing of it.
    DimseFailure
        If the PACS refuses every level.
    MagicianError
        If it lists an image without a proper UID; and the errors of `associate` and `send_query`.
    """
    if source not in SOURCES:
        raise WrongArgument(f"expected={source!r} is none of {', '.join(map(repr, SOURCES))}.")
    study_instance_uid = require_uid(study_instance_uid).strip(PADDING)
    series_instance_uid = series_instance_uid.strip(PADDING)
    study = {"StudyInstanceUID": study_instance_uid}
    with _Answers(node) as answers:
        of_study = answers.ask("STUDY", study, STUDY_COUNTS)
        keys = {**study, "SeriesInstanceUID": series_instance_uid}
        of_series = answers.ask("SERIES", keys, SERIES_ANSWERS)
        series_uids = [str(series.SeriesInstanceUID) for series in of_series]
        if series_instance_uid and not series_uids:
            series_uids = [series_instance_uid]
        lists = {
            uid: answers.ask("IMAGE", {**study, "SeriesInstanceUID": uid}, INSTANCE_ANSWERS)
            for uid in series_uids
        }
    instances = _instances_of(lists, node, study_instance_uid)
    number_of_series = _first_count(of_study, "StudyRelatedSeries")
    # of one series among several, the counts of the study tell nothing
    is_part = bool(series_instance_uid) and number_of_series != 1
    number_of_series = None if series_instance_uid else number_of_series
    found = Expected(
        study_instance_uid,
        series_instance_uid,
        instances,
        series_counts={
            str(series.SeriesInstanceUID): _count(series, "SeriesRelatedInstances")
            for series in of_series
        },
        study_count=None if is_part else _first_count(of_study, "StudyRelatedInstances"),
        sop_classes=frozenset(_values(of_study, "SOPClassesInStudy")),
        modalities=frozenset(
            [*_values(of_study, "ModalitiesInStudy"), *_values(of_series, "Modality")]
        ),
        unlisted=answers.why_not_whole(of_series, lists, number_of_series),
        by_list=source == "list",
        has_all_series=answers.has_all(of_series, number_of_series),
        is_mixed=sum(map(len, lists.values())) > len(instances),
    )
    if answers.lost and not found.has_number:
        raise answers.lost
    _require_found(found, bool(of_study) and not series_instance_uid, answers, node)
    return found


class _Answers:
    """The answers of one PACS: levels that it refuses, or over which it breaks off, are noted.

    Attributes
    ----------
    refusals : dict of MagicianError
        By level.
    lost : MagicianError or None
        Why the association was lost, after the PACS had answered at study level.
    """

    def __init__(self, node: Node) -> None:
        self._node, self._open = node, ExitStack()
        self._association: Association | None = None
        self.refusals: dict[str, MagicianError] = {}
        self.lost: MagicianError | None = None
        self._cut: dict[str, str] = {}

    def __enter__(self) -> _Answers:
        self._association = self._open.enter_context(associate(self._node, [FIND]))
        return self

    def __exit__(self, *exception) -> None:
        self._open.close()

    def ask(self, level: str, keys: dict[str, str], answers: list[str]) -> Matches:
        """Send one query; no matches if the PACS refuses it, or has refused this level before."""
        if level in self.refusals or self.lost:
            return Matches()
        query = build_query(level, keys, answers)
        try:
            matches = self._send(query, again=level != "STUDY")
        except DimseFailure as refusal:
            self.refusals[level] = refusal
            return Matches()
        except (AssociationAborted, PacsTimeout) as error:
            if level == "STUDY" or isinstance(error, WrongAnswer):
                raise
            self.refusals[level] = self.lost = error
            return Matches()
        if matches.cut:
            self._cut[level] = matches.cut
        return matches

    def _send(self, query: Dataset, *, again: bool) -> Matches:
        """Send a query; over a new association if the PACS has ended this one: some take one query
        for each.
        """
        try:
            return send_query(self._association, self._node, query, strict=True)
        except AssociationAborted as error:
            if not again or isinstance(error, WrongAnswer):
                raise
        self.__enter__()
        return send_query(self._association, self._node, query, strict=True)

    def has_all(self, of_series: Matches, number_of_series: int | None) -> bool:
        """Tell whether these are all series of the study."""
        is_whole = "SERIES" not in self.refusals and "SERIES" not in self._cut
        return is_whole and len(of_series) >= (number_of_series or 0)

    def why_not_whole(
        self, of_series: Matches, lists: dict[str, Matches], number_of_series: int | None
    ) -> str:
        """Tell why the list of images can't be taken for whole; empty if it can."""
        for level in ("SERIES", "IMAGE"):
            if level in self.refusals:
                status = getattr(self.refusals[level], "status", None)
                how = f"refuses (0x{status:04X})" if status is not None else "does not answer"
                return f"it {how} a query at {level} level"
            if level in self._cut:
                return f"at {level} level it stopped at a limit of its own: {self._cut[level]}"
        if not self.has_all(of_series, number_of_series):
            return f"it tells {len(of_series)} of {number_of_series} series"
        if of_series and not any(lists.values()):
            return "it lists no images of series that it knows"
        return "" if lists else "it lists no series"


def _require_found(found: Expected, knows_study: bool, answers: _Answers, node: Node) -> None:
    """Raise unless the PACS knows what was asked for."""
    wanted = f"study {found.study_instance_uid}"
    if found.series_instance_uid:
        wanted += f", series {found.series_instance_uid}"
    is_known = found.instances or found.series_counts or knows_study
    if not is_known and answers.refusals:
        raise next(iter(answers.refusals.values()))
    if not is_known:
        raise StudyNotFound(f"{node} holds no images of {wanted}.")


def _instances_of(
    lists: dict[str, Matches], node: Node, study_instance_uid: str
) -> dict[str, Instance]:
    """Put the lists of all series together, by SOP Instance UID."""
    instances = {}
    for series_uid, images in lists.items():
        for image in images:
            sop_class = str(image.get("SOPClassUID", ""))
            is_proper = UID(sop_class, validation_mode=config.IGNORE).is_valid
            instance = Instance(series_uid, sop_class if is_proper else "")
            instances[str(image.get("SOPInstanceUID", ""))] = instance
    if not all(map(is_uid, instances)):
        raise MagicianError(
            f"{node} lists an image of study {study_instance_uid} whose SOP Instance UID is none."
        )
    return instances


def _first_count(of_study: Sequence[Dataset], what: str) -> int | None:
    return _count(of_study[0], what) if of_study else None


def _count(match: Dataset, what: str) -> int | None:
    """Read a count; None if the PACS does not tell it, or not as a number above 0."""
    try:
        count = float(str(match.get(f"NumberOf{what}", "")).strip())
    except ValueError:
        return None
    return int(count) if count > 0 and count.is_integer() else None


def _values(matches: Sequence[Dataset], keyword: str) -> list[str]:
    """Read an element of one or several values from each match; empty where it is absent."""
    values = []
    for match in matches:
        value = match.get(keyword) or []
        values += [value] if isinstance(value, str) else value
    return [str(value) for value in values if value]
