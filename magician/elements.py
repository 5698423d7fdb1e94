"""The text elements of a data set, read as well as they can be, whatever its sender did wrong.

pydicom reads a data set by its own rules: it warns of each value that breaks one, and raises where
it can't go on. What comes from a network breaks many. Here no value does either. What had to be
guessed is told in words.
"""

from __future__ import annotations

import codecs
import re
import struct
import zlib
from collections.abc import Iterator, Sequence

from pydicom import config
from pydicom.charset import CODES_TO_ENCODINGS, python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import ItemTag, Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STR_VR

MOST_BYTES = 1024**2  # of an inflated data set without pixels; a match has less than a thousandth
UNDEFINED_LENGTH = 0xFFFFFFFF  # a delimiter ends the element instead (PS3.5 7.1.1)
GROUP_OF_ITEMS, ITEM = ItemTag.group, ItemTag.element  # parts of sequences (PS3.5 7.5)
COMMAND_GROUPS = 0x0007  # and those of a file's header: no part of a data set (PS3.5 7.1)
CHARACTER_SET = 0x00080005
PADDING = " \0"  # of a value to an even length, and around it (PS3.5 6.2)
ONE_VALUE = {"ST", "LT", "UT", "UR"}  # a backslash is a letter in these
ASCII = {"", "ISO_IR 6", "ISO 2022 IR 6"}
UTF_8 = "ISO_IR 192"
# Encodings of one byte a letter, by Python's names: text in them is hardly ever valid UTF-8
ONE_BYTE = {"latin_1", "iso8859", "iso_ir_126", "iso_ir_127", "iso_ir_138", "iso_ir_144"}
ONE_BYTE |= {"iso_ir_148", "cp1250", "cp1251", "cp1252"} | {f"iso8859_{n}" for n in range(1, 10)}
# Accented letters within words of Latin letters, as no other writing has them
ACCENTED = re.compile("[a-z][À-ɏ]+|[À-ɏ]+[a-z]|[A-Z][À-ɏ]+(?=[A-Z])")
# Names that are none of DICOM's (PS3.3 C.12.1.1.2), and can mean one encoding only
FOREIGN_NAMES = re.compile(
    r"(iso)?[-_ ]?8859[-_ ]?\d{1,2}|latin[-_ ]?\d|utf[-_ ]?8|(windows|cp)[-_ ]?\d{3,4}|"
    r"s(hift)?[-_]?jis|euc[-_](jp|kr)|gb[-_ ]?2312|big5|koi8[-_][ru]",
    re.IGNORECASE,
)
ESCAPE = b"\x1b"
DELIMITERS = re.compile(rb"[\\^=\r\n\t\f]")  # each ends an escape sequence (PS3.5 6.1.2.5.3)
# Encodings of which Python knows the escape sequences itself
ESCAPED_BY_PYTHON = {"iso2022_jp", "iso2022_jp_2"}


def read_text_elements(content: bytes, transfer_syntax_uid: str) -> tuple[Dataset, str]:
    """Read the text elements at the top level of a data set; binary ones are left out.

    Numbers that are none stay text. UIDs have no padding. Text is what its bytes say, also where
    they belie the character set; see `decode`.

    Parameters
    ----------
    content : bytes
    transfer_syntax_uid : str

    Returns
    -------
    Dataset
        Its SpecificCharacterSet is ISO_IR 192 if it said something wrong.
    str
        What was wrong with its character set, in words; empty if nothing was.

    Raises
    ------
    ValueError
        If an element is longer than the data set, or the data set than `MOST_BYTES`.
    """
    found = list(_elements(content, transfer_syntax_uid))
    values = next((value for tag, _, value in found if tag == CHARACTER_SET), b"")
    declared = values.decode("latin_1").strip(PADDING).split("\\")
    dataset, wrong = Dataset(), ""
    for tag, vr, value in found:
        if vr not in STR_VR:
            continue
        text, guessed = decode(value, declared)
        wrong = wrong or guessed
        dataset.add(text_element(tag, vr, text))
    if wrong:
        # in it all that was read can be written
        dataset.add(text_element(CHARACTER_SET, "CS", UTF_8))
    return dataset, wrong


def decode(value: bytes, declared: Sequence[str]) -> tuple[str, str]:
    r"""Decode text by the character set that is declared, or by what its bytes show.

    Bytes that are valid UTF-8 are read so, whatever is declared, unless they can be meant as
    declared. Other bytes are read as declared; if they can't be, or nothing is declared, as
    Latin-1.

    Parameters
    ----------
    value : bytes
        One value, or several with a backslash between them.
    declared : sequence of str
        The values of SpecificCharacterSet (0008,0005); ``[""]`` if it is absent.

    Returns
    -------
    str
    str
        What is wrong with the character set, in words; empty if nothing is.
    """
    if value.isascii() and ESCAPE not in value:
        return value.decode("ascii"), ""
    names = [name.strip(PADDING) for name in declared]
    said = "\\".join(names)
    if ESCAPE in value:
        return _decode_escaped(value, names, said)
    encoding = _encoding_of(names[0])
    by_name = _try(value, encoding) if encoding and names[0] not in ASCII else None
    as_utf_8 = _decode_utf_8(value)
    if names[0] == UTF_8 and by_name is not None:
        return by_name, ""
    if as_utf_8 is not None and (by_name is None or _is_meant(as_utf_8, encoding)):
        return as_utf_8, f"{_declares(said)}, and its text is UTF-8, and was read so"
    if by_name is not None:
        known = names[0] in python_encoding
        return by_name, "" if known else f"{_declares(said)}: it was read as {encoding}"
    return value.decode("latin_1"), f"{_declares(said)}: its text was read as Latin-1"


def _declares(said: str) -> str:
    return (
        f"it declares the character set {said[:64]!r}" if said else "it declares no character set"
    )


def _encoding_of(name: str) -> str:
    """Return Python's name of an encoding, also for a misspelt name; empty if it is unknown."""
    if name in python_encoding:
        return python_encoding[name]
    if FOREIGN_NAMES.fullmatch(name):
        name = re.sub(r"^(iso)?[-_ ]?(?=8859)", "iso", name, flags=re.IGNORECASE)
        try:
            return codecs.lookup(name.replace(" ", "_")).name.replace("-", "_")
        except LookupError:
            return ""
    letters = _letters(name)
    for known, encoding in python_encoding.items():
        if letters in (_letters(known), _letters(known).replace("ISOIR", "ISO2022IR")):
            return encoding
    return ""


def _letters(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())


def _try(value: bytes, encoding: str) -> str | None:
    try:
        return value.decode(encoding)
    except (UnicodeError, LookupError):
        return None


def _decode_utf_8(value: bytes) -> str | None:
    """Decode UTF-8, perhaps cut in the middle of its last letter; None if it is none."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        whole = value[: error.start]
        is_cut = error.reason == "unexpected end of data" and not whole.isascii()
        return whole.decode("utf-8") if is_cut else None


def _is_meant(text: str, encoding: str) -> bool:
    """Tell whether bytes that are valid UTF-8 and valid in `encoding` are meant as UTF-8.

    Of encodings with two bytes a letter, and of Thai, short texts can be valid UTF-8 by chance.
    """
    if encoding in ONE_BYTE or ACCENTED.sub("", text).isascii():
        return True
    of_three_bytes = all(letter >= "\u0800" for letter in text if not letter.isascii())
    return of_three_bytes and _can_write(text, "gbk" if encoding == "GB18030" else encoding)


def _can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _decode_escaped(value: bytes, names: list[str], said: str) -> tuple[str, str]:
    """Decode text with escape sequences, which change the character set (PS3.5 6.1.2.5)."""
    encodings = [_encoding_of(name) for name in names]
    parts, undeclared = [], any(name not in python_encoding for name in names)
    for part in re.findall(rb"^[^\x1b]+|\x1b[^\x1b]*", value):
        code = next((code for code in CODES_TO_ENCODINGS if part.startswith(code)), b"")
        encoding = CODES_TO_ENCODINGS[code] if code else encodings[0] or "latin_1"
        undeclared |= bool(code) and encoding != "iso8859" and encoding not in encodings
        end = len(part)
        if encoding not in ESCAPED_BY_PYTHON:
            part = part[len(code) :]
            delimiter = DELIMITERS.search(part) if code else None
            end = delimiter.start() if delimiter else len(part)
        rest = _try(part[end:], encodings[0] or "latin_1")
        text = _try(part[:end], encoding)
        if text is None or rest is None:
            return value.decode("latin_1"), f"{_declares(said)}: its text was read as Latin-1"
        parts += [text, rest]
    wrong = f"{_declares(said)}, and its text has others, and was read so" if undeclared else ""
    return "".join(parts), wrong


def text_element(tag: int, vr: str, text: str) -> DataElement:
    """Make an element of text; a value that breaks the rules of its VR stays as it is."""
    value: str | list[str] = text.rstrip(PADDING)
    if vr not in ONE_VALUE:
        values = [part.rstrip(PADDING) for part in value.split("\\")]
        value = values if len(values) > 1 else values[0]
    try:
        return DataElement(tag, vr, value, validation_mode=config.IGNORE)
    except (ValueError, OverflowError, TypeError):  # a number that is none
        return DataElement(tag, vr, value, already_converted=True)


def _elements(content: bytes, transfer_syntax_uid: str) -> Iterator[tuple[Tag, str, bytes]]:
    """Read the elements of a data set one by one (PS3.5 7.1), but for sequences.

    A value representation that is wrong, left out, or stands where none should, is tolerated.
    """
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        content = _inflate(content)
    order = ">" if transfer_syntax_uid == ExplicitVRBigEndian else "<"
    is_implicit = transfer_syntax_uid == ImplicitVRLittleEndian
    if len(content) >= 8:
        is_implicit = not _is_vr(content[4:6])
    position = depth = 0
    while position + 8 <= len(content):
        group, number, length = struct.unpack_from(f"{order}HHI", content, position)
        start, vr = position + 8, ""
        if group == GROUP_OF_ITEMS and number != ITEM:  # the end of an item or of a sequence
            depth, position = max(depth - 1, 0), start
            continue
        if group != GROUP_OF_ITEMS and not is_implicit and _is_vr(content[start - 4 : start - 2]):
            vr = content[start - 4 : start - 2].decode()
            (length,) = struct.unpack_from(f"{order}H", content, start - 2)
            if vr in EXPLICIT_VR_LENGTH_32 and start + 4 <= len(content):
                (length,) = struct.unpack_from(f"{order}I", content, start)
                start += 4
        if length == UNDEFINED_LENGTH:
            depth, position = depth + 1, start
            continue
        position = start + length
        if position > len(content):
            raise ValueError(
                f"its element ({group:04X},{number:04X}) claims {length} bytes, and "
                f"{len(content) - start} follow"
            )
        if depth == 0 and COMMAND_GROUPS < group != GROUP_OF_ITEMS:
            tag = Tag(group, number)
            yield tag, _vr_of(tag, vr), content[start:position]


def _is_vr(letters: bytes) -> bool:
    return re.fullmatch(rb"[A-Z]{2}", letters) is not None


def _vr_of(tag: Tag, vr: str) -> str:
    """Return the VR that the standard gives an element, if it is text, or the one that is told."""
    try:
        usual = dictionary_VR(tag)
    except KeyError:
        return vr
    return usual if usual in STR_VR or not vr else vr


def _inflate(content: bytes) -> bytes:
    """Inflate a data set (PS3.5 A.5); raises `ValueError` if it is too long, or none."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(content, MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"it can't be inflated: {error}") from error
    if inflater.unconsumed_tail:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    return inflated
