"""The index of a practice PACS: which keys a query may ask for, and how they match.

The rules of matching are those of PS3.4 C.2.2.2.

The index is one table with one row for each instance; studies and series are groups of its rows. It
lives in memory and is made anew from the files when a PACS starts, so it can't disagree with them.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from pathlib import Path

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

# The elements that are kept and can be matched, by level. The first of each level is its unique
# key.
LEVELS = {
    "STUDY": [
        "StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex",
        "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription",
        "ReferringPhysicianName",
    ],
    "SERIES": [
        "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "SeriesDate",
        "SeriesTime", "BodyPartExamined",
    ],
    "IMAGE": [
        "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "ContentDate", "ContentTime", "Rows",
        "Columns", "NumberOfFrames",
    ],
}  # fmt: skip
KEYWORDS = [keyword for keywords in LEVELS.values() for keyword in keywords]

# What is counted or collected over a group of rows rather than kept
COMPUTED = {
    "STUDY": {
        "ModalitiesInStudy": "group_concat(DISTINCT Modality)",
        "SOPClassesInStudy": "group_concat(DISTINCT SOPClassUID)",
        "NumberOfStudyRelatedSeries": "count(DISTINCT SeriesInstanceUID)",
        "NumberOfStudyRelatedInstances": "count(*)",
    },
    "SERIES": {"NumberOfSeriesRelatedInstances": "count(*)"},
    "IMAGE": {},
}
# In which order `Index.held` lists them
ORDER = {
    "STUDY": "min(rowid)",
    "SERIES": "CAST(SeriesNumber AS INTEGER), min(rowid)",
    "IMAGE": "CAST(InstanceNumber AS INTEGER), SOPInstanceUID",
}
COLLECTED = {"ModalitiesInStudy": "Modality", "SOPClassesInStudy": "SOPClassUID"}


class Index:
    """An sqlite index of instances; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        # sqlite's own: only a to z
        self._database.create_function("casefold", 1, str.casefold, deterministic=True)
        columns = ", ".join(f"{keyword} TEXT NOT NULL" for keyword in KEYWORDS)
        self._database.execute(f"CREATE TABLE instances ({columns}, path TEXT NOT NULL)")
        self._database.execute("CREATE UNIQUE INDEX by_instance ON instances (SOPInstanceUID)")
        self._database.execute(
            "CREATE INDEX by_series ON instances (StudyInstanceUID, SeriesInstanceUID)"
        )

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def add(self, header: Dataset, path: Path) -> None:
        """Enter one instance."""
        values = [_text(header.get(keyword)) for keyword in KEYWORDS] + [str(path)]
        marks = ", ".join("?" * len(values))
        with self._lock:
            self._database.execute(f"INSERT INTO instances VALUES ({marks})", values)

    def study_of(self, sop_instance_uid: str) -> str | None:
        """The study in which an instance is known, None if it is not known."""
        rows = self._select(
            "SELECT StudyInstanceUID FROM instances WHERE SOPInstanceUID = ?", [sop_instance_uid]
        )
        return rows[0][0] if rows else None

    def paths(self, identifier: Dataset) -> list[Path]:
        """Files of the instances that the unique keys of a retrieve identifier select, in order of
        InstanceNumber.
        """
        keys = [LEVELS[level][0] for level in LEVELS]
        wanted = Dataset()
        for keyword in keys:
            if keyword in identifier:
                wanted[keyword] = identifier[keyword]
        condition, values = _conditions(wanted, keys)
        order = "ORDER BY SeriesInstanceUID, CAST(InstanceNumber AS INTEGER), SOPInstanceUID"
        return [
            Path(row[0])
            for row in self._select(f"SELECT path FROM instances WHERE {condition} {order}", values)
        ]

    def held(self, level: str, unique_keys: dict[str, str]) -> list[dict[str, str]]:
        """All studies, series or instances that have these unique keys: every keyword as text, and
        the file's `path`.

        What belongs below the level is that of the instance that was stored first.
        """
        columns = ["min(rowid)", *KEYWORDS, "path", *COMPUTED[level].values()]
        names = [*KEYWORDS, "path", *COMPUTED[level]]
        condition = " AND ".join(["1", *(f"{keyword} = ?" for keyword in unique_keys)])
        sql = (
            f"SELECT {', '.join(columns)} FROM instances WHERE {condition} "
            f"GROUP BY {LEVELS[level][0]} ORDER BY {ORDER[level]}"
        )
        rows = self._select(sql, list(unique_keys.values()))
        return [
            {name: str(value) for name, value in zip(names, row[1:], strict=True)} for row in rows
        ]

    def find(self, identifier: Dataset) -> list[Dataset]:
        """Answer a C-FIND identifier, one data set for each study, series or instance that matches.

        Returns
        -------
        list of Dataset
            With the unique key of the identifier's level, and those keys of the identifier that
            belong to this level or to one above it.
        """
        level = identifier.QueryRetrieveLevel
        levels = list(LEVELS)[: list(LEVELS).index(level) + 1]
        keys = [keyword for name in levels for keyword in LEVELS[name]]
        computed = {
            keyword: sql
            for name in levels
            for keyword, sql in COMPUTED[name].items()
            if name == level
        }
        asked = [k for k in keys if k in identifier or k == LEVELS[level][0]]
        counted = [k for k in computed if k in identifier]
        condition, values = _conditions(identifier, [*keys, *counted])
        # sqlite takes plain columns from the row of min(rowid): the instance that was stored first
        # stands for its group
        columns = ", ".join(["min(rowid)", *asked, *(computed[k] for k in counted)])
        sql = (
            f"SELECT {columns} FROM instances WHERE {condition} "
            f"GROUP BY {LEVELS[level][0]} ORDER BY min(rowid)"
        )
        return [_answer(level, [*asked, *counted], row[1:]) for row in self._select(sql, values)]

    def _select(self, sql: str, values: list) -> list[tuple]:
        with self._lock:
            return self._database.execute(sql, values).fetchall()


def _text(value) -> str:
    if value is None:
        return ""
    if isinstance(value, MultiValue):
        return "\\".join(str(part) for part in value)
    return str(value)


def _conditions(identifier: Dataset, keywords: list[str]) -> tuple[str, list[str]]:
    """The SQL condition for the keys of an identifier that are not empty, and its values."""
    conditions, values = ["1"], []
    for keyword in keywords:
        value = _text(identifier.get(keyword))
        # universal matching (PS3.4 C.2.2.2.3); '*' in a UID is wrong, and tolerated
        if value in ("", "*"):
            continue
        condition, more = _match(COLLECTED.get(keyword, keyword), value)
        # any series of the study may match, and all of them are still reported
        if keyword in COLLECTED:
            condition = (
                f"StudyInstanceUID IN (SELECT StudyInstanceUID FROM instances WHERE {condition})"
            )
        conditions.append(condition)
        values += more
    return " AND ".join(conditions), values


def _match(keyword: str, value: str) -> tuple[str, list[str]]:
    """One key: list, range, wildcard or single value matching, by its value representation."""
    vr = dictionary_VR(keyword)
    if vr == "UI" or "\\" in value:
        wanted = [part for part in value.split("\\") if part]
        return f"{keyword} IN ({', '.join('?' * len(wanted))})", wanted
    if vr in ("DA", "TM") and "-" in value:
        low, high = (part.strip() for part in value.split("-", 1))
        # an end such as 20250101 or 1030 stands for all times that begin with it
        return f"{keyword} != '' AND {keyword} >= ? AND {keyword} < ?", [
            low,
            high + "~" if high else "~",
        ]
    # letter case and empty trailing components are ignored, as C.2.2.2.1 allows for names
    if vr == "PN":
        keyword, value = f"casefold(rtrim({keyword}, '^'))", value.casefold().rstrip("^")
    if vr not in ("DA", "TM", "IS", "US") and re.search(r"[*?]", value):
        return f"{keyword} GLOB ?", [value.replace("[", "[[]")]
    return f"{keyword} = ?", [value]


def _answer(level: str, keywords: list[str], row: tuple) -> Dataset:
    answer = Dataset()
    answer.QueryRetrieveLevel = level
    for keyword, value in zip(keywords, row, strict=True):
        if keyword in COLLECTED:
            value = sorted(value.split(","))
        elif value and dictionary_VR(keyword) == "US":
            # a hostile object may hold two numbers, or none
            value = int(value) if value.isdecimal() else ""
        setattr(answer, keyword, value if value != "" else None)
    if not all(_text(element.value).isascii() for element in answer):
        answer.SpecificCharacterSet = "ISO_IR 192"
    return answer
