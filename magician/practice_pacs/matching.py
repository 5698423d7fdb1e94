"""How the key of a query matches a stored value, by value representation (PS3.4 C.2.2.2).

Both are compared in the same form: without the spaces around them (PS3.5 6.2), dates and times
without the separators of ACR-NEMA, names in small letters.
"""

from __future__ import annotations

import fnmatch
import glob
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from magician.elements import PADDING
from magician.keys import name_groups

Test = Callable[[str], bool]

MOST_CHARACTERS = 4096  # of one key: more are a burden, and no value
WILDCARDS = re.compile(r"([*?])")
DAY = re.compile(r"([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})")
TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?")
NUMBER = re.compile(r"[+-]?[0-9]{1,12}")


def is_universal(vr: str, key: str) -> bool:
    """Tell whether a key matches everything: empty, or ``*`` (PS3.4 C.2.2.2.3).

    A name of empty components is empty.
    """
    return key.strip(PADDING + "^=" if vr == "PN" else PADDING) in ("", "*")


def make_test(vr: str, key: str) -> Test:
    r"""Make the test whether a stored value matches a key.

    Parameters
    ----------
    vr : str
        The value representation of the element.
    key : str
        Several values have ``\`` between them: one of them has to match. So it is with the stored
        value.
    """
    return _make_test(vr, key) if len(key) <= MOST_CHARACTERS else lambda stored: False


@lru_cache(maxsize=64)  # a query compares many stored values with one key
def _make_test(vr: str, key: str) -> Test:
    make = {"PN": _name_test, "DA": _day_test, "TM": _time_test}.get(vr, _text_test)
    make = _number_test if vr in ("IS", "US") else make
    tests = [make(part) for part in key.split("\\") if part.strip(PADDING)]

    @lru_cache(maxsize=256)  # the objects of a study have most values in common
    def test_any(stored: str) -> bool:
        return any(test(value) for value in stored.split("\\") for test in tests)

    return test_any


def _text_test(key: str) -> Test:
    test = _wildcard_test(key.strip(PADDING), _composed)
    return lambda stored: test(_composed(stored.strip(PADDING)))


def _name_test(key: str) -> Test:
    """A name (PS3.5 6.2.1.2): a key of one component group is looked for in each of the stored
    name's; of several groups, each in its place. An empty group matches everything.
    """
    wanted = name_groups(key)
    tests = [_wildcard_test(group, _folded) for group in wanted]

    def in_group(number: int, group: str) -> bool:
        # a wildcard may stand for components that are empty, and left out at the end
        missing = wanted[number].count("^") - group.count("^")
        return tests[number](_folded(group)) or (
            missing > 0 and tests[number](_folded(group) + "^" * missing)
        )

    def test(stored: str) -> bool:
        groups = name_groups(stored)
        if len(wanted) == 1:
            return any(in_group(0, group) for group in groups)
        groups += [""] * (len(wanted) - len(groups))
        return all(not key or in_group(i, groups[i]) for i, key in enumerate(wanted))

    return test


def _composed(text: str) -> str:
    """Write letters with accents as one character each: "ü" can also be "u" and two dots."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    """Write a name in small letters, and wide Latin letters and narrow kana in their usual form."""
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


def _wildcard_test(key: str, normalise: Callable[[str], str]) -> Test:
    """Compare by ``*`` and ``?`` (PS3.4 C.2.2.2.4), or as a whole where the key has none."""
    pieces = WILDCARDS.split(key)
    if len(pieces) == 1:
        wanted = normalise(key)
        return lambda stored: stored == wanted
    pattern = "".join(
        piece if WILDCARDS.fullmatch(piece) else glob.escape(normalise(piece)) for piece in pieces
    )
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda stored: match(stored) is not None


def _number_test(key: str) -> Test:
    """Integers are compared by value: "01" is 1."""

    def number(text: str) -> int | str:
        text = text.strip(PADDING)
        return int(text) if NUMBER.fullmatch(text) else text

    wanted = number(key)
    return lambda stored: number(stored) == wanted


def _day_test(key: str) -> Test:
    return _range_test(key, lambda text, fill: _joined(DAY.fullmatch(text)))


def _time_test(key: str) -> Test:
    # 10, 1030 and 103000 as a beginning are 10:00:00.000000; as an end, all that begins so
    return _range_test(
        key, lambda text, fill: (time := _joined(TIME.fullmatch(text))) and time.ljust(12, fill)
    )


def _joined(match: re.Match | None) -> str:
    return "" if match is None else "".join(match.groups(""))


def _range_test(key: str, read: Callable[[str, str], str]) -> Test:
    """A single date or time, or a range of them (PS3.4 C.2.2.2.5); nothing matches an odd one."""
    low, dash, high = (part.strip(PADDING) for part in key.partition("-"))
    first, last = read(low, "0"), read(high, "9")
    if not dash:
        last = first
    if (low and not first) or (high and not last) or not (first or last):
        return lambda stored: False

    def test(stored: str) -> bool:
        value = read(stored.strip(PADDING), "0")
        return bool(value) and (first or value) <= value <= (last or value)

    return test
