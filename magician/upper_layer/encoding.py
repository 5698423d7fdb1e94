"""Encoders of what is written for every object that we receive: its file header and our answer.

pynetdicom and pydicom encode these element by element, with all checks. For a series of images, the
file headers took longer than writing the pixels to the disk, and the answers a tenth of the
processor time of a C-GET.
"""

from __future__ import annotations

import struct

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

PREAMBLE = bytes(128) + b"DICM"
COMMAND_FIELD, NO_DATA_SET = 0x8001, 0x0101  # PS3.7 9.3.1.2


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Encode what a DICOM file has before its data set: preamble, prefix and file meta information
    (PS3.10 7.1).
    """
    group = b"".join(
        (
            struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01",
            _explicit(0x0002, b"UI", _even(sop_class_uid)),
            _explicit(0x0003, b"UI", _even(sop_instance_uid)),
            _explicit(0x0010, b"UI", _even(transfer_syntax_uid)),
            _explicit(0x0012, b"UI", _even(PYNETDICOM_IMPLEMENTATION_UID)),
            _explicit(0x0013, b"SH", _even(PYNETDICOM_IMPLEMENTATION_VERSION, b" ")),
        )
    )
    return PREAMBLE + _explicit(0x0000, b"UL", struct.pack("<I", len(group))) + group


def c_store_response(
    message_id: int, sop_class_uid: str, sop_instance_uid: str, status: int, comment: str = ""
) -> bytes:
    """Encode the command set of a C-STORE response (PS3.7 9.3.1.2), in implicit VR little endian
    (PS3.7 6.3.1).

    An empty `comment`, the Error Comment (PS3.7 C.1), is left out.
    """
    group = b"".join(
        (
            _implicit(0x0002, _even(sop_class_uid)),
            _implicit(0x0100, struct.pack("<H", COMMAND_FIELD)),
            _implicit(0x0120, struct.pack("<H", message_id)),
            _implicit(0x0800, struct.pack("<H", NO_DATA_SET)),
            _implicit(0x0900, struct.pack("<H", status)),
            _implicit(0x0902, _even(comment, b" ")) if comment else b"",
            _implicit(0x1000, _even(sop_instance_uid)),
        )
    )
    return _implicit(0x0000, struct.pack("<I", len(group))) + group


def _explicit(element: int, vr: bytes, value: bytes) -> bytes:
    """Encode an element of group 0002 in explicit VR (PS3.5 7.1.2)."""
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def _implicit(element: int, value: bytes) -> bytes:
    """Encode an element of group 0000 in implicit VR (PS3.5 7.1.3)."""
    return struct.pack("<HHI", 0x0000, element, len(value)) + value


def _even(text: str, padding: bytes = b"\x00") -> bytes:
    """Encode a value of even length (PS3.5 6.2); a UID is padded with a zero byte."""
    value = text.encode("latin-1")  # pynetdicom decodes the UIDs of a peer so
    return value + padding * (len(value) % 2)
