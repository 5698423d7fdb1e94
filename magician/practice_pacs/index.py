"""The index of a practice PACS: which keys a query may ask for, and what it answers.

The index is one table with one row for each instance; studies and series are groups of its rows. It
lives in memory and is made anew from the files when a PACS starts, so it can't disagree with them.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from magician.elements import PADDING
from magician.practice_pacs.element_text import read_text
from magician.practice_pacs.matching import is_universal, make_test

logger = logging.getLogger(__name__)

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
MOST_SENTENCES = 1000  # about wrong character sets: senders choose how many there are
COLLECTED = {"ModalitiesInStudy": "Modality", "SOPClassesInStudy": "SOPClassUID"}


class Index:
    """An sqlite index of instances; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.create_function("matches", 3, _matches, deterministic=True)
        self._said: set[str] = set()
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
        read = {keyword: read_text(header, keyword) for keyword in KEYWORDS}
        texts = [text for text, _ in read.values()]
        marks = ", ".join("?" * (len(texts) + 1))
        with self._lock:
            self._database.execute(f"INSERT INTO instances VALUES ({marks})", [*texts, str(path)])
        if wrong := next((wrong for _, wrong in read.values() if wrong), ""):
            self._say_once(f"Study {read['StudyInstanceUID'][0]}", wrong)

    def _say_once(self, what: str, wrong: str) -> None:
        """Log what is wrong with a character set, unless it was logged."""
        sentence = f"{what}: {wrong}."
        with self._lock:
            if sentence in self._said or len(self._said) >= MOST_SENTENCES:
                return
            self._said.add(sentence)
        logger.warning("%s", sentence)

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
        condition, values = self._conditions(identifier, [LEVELS[level][0] for level in LEVELS])
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
        # a count is told, and not matched: an optional key (PS3.4 C.2.2.1.3)
        condition, values = self._conditions(identifier, [*keys, *(COLLECTED.keys() & counted)])
        # sqlite takes plain columns from the row of min(rowid): the instance that was stored first
        # stands for its group
        columns = ", ".join(["min(rowid)", *asked, *(computed[k] for k in counted)])
        sql = (
            f"SELECT {columns} FROM instances WHERE {condition} "
            f"GROUP BY {LEVELS[level][0]} ORDER BY min(rowid)"
        )
        return [_answer(level, [*asked, *counted], row[1:]) for row in self._select(sql, values)]

    def _conditions(self, identifier: Dataset, keywords: list[str]) -> tuple[str, list[str]]:
        """The SQL condition for the keys of an identifier that are not empty, and its values."""
        conditions, values = ["1"], []
        for keyword in keywords:
            column = COLLECTED.get(keyword, keyword)
            key, wrong = read_text(identifier, keyword)
            if is_universal(dictionary_VR(column), key):
                continue
            if wrong:
                self._say_once("A query", wrong)
            condition, more = _match(column, key)
            # any series of the study may match, and all of them are still reported
            if keyword in COLLECTED:
                studies = f"SELECT StudyInstanceUID FROM instances WHERE {condition}"
                condition = f"StudyInstanceUID IN ({studies})"
            conditions.append(condition)
            values += more
        return " AND ".join(conditions), values

    def _select(self, sql: str, values: list) -> list[tuple]:
        with self._lock:
            return self._database.execute(sql, values).fetchall()


def _matches(vr: str, key: str, stored: str) -> bool:
    """The function `matches` of the database."""
    return make_test(vr, key)(stored)


def _match(keyword: str, key: str) -> tuple[str, list[str]]:
    """One key; UIDs are looked up, for which the table has indices."""
    vr = dictionary_VR(keyword)
    if vr != "UI":
        return f"matches('{vr}', ?, {keyword})", [key]
    wanted = [part.strip(PADDING) for part in key.split("\\") if part.strip(PADDING)]
    return f"{keyword} IN ({', '.join('?' * len(wanted))})", wanted


def _answer(level: str, keywords: list[str], row: tuple) -> Dataset:
    answer = Dataset()
    answer.QueryRetrieveLevel = level
    for keyword, value in zip(keywords, row, strict=True):
        vr = dictionary_VR(keyword)
        if keyword in COLLECTED:
            value = sorted(filter(None, value.split(",")))
        elif vr in ("IS", "US"):
            # a hostile object may hold two numbers, or none
            value = int(value) if str(value).isdecimal() else ""
        # what is stored is told as it is, also if it breaks a rule
        answer.add(
            DataElement(tag_for_keyword(keyword), vr, value or None, validation_mode=config.IGNORE)
        )
    if not all(str(value).isascii() for value in row):
        answer.SpecificCharacterSet = "ISO_IR 192"
    return answer
