"""The elements of a header or of a query as text, whatever their sender did wrong.

pydicom warns of each value that breaks a rule, or raises. Here such a value is read as well as it
can be: no object, and no query, fails because of one.
"""

from __future__ import annotations

from pydicom.charset import default_encoding, python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from magician.elements import ONE_BYTE, PADDING, decode

ESCAPE = "\x1b"  # begins another character set (PS3.5 6.1.2.5)


def read_text(dataset: Dataset, keyword: str) -> tuple[str, str]:
    """Read one element as text.

    Returns
    -------
    str
        Its value without the padding at its end, a UID also without spaces before it; several
        values with a backslash between them; empty if there is none, or none that can be read.
    str
        What is wrong with the character set of the data set, in words: the text had to be read
        otherwise than it says (see `magician.elements.decode`). Empty if nothing is.
    """
    element = dataset.get_item(keyword)
    if element is None or element.value is None:
        return "", ""
    vr, value, wrong = dictionary_VR(keyword), element.value, ""
    if isinstance(element, RawDataElement) and vr == "US":
        order = "little" if element.is_little_endian else "big"
        return str(int.from_bytes(value, order)) if len(value) == 2 else "", ""
    text = value.decode("latin_1") if isinstance(value, bytes) else _joined(value)
    if vr in CUSTOMIZABLE_CHARSET_VR and (not text.isascii() or ESCAPE in text):
        text, wrong = _reread(value if isinstance(value, bytes) else text, _declared(dataset))
    return text.strip(PADDING) if vr == "UI" else text.rstrip(PADDING), wrong


def _joined(value: object) -> str:
    parts = value if isinstance(value, MultiValue) else [value]
    return "\\".join(str(part) for part in parts)


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
