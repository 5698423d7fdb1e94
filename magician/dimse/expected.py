"""What should come of a study: all that a PACS tells about it, and which number is the larger.

`magician.client.expected` asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


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
        return by_series if self.by_list else max(by_series, self.study_count or 0)

    @property
    def series_uids(self) -> list[str]:
        """The Series Instance UIDs that the PACS has told, in its order."""
        listed = (instance.series_instance_uid for instance in self.instances.values())
        return list(dict.fromkeys([*self.series_counts, *listed]))

    @property
    def has_number(self) -> bool:
        """Whether `number` can be taken for the number of instances that the PACS holds."""
        counted = [self.series_counts.get(uid) is not None for uid in self.series_uids]
        has_counts = self.study_count is not None or (bool(counted) and all(counted))
        return self.by_list or not self.unlisted or has_counts

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
