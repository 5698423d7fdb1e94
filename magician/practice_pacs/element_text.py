"""The text of an element, whatever its character set is said to be (PS3.5 6.1, PS3.3 C.12.1.1.2).

pydicom warns of each value that breaks a rule, or raises. Here such a value is read as well as it
can be: no object, and no query, fails because of one.
"""

from __future__ import annotations

from pydicom.charset import convert_encodings, decode_bytes, default_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, TEXT_VR_DELIMS

PADDING = " \0"  # of a value to an even length, and around it (PS3.5 6.2)
# Encodings of one byte a letter, by pydicom's names. Text in them is hardly ever valid UTF-8 by
# chance. Thai, half-width kana and Chinese are left out: "ยก", "ﾏｲ" and "联通" are valid by chance.
ONE_BYTE = {"iso8859", "latin_1"} | {f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 9)}
UTF_8 = {"utf8", "utf-8", "utf_8"}


def read_text(dataset: Dataset, keyword: str) -> tuple[str, str]:
    """Read one element as text.

    Returns
    -------
    str
        Its value without the padding at its end, a UID also without spaces before it; several
        values with a backslash between them; empty if there is none, or none that can be read.
    str
        ``"UTF-8"`` or ``"Latin-1"`` if the character set of the data set can't be right and its
        bytes were read so; else empty.
    """
    element = dataset.get_item(tag_for_keyword(keyword))
    if element is None or element.value is None:
        return "", ""
    encodings = _encodings(dataset)
    if not isinstance(element, RawDataElement):
        return _reread(_joined(element.value), encodings[0])
    vr = dictionary_VR(keyword)
    if vr == "US":
        order = "little" if element.is_little_endian else "big"
        return str(int.from_bytes(element.value, order)) if len(element.value) == 2 else "", ""
    value = element.value.rstrip(PADDING.encode())
    if vr not in CUSTOMIZABLE_CHARSET_VR:
        text = value.decode("latin_1")
        return text.strip(PADDING) if vr == "UI" else text, ""
    return _decode(value, encodings)


def _encodings(dataset: Dataset) -> list[str]:
    """Python's names of the encodings that a data set declares."""
    found = dataset.original_character_set
    if not found:  # it was made here, and not read
        try:
            found = convert_encodings(dataset.get("SpecificCharacterSet"))
        except Exception:  # no value that a character set could have
            found = default_encoding
    return [found] if isinstance(found, str) else list(found)


def _joined(value: object) -> str:
    if isinstance(value, MultiValue):
        return "\\".join(str(part) for part in value)
    return str(value).rstrip(PADDING)


def _decode(value: bytes, encodings: list[str]) -> tuple[str, str]:
    if encodings[0].lower() in UTF_8:
        try:
            return value.decode("utf-8"), ""
        except UnicodeDecodeError:
            return value.decode("latin_1"), "Latin-1"
    try:
        text = decode_bytes(value, encodings, TEXT_VR_DELIMS)
    except Exception:  # bytes that the encodings do not have
        return value.decode("latin_1"), "Latin-1"
    return _reread(text, encodings[0])


def _reread(text: str, encoding: str) -> tuple[str, str]:
    """Read a text as UTF-8 if its bytes are that."""
    if text.isascii() or encoding.lower() not in ONE_BYTE:
        return text, ""
    try:
        return text.encode(encoding).decode("utf-8"), "UTF-8"
    except UnicodeError:  # it was read as it should be
        return text, ""
