"""The elements of a header or of a query as text, whatever their sender did wrong.

pydicom warns of each value that breaks a rule, or raises. Here such a value is read as well as it
can be: no object, and no query, fails because of one.
"""

from __future__ import annotations

from functools import cache

from pydicom.charset import default_encoding, python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from magician.elements import ONE_BYTE, PADDING, decode

ESCAPE = "\x1b"  # begins another character set (PS3.5 6.1.2.5)


def read_text(dataset: Dataset, keyword: str) -> tuple[str, str]:
    """Read one element as text.

    Returns
    -------
    str
        Its value without the padding at its end; several values with a backslash between them;
        empty if there is none, or none that can be read.
    str
        What is wrong with the character set of the data set, in words: the text had to be read
        otherwise than it says (see `magician.elements.decode`). Empty if nothing is.
    """
    tag, vr = _tag_and_vr(keyword)
    element = dataset.get_item(tag)
    if element is None or element.value is None:
        return "", ""
    value, wrong = element.value, ""
    if isinstance(element, RawDataElement) and vr == "US":
        order = "little" if element.is_little_endian else "big"
        return str(int.from_bytes(value, order)) if len(value) == 2 else "", ""
    text = value.decode("latin_1") if isinstance(value, bytes) else _joined(value)
    if vr in CUSTOMIZABLE_CHARSET_VR and (not text.isascii() or ESCAPE in text):
        text, wrong = _reread(value if isinstance(value, bytes) else text, _declared(dataset))
    return text.rstrip(PADDING), wrong


@cache
def _tag_and_vr(keyword: str) -> tuple[BaseTag, str]:
    return Tag(keyword), dictionary_VR(keyword)


def _joined(value: object) -> str:
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def _declared(dataset: Dataset) -> list[str]:
    return read_text(dataset, "SpecificCharacterSet")[0].split("\\")


def _reread(value: bytes | str, declared: list[str]) -> tuple[str, str]:
    """Decode a value; what pydicom has decoded already, from the bytes that it had."""
    if isinstance(value, str):
        encoding = python_encoding.get(declared[0], default_encoding)
        if encoding not in ONE_BYTE:
            return value, ""
        try:
            value = value.encode(encoding)
        except UnicodeError:  # it was not in this encoding
            return value, ""
    return decode(value, declared)
