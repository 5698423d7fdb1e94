"""The answers to a query, held against what was asked (PS3.4 C.2.2.2), each of them once.

Some PACS ignore a key and answer with everything, give the same study many times, stop at a limit
of their own, or write text in a character set that they do not declare. What comes out here can be
taken for the answer to the question, and each of these is said once.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND

from magician.dimse.status import PENDING_WITHOUT_SOME_KEYS, describe_status
from magician.elements import read_text_elements
from magician.errors import Finding, MagicianError, PacsTimeout
from magician.keys import Key, show_values
from magician.node import Node

logger = logging.getLogger(__name__)

MOST_BYTES = 256 * 1024**2  # of all matches together; a real one has less than 1 KiB
# The keyword that tells the matches of a level apart (PS3.4 C.6.2.1)
UNIQUE_KEYS = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
NO_KEYS = ("QueryRetrieveLevel", "SpecificCharacterSet")

_said: WeakKeyDictionary[Association, set[str]] = WeakKeyDictionary()


class Matches(list):
    """The matches of a query: a list of data sets, and what was wrong with the answers.

    Attributes
    ----------
    cut : str
        The words by which the PACS said that it stopped at a limit of its own; empty if it did not.
    dropped : int
        How many matches contradicted a key, and are left out.
    duplicates : int
        How many matches came once more, and are left out.
    contradicted : tuple of str
        The keywords of keys that every answer contradicts: none was dropped for them.
    """

    def __init__(
        self,
        matches: Iterable[Dataset] = (),
        *,
        cut: str = "",
        dropped: int = 0,
        duplicates: int = 0,
        contradicted: tuple[str, ...] = (),
    ) -> None:
        super().__init__(matches)
        self.cut, self.dropped, self.duplicates = cut, dropped, duplicates
        self.contradicted = contradicted


def _number(value) -> float:
    """Read a count; -1 if it is none. A PACS that tells two is believed in the larger."""
    try:
        return float(str(value))
    except ValueError:
        return -1.0


def say_once(association: Association, kind: str, sentence: str) -> None:
    """Log a warning, unless one of its kind was logged for this association."""
    said = _said.setdefault(association, set())
    if kind not in said:
        said.add(kind)
        logger.warning("%s", sentence)


class Answers:
    """The answers to one query, as they come.

    Parameters
    ----------
    association : Association
    node : Node
    identifier : Dataset
        What was asked.
    strict : bool
        A match with another UID than was asked for is dropped in any case.

    Attributes
    ----------
    came : int
        How many have come, whatever they are.
    others : int
        How many of those are left out in any case: they have another UID than was asked for.
    """

    def __init__(
        self,
        association: Association,
        node: Node,
        identifier: Dataset,
        *,
        strict: bool,
    ) -> None:
        self.came = 0
        self._association, self._node = association, node
        self._syntax = next(
            context.transfer_syntax[0]
            for context in association.accepted_contexts
            if context.abstract_syntax == FIND
        )
        self._level = str(identifier.get("QueryRetrieveLevel", ""))
        self._unique = UNIQUE_KEYS.get(self._level, "StudyInstanceUID")
        self._keys = [Key(e) for e in identifier if e.keyword not in NO_KEYS and not e.is_empty]
        self._strict = {key.keyword for key in self._keys if strict and key.is_uid}
        self._found: dict[str, tuple[Dataset, frozenset[str]]] = {}
        self._others: dict[str, frozenset[str]] = {}  # what contradicts a strict key
        self._samples: dict[str, str] = {}
        self._bytes, self._news_at = 0, time.monotonic()

    @property
    def others(self) -> int:
        return len(self._others.keys() - self._found.keys())

    def add(self, content: bytes, status: int) -> None:
        """Read a match and hold it against the keys.

        Raises
        ------
        MagicianError
            If it can't be read, or has no UID of its level: no object of a study must be missed
            in silence, so that one such match is enough. Or if all are too large to be kept.
        PacsTimeout
            If nothing new has come for ``dimse_s``.
        """
        self.came += 1
        match, wrong_text = self._read(content)
        if wrong_text:
            self._say(
                "text", f"answered our C-FIND with text that had to be guessed: {wrong_text}."
            )
        if status == PENDING_WITHOUT_SOME_KEYS:
            self._say_unsupported()
        keys = [key for key in self._keys if key.contradicts(match, is_sure=not wrong_text)]
        for key in keys:
            self._samples.setdefault(key.keyword, show_values(match[key.keyword]))
        contradicted = frozenset(key.keyword for key in keys)
        uid = str(match[self._unique].value)
        self._require_news(uid not in self._found and uid not in self._others)
        if contradicted & self._strict:
            self._others.setdefault(uid, contradicted & self._strict)
        else:
            self._keep(uid, match, contradicted, len(content))

    def _read(self, content: bytes) -> tuple[Dataset, str]:
        try:
            match, wrong_text = read_text_elements(content, self._syntax)
        except ValueError as error:
            raise self._unusable(f"that can't be read: {error}") from error
        if not content:
            raise self._unusable("and sent none (a pending response without an identifier)")
        uid = match.get(self._unique)
        if not isinstance(uid, str) or not uid:
            raise self._unusable(f"without a {self._unique}, which every match must have")
        return match, wrong_text

    def _unusable(self, what: str) -> MagicianError:
        level = f" at {self._level} level" if self._level else ""
        return MagicianError.of(
            Finding(
                "C-FIND",
                f"{self._node} answered our C-FIND{level} with a match {what}.",
                "the PACS",
                "Its vendor must mend that; narrower keys may leave this match out.",
            )
        )

    def _keep(
        self, uid: str, match: Dataset, contradicted: frozenset[str], number_of_bytes: int
    ) -> None:
        """Keep a match; if it has come before, what it tells beside that."""
        if uid not in self._found:
            self._bytes += number_of_bytes
            if self._bytes > MOST_BYTES:
                raise MagicianError(
                    f"{self._node} answered our C-FIND with more than {MOST_BYTES} bytes: ask for "
                    f"less."
                )
            self._found[uid] = match, contradicted
            return
        kept, of_kept = self._found[uid]
        patients = [str(match.get("PatientID", "")), str(kept.get("PatientID", ""))]
        if "" not in patients and patients[0] != patients[1]:
            self._say(
                "patients",
                f"gave {uid} for two patients, {patients[1]!r} and {patients[0]!r}: look which is "
                f"right before you use it.",
            )
        if of_kept and not contradicted:
            kept, of_kept, match = match, contradicted, kept
            self._found[uid] = kept, of_kept
        for element in match:
            is_new = element.tag not in kept or kept[element.tag].is_empty
            if element.keyword.startswith("NumberOf") and not is_new:
                is_new = _number(element.value) > _number(kept[element.tag].value)
            if is_new and element.keyword not in contradicted | of_kept:
                kept.add(element)

    def _require_news(self, is_new: bool) -> None:
        now = time.monotonic()
        if is_new:
            self._news_at = now
        elif now - self._news_at > self._node.dimse_s:
            seen = (
                f"{self._node} answers our C-FIND again and again with matches that it has given, "
                f"and none was new for {self._node.dimse_s:g} s (dimse_s)."
            )
            change = "Its vendor must mend that; narrower keys may help."
            raise PacsTimeout.of(Finding("C-FIND", seen, "the PACS", change))

    def matches(self, cut: str = "") -> Matches:
        """Return what can be taken for the answer, and say what can't.

        Parameters
        ----------
        cut : str
            The words by which the PACS said that it stopped at a limit of its own.
        """
        found = list(self._found.values())
        counts = Counter(keyword for _, contradicted in found for keyword in contradicted)
        unmatched = {keyword for keyword, count in counts.items() if count == len(found)}
        kept = [match for match, contradicted in found if contradicted <= unmatched]
        if found and not kept:
            kept, unmatched = [match for match, _ in found], set(counts)
        self._say_contradicted(counts, unmatched)
        different = len(found) + self.others
        if self.came > different:
            self._say(
                "duplicates",
                f"gave some matches more than once: {self.came} answers to our C-FIND have "
                f"{different} different UIDs. Each match was kept once.",
            )
        if cut:
            self._say(
                f"cut {self._level}",
                f"stopped its answers to our C-FIND after {self.came}, at a limit of its own: "
                f"{cut}. "
                "There may be more matches. Ask for less at a time: for a range of dates, or for "
                "one patient.",
            )
        return Matches(
            kept,
            cut=cut,
            dropped=len(found) - len(kept) + self.others,
            duplicates=self.came - different,
            contradicted=tuple(sorted(unmatched)),
        )

    def _say_contradicted(self, counts: Counter[str], unmatched: set[str]) -> None:
        """Say which keys the PACS ignored, as far as its answers show that."""
        counts = counts + Counter(k for keys in self._others.values() for k in keys)
        number = len(self._found) + len(self._others)
        for key in self._keys:
            if key.keyword not in counts:
                continue
            seen = (
                f"was asked for {key.keyword}={key.shown}, and {counts[key.keyword]} of {number} "
                f"answers have another, for instance {self._samples[key.keyword]}. "
            )
            seen += (
                "None was dropped: perhaps it can't match this key, or writes it otherwise. Look "
                "whether each is one that you mean."
                if key.keyword in unmatched
                else "They were dropped. Its vendor must mend that: it ignores the key."
            )
            self._say(f"contradicted {key.keyword}", seen)

    def _say_unsupported(self) -> None:
        asked = ", ".join(key.keyword for key in self._keys if not key.is_uid)
        effect = (
            f"Perhaps {asked}: such a key matches everything."
            if asked
            else "What it does not support, it does not tell of its matches."
        )
        status = describe_status(PENDING_WITHOUT_SOME_KEYS, "C-FIND")
        self._say(
            "unsupported",
            f"answers our C-FIND with {status}, and does not say which. {effect}",
        )

    def _say(self, kind: str, what: str) -> None:
        say_once(self._association, kind, f"{self._node} {what}")
