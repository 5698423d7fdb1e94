"""Queries: what a PACS is asked, the matches that it answers (C-FIND, PS3.4 C.4.1), and what it
tells by them of a study (`Expected`).

All queries use the Study Root information model (PS3.4 C.6.2), which practically every PACS offers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND

from magician.dimse.answers import Answers, Matches
from magician.dimse.status import (
    SUCCESS,
    describe_response,
    is_limit,
    is_pending,
    require_status,
)
from magician.errors import DimseFailure, MagicianError, WrongArgument
from magician.node import Node
from magician.upper_layer.reactor_fixes import find_responses

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

# the UIDs of one request: a value of VR UI holds less than 64 KiB in explicit VR (PS3.5 7.1.2)
UIDS_AT_ONCE = 500
MOST_MATCHES = 100_000  # that may come to one query


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
        _add_key(identifier, keyword, value)
    if not "".join(keys.values()).isascii():
        identifier.SpecificCharacterSet = "ISO_IR 192"  # UTF-8 (PS3.3 C.12.1.1.2)
    return identifier


def build_retrieve(level: str, **unique_keys) -> Dataset:
    """Build the identifier of a C-GET or C-MOVE: its level and unique keys (PS3.4 C.4.3.1.3)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in unique_keys.items():
        _add_key(identifier, keyword, value)
    return identifier


def _add_key(identifier: Dataset, keyword: str, value: str | list[str]) -> None:
    """Add a key unchecked: a PACS may hold longer values than the standard allows."""
    vr = dictionary_VR(keyword)
    identifier.add(DataElement(keyword, vr, value, validation_mode=config.IGNORE))


def build_image_retrieves(
    study_instance_uid: str, series_of: Mapping[str, str], at_once: int = UIDS_AT_ONCE
) -> list[Dataset]:
    """Build the identifiers that name instances by their UIDs.

    Parameters
    ----------
    study_instance_uid : str
    series_of : mapping of str
        The Series Instance UID of each, by SOP Instance UID.
    at_once : int
        The most that one of them names; never more than `UIDS_AT_ONCE`.
    """
    identifiers, step = [], min(at_once, UIDS_AT_ONCE)
    for series_uid, uids in groupby(sorted(series_of, key=series_of.get), key=series_of.get):
        named = list(uids)
        for start in range(0, len(named), step):
            keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series_uid}
            keys["SOPInstanceUID"] = named[start : start + step]
            identifiers.append(build_retrieve("IMAGE", **keys))
    return identifiers


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


def send_query(
    association: Association,
    node: Node,
    identifier: Dataset,
    *,
    strict: bool = False,
    most: int = MOST_MATCHES,
) -> Matches:
    """Send one C-FIND on an association and collect its matches (PS3.4 C.4.1.1.4).

    Matches that contradict a key are left out, unless all do, and each match is there once.
    `answers.Answers` says what is wrong with the others, by a warning of its logger.

    Parameters
    ----------
    association : Association
    node : Node
    identifier : Dataset
        As `build_query` builds it.
    strict : bool
        A match with another UID than was asked for is left out even if all have another.
    most : int
        How many matches may come, repeated ones included: a peer that never ends its answer must
        not fill our memory.

    Raises
    ------
    DimseFailure
        If the PACS answers with a failure. If it stops at a limit of its own, that is one only
        where no match has come.
    MagicianError
        If a match can't be read or has no UID of its level, or if more than `most` come.
    PacsTimeout, AssociationAborted, WrongAnswer
        If the PACS does not answer, or not this question.
    """
    answers = Answers(association, node, identifier, strict=strict)
    cut = ""
    for response in follow_query(association, node, identifier, answers):
        if answers.came > most:
            raise MagicianError(
                f"{node} answered our C-FIND with more than {most} matches: ask for less."
            )
        if not is_pending(response.Status) and response.Status != SUCCESS:
            cut = describe_response(response, "C-FIND")
            if not answers.came or not is_limit(response.Status):
                raise DimseFailure(f"{node} answered our C-FIND with {cut}.", response.Status)
    return answers.matches(cut)


def follow_query(
    association: Association, node: Node, identifier: Dataset, answers: Answers
) -> Iterator[Dataset]:
    """Send one C-FIND; return an iterator over its responses, whose matches go into `answers`.

    Raises
    ------
    RuntimeError
        If the association is lost already.
    """
    responses = find_responses(association, identifier, FIND)

    def follow() -> Iterator[Dataset]:
        for response, content in responses:
            status = require_status(response, association, node, "C-FIND")
            if is_pending(status):
                answers.add(content, status)
            yield response

    return follow()


@dataclass(frozen=True)
class Instance:
    """An instance that a PACS lists; the SOP class is empty if it is not told."""

    series_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True)
class Expected:
    """What should come of a study, or of one of its series: all that the PACS tells about it.

    Its list of images and its counts are held against each other, and the larger number counts.

    Attributes
    ----------
    study_instance_uid : str
    series_instance_uid : str
        The series that is wanted; empty for the whole study.
    instances : dict of Instance
        The list at image level, by SOP Instance UID.
    series_counts : dict of int or None
        NumberOfSeriesRelatedInstances (0020,1209) by Series Instance UID; None where it is not
        told.
    study_count : int or None
        NumberOfStudyRelatedInstances (0020,1208); None if it is not told, or one series is wanted.
    sop_classes, modalities : frozenset of str
        What the study may hold, beside the SOP classes of the list.
    unlisted : str
        Why the list can't be taken for whole, in words; empty if it can.
    by_list : bool
        The list alone says what should come, whatever the counts are.
    has_all_series : bool
        Whether the PACS has told all series of the study.
    is_mixed : bool
        Whether it lists an instance in more than one series, so that a list tells nothing of one.
    """

    study_instance_uid: str
    series_instance_uid: str = ""
    instances: dict[str, Instance] = field(default_factory=dict)
    series_counts: dict[str, int | None] = field(default_factory=dict)
    study_count: int | None = None
    sop_classes: frozenset[str] = frozenset()
    modalities: frozenset[str] = frozenset()
    unlisted: str = ""
    by_list: bool = False
    has_all_series: bool = True
    is_mixed: bool = False

    def listed_in(self, series_instance_uid: str) -> int:
        """How many instances of a series are listed."""
        return sum(
            instance.series_instance_uid == series_instance_uid
            for instance in self.instances.values()
        )

    def number_in(self, series_instance_uid: str) -> int:
        """How many instances a series has: those listed or those counted, if these are more."""
        listed = self.listed_in(series_instance_uid)
        return listed if self.by_list else max(listed, self._count_of(series_instance_uid))

    @property
    def number(self) -> int:
        """How many instances should come: those listed or those counted, if these are more."""
        by_series = sum(map(self.number_in, self.series_uids))
        if self.is_mixed:
            by_series = max(len(self.instances), sum(map(self._count_of, self.series_uids)))
        return len(self.instances) if self.by_list else max(by_series, self.study_count or 0)

    @property
    def series_uids(self) -> list[str]:
        """The Series Instance UIDs that the PACS has told, in its order."""
        listed = (instance.series_instance_uid for instance in self.instances.values())
        return list(dict.fromkeys([*self.series_counts, *listed]))

    @property
    def has_number(self) -> bool:
        """Whether `number` can be taken for the number of instances that the PACS holds."""
        if self.by_list:
            return bool(self.instances)
        counted = [self.series_counts.get(uid) is not None for uid in self.series_uids]
        by_series = self.has_all_series and bool(counted) and all(counted)
        return not self.unlisted or self.study_count is not None or by_series

    @property
    def difference(self) -> str:
        """What the list and the counts say, if they do not say the same; else empty."""
        listed = len(self.instances)
        if self.study_count is not None and self.study_count != listed:
            return (
                f"its list has {listed} images, and its count of the study is {self.study_count} "
                f"(NumberOfStudyRelatedInstances)"
            )
        for uid, count in self.series_counts.items():
            if count is not None and count != self.listed_in(uid):
                return (
                    f"its list of series {uid} has {self.listed_in(uid)} images, and its count is "
                    f"{count} (NumberOfSeriesRelatedInstances)"
                )
        return ""

    def _count_of(self, series_instance_uid: str) -> int:
        return self.series_counts.get(series_instance_uid) or 0
