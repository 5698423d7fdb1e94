"""A key of a query, by which an answer of a PACS can be found wrong (PS3.4 C.2.2.2).

A PACS compares as it does: another letter case of names, padding or form of a date is no fault. So
a key contradicts an answer only where the two can't be meant as the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from fnmatch import translate

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from magician.elements import PADDING

MOST_CHARACTERS = 1024  # of a value that is compared
WILDCARDS = re.compile(r"[*?]")
# Also in the old form, with points (PS3.5 6.2), and with hyphens, which is none
DAY = re.compile(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})")
RANGE = re.compile(r"\s*(\d{8})?\s*-\s*(\d{8})?\s*")
UNREADABLE = re.compile("[?\N{REPLACEMENT CHARACTER}]")  # for letters that a PACS can't write
ACCENTS = re.compile("[\u0300-\u036f]")  # as characters of their own


class Key:
    """A key of a query, by which an answer can be found wrong (PS3.4 C.2.2.2).

    Parameters
    ----------
    element : DataElement
        It is not empty.
    """

    def __init__(self, element: DataElement) -> None:
        self.keyword, self.shown, self.is_uid = (
            element.keyword,
            show_values(element),
            element.VR == "UI",
        )
        wanted = _texts(element)
        self._is_ascii = all(map(str.isascii, wanted))
        tests = [_make_test(element.VR, text) for text in wanted]
        self._tests = [] if None in tests else tests

    def contradicts(self, match: Dataset, *, is_sure: bool) -> bool:
        """Tell whether no value of an answer is one that the key matches.

        An absent element contradicts nothing, and neither does what can't be compared: text that is
        too long, or that is not surely read as it was meant (`is_sure`).
        """
        element = match.get(self.keyword) and match[self.keyword]
        values = _texts(element) if element else []
        if not values or not self._tests or any(len(v) > MOST_CHARACTERS for v in values):
            return False
        if not self._is_ascii and (not is_sure or any(map(UNREADABLE.search, values))):
            return False
        return not any(test(value) for value in values for test in self._tests)


def _texts(element: DataElement) -> list[str]:
    """The values of an element as text, without padding and without those that are empty."""
    value = element.value
    parts = value if isinstance(value, MultiValue | list) else str(value or "").split("\\")
    return [text for part in parts if (text := str(part or "").strip(PADDING))]


def show_values(element: DataElement) -> str:
    """Write the values of an element for a message; what is long is cut."""
    return repr("\\".join(_texts(element))[:64])


def _make_test(vr: str, wanted: str) -> Callable[[str], bool] | None:
    """Make the test whether a value is one that a key matches; None if we can't tell.

    A value that breaks the rules of its value representation passes.
    """
    if vr == "PN":
        return _name_test(wanted)
    if vr == "DA":
        return _day_test(wanted)
    if vr == "UI":
        return wanted.__eq__
    if vr in ("IS", "DS"):
        return _number_test(wanted)
    if vr in ("TM", "DT"):  # of different precision
        return None
    fold = str.upper if vr == "CS" else str
    return _text_test(wanted, lambda text: fold(unicodedata.normalize("NFC", text)))


def _text_test(wanted: str, fold: Callable[[str], str]) -> Callable[[str], bool]:
    """Compare as a whole, or by ``*`` and ``?`` (PS3.4 C.2.2.2.1, C.2.2.2.4)."""
    wanted = fold(wanted)
    if not WILDCARDS.search(wanted):
        return lambda value: fold(value) == wanted
    pattern = re.compile(translate(wanted.replace("[", "[[]")))
    return lambda value: pattern.match(fold(value)) is not None


def _name_test(wanted: str) -> Callable[[str], bool]:
    """Compare names: letter case, accents, and components or groups that are empty do not count.

    A key of one component group is looked for in each group (PS3.5 6.2.1.2); one of several, in
    those of its groups that the value has, too.
    """
    keys = name_groups(wanted)
    tests = [_text_test(key, _folded) for key in keys]

    def is_in(number: int, group: str) -> bool:
        missing = max(keys[number].count("^") - group.count("^"), 0)
        return any(tests[number](group + "^" * n) for n in {0, missing})

    def test(name: str) -> bool:
        groups = name_groups(name)
        if len(keys) == 1:
            return any(is_in(0, group) for group in groups if group)
        both = [i for i, key in enumerate(keys) if key and i < len(groups) and groups[i]]
        return all(is_in(i, groups[i]) for i in both)

    return test


def name_groups(name: str) -> list[str]:
    """Return the component groups of a name without spaces, empty components and empty groups that
    do not count: those at the end.
    """
    groups = [
        "^".join(component.strip(PADDING) for component in group.split("^")).rstrip("^")
        for group in name.split("=")
    ]
    while len(groups) > 1 and not groups[-1]:
        groups.pop()
    return groups


def _folded(name: str) -> str:
    """Write a name in small letters without accents, full-width letters as usual ones."""
    return ACCENTS.sub("", unicodedata.normalize("NFKD", name)).casefold()


def _day_test(wanted: str) -> Callable[[str], bool] | None:
    span, single = RANGE.fullmatch(wanted), DAY.fullmatch(wanted)
    if not (single or (span and any(span.groups()))):
        return None
    first, last = ["".join(single.groups())] * 2 if single else span.groups()

    def test(value: str) -> bool:
        day = DAY.fullmatch(value)
        text = "".join(day.groups()) if day else ""
        return not text or (first or text) <= text <= (last or text)

    return test


def _number_test(wanted: str) -> Callable[[str], bool] | None:
    number = _number(wanted)
    return None if number is None else lambda value: _number(value) in (None, number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
